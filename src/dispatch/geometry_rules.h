// Rules for the arguments of the geometry functions: nf_windows, nf_plan_steps and so on. Errors as in validate.h.
#pragma once

#include <cstdint>

#include "nearfield/nearfield.h"
#include "pattern/pattern.h"
#include "plan/plan.h"

namespace nearfield::core {

// The pattern on a grid of its rank; at most kMaxGridTokens tokens.
inline constexpr int64_t kMaxGridTokens = int64_t{1} << 53;
Pattern validate_on_grid(const nf_pattern* pattern, const int64_t* grid);

// `name` is of a bias, which the sphere can't have.
void refuse_bias(const Pattern& pattern, const char* name);

// An order (nf_order) of a grid.
OrderKey validate_order_key(int32_t order, int32_t rank, const int64_t* grid);

// Queries [first, first + count) exist, there is memory for what is to be written, and bias tables can be indexed.
void check_windows(const Pattern& pattern, int64_t first, int64_t count, const int64_t* keys,
                   const int64_t* bias_index);

// The plan with these extents of tile and step, one for each axis. A plan holds a span for each of a tile's queries and
// each step that not all of them see whole, which a tile as long as a long axis would square.
inline constexpr int64_t kMaxTileExtent = 1024;
Plan validate_plan(const Pattern& pattern, const int64_t* tile, const int64_t* step);

// Tiles of queries and of keys that are no larger than the pattern's grid; those of plans, too.
TileShape validate_simulated_tiles(const Pattern& pattern, const int64_t* tile, const int64_t* key_tile);

// Tokens of a block of a block map: 1 to kMaxTileExtent.
void check_block(int64_t block);

}  // namespace nearfield::core
