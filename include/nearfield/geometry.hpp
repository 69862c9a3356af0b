// Which keys the queries of a grid see: nearfield.h's section "geometry" in C++. Include nearfield.hpp.
//
//   const auto pattern = nearfield::neighborhood({3, 3});
//   const auto seen = nearfield::windows(pattern, {4, 6}, 0, 24);
//   seen.keys[13 * seen.slots + 4];  // the token in slot 4 of query 13's window
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "nearfield/nearfield.h"
#include "nearfield/tensor.hpp"

namespace nearfield {

namespace detail {
// The pattern's rank tells the C ABI how long a list is. What is wrong with the rank itself, it says.
inline const int64_t* axes_of(const nf_pattern* pattern, ListOf<int64_t> values, const char* name) {
  if (pattern != nullptr && values.size() != static_cast<size_t>(pattern->rank))
    refuse(std::string(name) + ": has " + std::to_string(values.size()) + " values: must have one for each of the " +
           std::to_string(pattern->rank) + " axes");
  return values.data();
}
// The same for the axes that a pattern's rules are for: along an order there is one.
inline const int64_t* rules_of(const nf_pattern* pattern, ListOf<int64_t> values, const char* name) {
  if (pattern == nullptr || pattern->kind != NF_CURVE) return axes_of(pattern, values, name);
  if (values.size() != 1)
    refuse(std::string(name) + ": has " + std::to_string(values.size()) +
           " values: must have one, for the positions of an order");
  return values.data();
}
}  // namespace detail

// Keys of the longest window on each axis. See nf_window_slots.
inline std::vector<int64_t> window_slots(const nf_pattern* pattern, ListOf<int64_t> grid) {
  int64_t slots[NF_MAX_GRID_RANK] = {};
  detail::check(nf_window_slots(pattern, detail::axes_of(pattern, grid, "grid"), slots));
  return {slots, slots + grid.size()};
}

// A bias table has 2*extent - 1 entries on each axis. See nf_bias_extents.
inline std::vector<int64_t> bias_extents(const nf_pattern* pattern, ListOf<int64_t> grid) {
  int64_t extents[NF_MAX_GRID_RANK] = {};
  detail::check(nf_bias_extents(pattern, detail::axes_of(pattern, grid, "grid"), extents));
  return {extents, extents + grid.size()};
}

// The row-major token at each position of an order. See nf_order_tokens.
inline std::vector<int64_t> order_tokens(nf_order order, ListOf<int64_t> grid) {
  const auto rank = static_cast<int32_t>(grid.size());
  detail::check(nf_order_tokens(order, rank, grid.data(), nullptr, nullptr));
  int64_t count = 1;
  for (const int64_t length : grid) count *= length;
  std::vector<int64_t> tokens(static_cast<size_t>(count));
  detail::check(nf_order_tokens(order, rank, grid.data(), tokens.data(), nullptr));
  return tokens;
}

// The circles of a grid on the sphere, and the area of one point of each. See nf_sphere_latitudes.
struct SphereLatitudes {
  std::vector<double> colatitudes, area_weights;  // [nlat]
};
inline SphereLatitudes sphere_latitudes(const nf_sphere_grid& grid) {
  detail::check(nf_sphere_latitudes(&grid, nullptr, nullptr));  // refuses what would ask for too much memory
  SphereLatitudes result;
  result.colatitudes.resize(static_cast<size_t>(grid.nlat));
  result.area_weights.resize(static_cast<size_t>(grid.nlat));
  detail::check(nf_sphere_latitudes(&grid, result.colatitudes.data(), result.area_weights.data()));
  return result;
}

struct Windows {
  int64_t slots = 0;                      // of a query
  std::vector<int64_t> keys, bias_index;  // [queries][slots], -1 in slots that are not filled
};

// The windows of queries first to first + count - 1; bias_index only if asked for. See nf_windows.
inline Windows windows(const nf_pattern* pattern, ListOf<int64_t> grid, int64_t first, int64_t count,
                       bool with_bias_index = false) {
  Windows result;
  int64_t tokens = 1;
  result.slots = 1;
  for (const int64_t slots : window_slots(pattern, grid)) result.slots *= slots;
  for (const int64_t length : grid) tokens *= length;
  // A range of queries that do not exist gets no memory, and is refused before any is looked at.
  const bool exist = first >= 0 && count >= 0 && first <= tokens && count <= tokens - first;
  const auto entries = exist ? static_cast<size_t>(count) * static_cast<size_t>(result.slots) : size_t{0};
  result.keys.resize(entries);
  if (with_bias_index) result.bias_index.resize(entries);
  detail::check(nf_windows(pattern, grid.data(), first, count, result.keys.data(),
                           with_bias_index ? result.bias_index.data() : nullptr));
  return result;
}

// The steps of a plan with tiles of at most `tile` queries and steps of at most `step` keys: one value for each axis,
// one in all for a pattern along an order. See nf_plan_steps.
inline std::vector<nf_plan_step> plan_steps(const nf_pattern* pattern, ListOf<int64_t> grid, ListOf<int64_t> tile,
                                            ListOf<int64_t> step) {
  const auto* const lengths = detail::axes_of(pattern, grid, "grid");
  const auto* const queries = detail::rules_of(pattern, tile, "tile");
  const auto* const keys = detail::rules_of(pattern, step, "step");
  int64_t count = 0;
  detail::check(nf_plan_steps(pattern, lengths, queries, keys, 0, nullptr, &count));
  std::vector<nf_plan_step> steps(static_cast<size_t>(count));
  detail::check(nf_plan_steps(pattern, lengths, queries, keys, count, steps.data(), &count));
  return steps;
}

// The blocks of `block` tokens that a block-sparse kernel visits. See nf_block_map.
struct BlockMap {
  nf_block_counts counts{};
  std::vector<nf_block> blocks;  // not the empty ones
  // Of all pairs of blocks, how many are skipped.
  double empty_ratio() const {
    return counts.blocks == 0 ? 0.0 : static_cast<double>(counts.empty) / static_cast<double>(counts.blocks);
  }
};
inline BlockMap block_map(const nf_pattern* pattern, ListOf<int64_t> grid, int64_t block = 128) {
  const auto* const lengths = detail::axes_of(pattern, grid, "grid");
  BlockMap map;
  detail::check(nf_block_map(pattern, lengths, block, 0, nullptr, &map.counts));
  map.blocks.resize(static_cast<size_t>(map.counts.full + map.counts.masked));
  detail::check(
      nf_block_map(pattern, lengths, block, static_cast<int64_t>(map.blocks.size()), map.blocks.data(), &map.counts));
  return map;
}

// What tiles of `tile` queries visit of keys in tiles of `key_tile`, and how much faster than dense attention that can
// be: one value for each axis, one in all for a pattern along an order. Times are predicted if rates are given. See
// nf_simulate.
inline nf_simulation simulate(const nf_pattern* pattern, ListOf<int64_t> grid, ListOf<int64_t> tile,
                              ListOf<int64_t> key_tile, const nf_rates* rates = nullptr) {
  const auto* const lengths = detail::axes_of(pattern, grid, "grid");
  const auto* const queries = detail::rules_of(pattern, tile, "tile");
  const auto* const keys = detail::rules_of(pattern, key_tile, "key_tile");
  nf_simulation simulation{};
  simulation.struct_size = sizeof simulation;
  detail::check(nf_simulate(pattern, lengths, queries, keys, rates, &simulation));
  return simulation;
}
// No key tile that is visited needs a mask: the sparsity can become speed in full.
inline bool is_block_sparse(const nf_simulation& simulation) { return simulation.key_tiles.masked_units == 0; }

}  // namespace nearfield
