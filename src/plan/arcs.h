// The part of a plan on the sphere that no per-axis table can hold: a tile of adjacent queries of one latitude has an
// arc of its own on each key latitude. Its steps are made when they are asked for, from one half-width for each pair of
// latitudes.
#pragma once

#include <cstdint>

#include "plan/plan.h"

namespace nearfield::core {

// Steps of a tile (of one latitude): key latitude by key latitude, each arc cut at the seam and into nearly equal
// pieces of at most far_extent keys. Those that nobody sees are dropped.
void expand_arcs(const Sphere& sphere, const Tile& tile, int64_t far_extent, StepList& steps);

// Keys of a tile's steps.
int64_t visited_keys(const Sphere& sphere, const Tile& tile);

// Of tiles of near_extent longitudes, on the query latitudes [first, end). Errors: invalid_argument if a number is out
// of range.
PlanStatistics arc_statistics(const Sphere& sphere, int64_t near_extent, int64_t far_extent, int64_t first,
                              int64_t end);

}  // namespace nearfield::core
