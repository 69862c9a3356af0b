// How much faster than dense attention a pattern can be with tiles of a given shape: what is visited, counted from
// plans and never timed. The bounds are those of Hassani et al., "Generalized Neighborhood Attention" (2025).
//
// A tile of queries visits keys in one of two ways:
//   key tiles  the keys are cut into a fixed tiling, and a key tile of which any query sees any key costs as much as a
//              whole one: block-sparse kernels, and the paper's own simulator
//   steps      as a plan cuts them, from the tile's first key on, into nearly equal pieces that cost what they hold:
//   the
//              engines of this library
// Everything but the sphere is a product of axes, so it costs O(sum of the axes' lengths). Counts are doubles: exact up
// to 2^53, and no product of axes overflows.
#pragma once

#include <cstdint>

#include "plan/cost_model.h"
#include "plan/plan.h"

namespace nearfield::core {

// Of all tiles of queries together, but for `most`.
struct Visits {
  double dense_units = 0, units = 0;     // key tiles or steps, of dense attention and of the pattern
  double most_units = 0, most_keys = 0;  // of one tile of queries
  double dense_keys = 0, keys = 0;       // that these units hold
  double full_units = 0, full_keys = 0;  // of units that all queries of the tile see whole
  double dense_pairs = 0, pairs = 0;     // (query, key) pairs of the tiles and their units
};

struct Simulation {
  double query_tiles = 0, dense_query_tiles = 0;  // residue classes (dilation) and shifts may need more than dense has
  double useful_pairs = 0;
  Visits key_tiles, steps;
};

// shape.far: keys of a key tile, and of a step at most. On the sphere shape.near[0] is 1, and steps are of single
// circles of latitude. For one (batch, head).
// Errors: those of Plan; unsupported on the sphere for what would take minutes or gigabytes.
Simulation simulate(const Pattern& pattern, const TileShape& shape);

struct SpeedupBound {
  double worst = 1;  // if every tile of queries took as long as the longest
  double mean = 1;   // if all are shared out evenly
};
SpeedupBound bound_of_units(const Simulation& simulation, const Visits& visits);
SpeedupBound bound_of_keys(const Simulation& simulation, const Visits& visits);

struct PredictedTimes {
  double seconds = 0, dense_seconds = 0;
};
// For one (batch, head) on one thread. Errors: invalid_argument for a rate that is negative or not finite.
PredictedTimes predicted_times(const Simulation& simulation, const Visits& visits, const MachineRates& rates);

}  // namespace nearfield::core
