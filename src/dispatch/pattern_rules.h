// Rules for the pattern argument. Errors as in validate.h.
#pragma once

#include "engine/problem.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

// What must hold before anything else is looked at: kind, rank and size of the struct.
const nf_neighborhood& check_pattern_head(const nf_pattern* pattern);

// The values of each axis of shape.grid.
Pattern validate_pattern(const nf_neighborhood& given, const Shape& shape);

}  // namespace nearfield::core
