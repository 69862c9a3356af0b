// What the tile kernel's drivers need per slot.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/cpu/driver.h"
#include "engine/cpu/kernels.h"
#include "engine/problem.h"

namespace nearfield::core {

// Keys of a step: a multiple of the kernel's 6 rows whose scores stay in the L1 cache.
inline constexpr int64_t kStepKeys = 60;
// Rows that a tile fetches for the one after it, at most.
inline constexpr int64_t kMostUpcomingRows = 512;

template <class T>
struct TileWorkspace {
  T *query_rows, *query, *scores, *maximum, *sum, *accumulator, *out, *again, *logsumexp, *packed_keys, *packed_values,
      *zeros, *log_weights, *bias;
  const T **keys, **values, **kept_keys, **kept_values;
  uint32_t *visible, *axis_bits;
  int32_t *axis_bias, *bias_index;
  int64_t *offsets, *query_offsets;
  Upcoming* upcoming;  // along an order
  int64_t key_stride, value_stride;

  TileWorkspace(Arena& arena, const Problem& problem, const KernelTable<T>& kernels) {
    const int64_t queries = kernels.tile_queries, d = problem.shape.head_dim, dv = problem.shape.head_dim_v;
    const bool has_bias = is_given(problem.modifiers.bias);
    key_stride = round_up(d, kernels.lanes);
    value_stride = round_up(dv, kernels.lanes);
    query_rows = arena.take<T>(queries * key_stride);
    query = arena.take<T>(queries * key_stride);
    scores = arena.take<T>(kStepKeys * queries);
    maximum = arena.take<T>(queries);
    sum = arena.take<T>(queries);
    accumulator = arena.take<T>(queries * value_stride);
    out = arena.take<T>(queries * value_stride);
    again = arena.take<T>(queries * value_stride);
    logsumexp = arena.take<T>(2 * queries);
    packed_keys = arena.take<T>(kStepKeys * key_stride);
    packed_values = arena.take<T>(kStepKeys * value_stride);
    zeros = arena.take<T>(std::max(d, dv));
    log_weights = arena.take<T>(kStepKeys);
    bias = arena.take<T>(has_bias ? kStepKeys * queries : 0);
    keys = arena.take<const T*>(kStepKeys);
    values = arena.take<const T*>(kStepKeys);
    kept_keys = arena.take<const T*>(kStepKeys);
    kept_values = arena.take<const T*>(kStepKeys);
    visible = arena.take<uint32_t>(kStepKeys);
    axis_bits = arena.take<uint32_t>(kMaxGridRank * (kStepKeys + 1));
    axis_bias = arena.take<int32_t>(has_bias ? kMaxGridRank * kStepKeys * queries : 0);
    bias_index = arena.take<int32_t>(has_bias ? kStepKeys * queries : 0);
    offsets = arena.take<int64_t>(kStepKeys);
    query_offsets = arena.take<int64_t>(queries);
    upcoming = arena.take<Upcoming>(problem.pattern.order ? kMostUpcomingRows : 0);
  }
};

}  // namespace nearfield::core
