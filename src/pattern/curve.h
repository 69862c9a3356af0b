// What a pattern along an order of tokens looks like on the grid.
#pragma once

#include <cstdint>

#include "pattern/pattern.h"

namespace nearfield::core {

// extents[a] of each axis of the grid: a relative position bias has 2*extents[a] - 1 entries there, for
// key - query + extents[a] - 1. The rules' own kernel_size; along an order, 1 + the largest distance on that axis
// between a query and a key that it sees. 1 beyond the grid's rank. Kept for the patterns used last.
void bias_extents(const Pattern& pattern, int64_t (&extents)[kMaxGridRank]);

// Where each run of tokens along an order is a box of the grid and all boxes are alike (runs of 4^n along a Hilbert
// curve on a grid of powers of two), the same windows as rules of the grid's own axes: no token needs to be looked up.
// Else the pattern itself.
Pattern without_needless_order(const Pattern& pattern);

}  // namespace nearfield::core
