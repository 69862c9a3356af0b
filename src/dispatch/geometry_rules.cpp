#include "dispatch/geometry_rules.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "base/error.h"
#include "dispatch/pattern_rules.h"
#include "dispatch/validate.h"
#include "pattern/curve.h"

namespace nearfield::core {
namespace {

template <class... Parts>
void require(const void* pointer, const Parts&... name) {
  if (pointer == nullptr) invalid_argument(name..., ": must not be NULL");
}

// Of queries.
int64_t tokens_of(const Pattern& pattern) {
  int64_t tokens = 1;
  for (int a = 0; a < pattern.rank; ++a)
    tokens *= std::visit([](const auto& rule) { return rule.queries; }, pattern.axes[a]);
  return tokens;
}

Shape shape_of(int rank, const int64_t* grid) {
  require(grid, "grid");
  Shape shape;
  shape.rank = rank;
  __int128 tokens = 1;  // of at most three axes of 31 bits
  for (int a = 0; a < rank; ++a) {
    if (grid[a] < 0) invalid_argument("grid[", a, "]=", grid[a], ": must be at least 0");
    if (grid[a] > kMaxAxis) invalid_argument("grid[", a, "]=", grid[a], ": must be at most ", kMaxAxis);
    shape.grid[a] = grid[a];
    tokens *= grid[a];
  }
  if (tokens > kMaxGridTokens)
    invalid_argument("grid[", rank - 1, "]=", grid[rank - 1],
                     ": must be smaller: a grid must have at most 2^53 tokens");
  return shape;
}

}  // namespace

void refuse_bias(const Pattern& pattern, const char* name) {
  if (pattern.sphere) invalid_argument(name, ": must be NULL on the sphere, where a bias is not possible");
}

Pattern validate_on_grid(const nf_pattern* pattern, const int64_t* grid) {
  const nf_pattern& given = check_pattern_head(pattern);
  return validate_pattern(given, shape_of(given.rank, grid));
}

OrderKey validate_order_key(int32_t order, int32_t rank, const int64_t* grid) {
  OrderKey key;
  key.kind = validate_order("order", order);
  if (rank < 1 || rank > kMaxGridRank) invalid_argument("rank=", rank, ": must be 1, 2 or 3");
  const Shape shape = shape_of(rank, grid);
  check_order_grid(shape);
  key.rank = rank;
  std::copy_n(shape.grid, rank, key.grid);
  return key;
}

void check_windows(const Pattern& pattern, int64_t first, int64_t count, const int64_t* keys,
                   const int64_t* bias_index) {
  const int64_t tokens = tokens_of(pattern);
  if (first < 0) invalid_argument("first=", first, ": must be at least 0");
  if (first > tokens) invalid_argument("first=", first, ": must be at most ", tokens, ", the tokens of grid");
  if (count < 0) invalid_argument("count=", count, ": must be at least 0");
  if (count > tokens - first)
    invalid_argument("count=", count, ": must be at most ", tokens - first, ", the queries from first=", first, " on");
  if (count > 0) require(keys, "keys");
  if (bias_index == nullptr) return;
  refuse_bias(pattern, "bias_index");
  int64_t extents[kMaxGridRank];
  bias_extents(pattern, extents);
  __int128 entries = 1;  // at most 2^60 of three axes of 41 bits
  for (int a = 0; a < pattern.rank; ++a) {
    entries *= 2 * extents[a] - 1;
    if (entries > kMaxSpan)
      invalid_argument("kernel_size[", a, "]=", extents[a],
                       ": must be smaller: a table that bias_index points into must have at most 2^60 entries");
  }
}

void check_block(int64_t block) {
  if (block < 1) invalid_argument("block=", block, ": must be at least 1");
  if (block > kMaxTileExtent) invalid_argument("block=", block, ": must be at most ", kMaxTileExtent);
}

Plan validate_plan(const Pattern& pattern, const int64_t* tile, const int64_t* step) {
  require(tile, "tile");
  require(step, "step");
  TileShape shape;
  for (int a = 0; a < pattern.rank; ++a) {
    if (tile[a] < 1) invalid_argument("tile[", a, "]=", tile[a], ": must be at least 1");
    if (tile[a] > kMaxTileExtent) invalid_argument("tile[", a, "]=", tile[a], ": must be at most ", kMaxTileExtent);
    if (step[a] < 1) invalid_argument("step[", a, "]=", step[a], ": must be at least 1");
    shape.near[a] = tile[a];
    shape.far[a] = step[a];
  }
  try {
    return Plan(pattern, shape);
  } catch (const Error& error) {
    if (error.status() != Status::invalid_argument) throw;  // its statistics overflow
    std::string extents;
    for (int a = 0; a < pattern.rank; ++a) extents += concat(a == 0 ? "" : "x", tile[a]);
    invalid_argument("tile=", extents,
                     ": must be smaller: all tiles' queries times the keys that they visit must be below 2^63");
  }
}

TileShape validate_simulated_tiles(const Pattern& pattern, const int64_t* tile, const int64_t* key_tile) {
  require(tile, "tile");
  require(key_tile, "key_tile");
  TileShape shape;
  const auto check = [](const char* name, int a, int64_t extent, int64_t most, const char* what) {
    if (extent < 1) invalid_argument(name, "[", a, "]=", extent, ": must be at least 1");
    if (extent > most) invalid_argument(name, "[", a, "]=", extent, ": must be at most ", most, what);
  };
  for (int a = 0; a < pattern.rank; ++a) {
    const auto [queries, keys] =
        std::visit([](const auto& rule) { return std::pair(rule.queries, rule.keys); }, pattern.axes[a]);
    check("tile", a, tile[a], max_of(queries, 1), ", the tokens of the axis");
    check("tile", a, tile[a], kMaxTileExtent, "");
    check("key_tile", a, key_tile[a], max_of(keys, 1), ", the keys of the axis");
    shape.near[a] = tile[a];
    shape.far[a] = key_tile[a];
  }
  if (pattern.has_arcs() && tile[0] != 1)
    invalid_argument("tile[0]=", tile[0], ": must be 1 on the sphere: tiles are of queries of one latitude");
  return shape;
}

}  // namespace nearfield::core
