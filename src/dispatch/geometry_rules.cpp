#include "dispatch/geometry_rules.h"

#include <string>
#include <variant>

#include "base/error.h"
#include "dispatch/pattern_rules.h"
#include "dispatch/validate.h"

namespace nearfield::core {
namespace {

template <class... Parts>
void require(const void* pointer, const Parts&... name) {
  if (pointer == nullptr) invalid_argument(name..., ": must not be NULL");
}

int64_t tokens_of(const Pattern& pattern) {
  int64_t tokens = 1;
  for (int a = 0; a < pattern.rank; ++a)
    tokens *= std::visit([](const auto& rule) { return rule.queries; }, pattern.axes[a]);
  return tokens;
}

// Entries of a head's table, on one axis.
int64_t bias_entries(const AxisRule& axis) {
  return std::visit([](const auto& rule) { return 2 * rule.kernel_size - 1; }, axis);
}

}  // namespace

Pattern validate_on_grid(const nf_pattern* pattern, const int64_t* grid) {
  const nf_neighborhood& given = check_pattern_head(pattern);
  require(grid, "grid");
  Shape shape;
  shape.rank = given.pattern.rank;
  __int128 tokens = 1;  // of at most three axes of 31 bits
  for (int a = 0; a < shape.rank; ++a) {
    if (grid[a] < 0) invalid_argument("grid[", a, "]=", grid[a], ": must be at least 0");
    if (grid[a] > kMaxAxis) invalid_argument("grid[", a, "]=", grid[a], ": must be at most ", kMaxAxis);
    shape.grid[a] = grid[a];
    tokens *= grid[a];
  }
  if (tokens > kMaxGridTokens)
    invalid_argument("grid[", shape.rank - 1, "]=", grid[shape.rank - 1],
                     ": must be smaller: a grid must have at most 2^53 tokens");
  return validate_pattern(given, shape);
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
  __int128 entries = 1;  // at most 2^60 of three axes of 41 bits
  for (int a = 0; a < pattern.rank; ++a) {
    entries *= bias_entries(pattern.axes[a]);
    if (entries > kMaxSpan)
      invalid_argument("kernel_size[", a, "]=", (bias_entries(pattern.axes[a]) + 1) / 2,
                       ": must be smaller: a table that bias_index points into must have at most 2^60 entries");
  }
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

}  // namespace nearfield::core
