// How long a plan takes on a machine: list (tiling.h), score, compare. Nothing is timed here, so a choice depends on
// the pattern and the given rates alone, and results are the same bits on every run.
#pragma once

#include <span>

#include "plan/plan.h"

namespace nearfield::core {

// Seconds, for one tile of the engine's lane width, whether or not its lanes are filled. All finite and >= 0.
struct MachineRates {
  double per_key = 0;         // one key against all lanes
  double per_masked_key = 0;  // what masking adds to it
  double per_step = 0;        // starting a step
  double per_tile = 0;        // starting and ending a tile
};

// Errors: invalid_argument if one is negative or not finite.
void check_rates(const MachineRates& rates);

// For one (batch, head) on one thread.
double predicted_seconds(const PlanStatistics& statistics, const MachineRates& rates);

struct TileChoice {
  TileShape shape;
  PlanStatistics statistics;
  double seconds = 0;
};

// The candidate with the fewest predicted seconds; of equal ones that with fewer executed pairs, then fewer steps, then
// the first in the list. Errors: invalid_argument if there is no candidate or a rate is negative or not finite;
// those of Plan.
TileChoice choose_tile(const Pattern& pattern, std::span<const TileShape> candidates, const MachineRates& rates,
                       bool transposed = false, bool keep_laps = false);

}  // namespace nearfield::core
