// The part of simulate.h that is no product of axes: neighborhoods on the sphere, where each circle of latitude has an
// arc of its own.
#pragma once

#include "plan/simulate.h"

namespace nearfield::core {

// Of a pattern with arcs; errors as simulate's.
Simulation simulate_sphere(const Pattern& pattern, const TileShape& shape);

}  // namespace nearfield::core
