// What the tile kernel's backward needs per slot beside what the forward has.
#pragma once

#include <cstdint>

#include "engine/cpu/tile_walk.h"

namespace nearfield::core {

inline constexpr size_t kMostTileBytes = size_t{1} << 20;  // of a slot

template <class T>
struct TileGradientWorkspace {
  T *query_rows, *out_rows, *dout_rows, *dout, *dlogsumexp, *d, *terms, *dquery, *dquery_rows;
  T *dscores = nullptr, *slopes = nullptr;
  T *dbias, *dlog_weights, *weightless, *sink, *additional;
  T *alone_rows, *alone, *alone_dout_rows, *alone_dout, *alone_logsumexp, *alone_dquery,
      *alone_scaled;  // one query, the others blank
  const T** row;
  std::byte **dkeys, **dvalues, **kept_dkeys, **kept_dvalues;
  // Whether there is no room for a task's own sums over its queries (gradients of the bias of a very large window, or
  // of thousands of additional keys): then the tasks of a head add to the shared ones, one at a time.
  bool adds_in_turn;
  int64_t additional_rows;  // of `additional`: all of them, or as many as a step then has
  double* task_bias;        // [heads of a group][bias_head]; none if adds_in_turn

  TileGradientWorkspace(Arena& arena, const Problem& problem, const KernelTable<T>& kernels, TileWorkspace<T>& forward,
                        const GradientsWanted& wanted) {
    const Shape& shape = problem.shape;
    const int64_t queries = kernels.tile_queries, scores = kStepKeys * queries;
    const int64_t keys = queries * forward.key_stride, values = queries * forward.value_stride;
    query_rows = arena.take<T>(keys);  // times scale
    dout_rows = arena.take<T>(values);
    dout = arena.take<T>(values);
    dlogsumexp = arena.take<T>(queries);
    d = arena.take<T>(queries);
    terms = arena.take<T>(queries);
    dquery = arena.take<T>(keys);
    dquery_rows = arena.take<T>(keys);
    if (wanted.scores()) dscores = arena.take<T>(scores);
    if (wanted.scores() && problem.modifiers.softcap != 0) slopes = arena.take<T>(scores);
    dbias = arena.take<T>(wanted.bias ? scores : 0);
    dlog_weights = arena.take<T>(wanted.key_weights ? kStepKeys : 0);
    weightless = arena.take<T>(wanted.key_weights ? kStepKeys : 0);
    sink = arena.take<T>(std::max(shape.head_dim, shape.head_dim_v));
    alone = arena.take<T>(keys);
    alone_logsumexp = arena.take<T>(queries);
    alone_scaled = arena.take<T>(keys);
    alone_dquery = arena.take<T>(keys);
    row = arena.take<const T*>(queries);
    dkeys = arena.take<std::byte*>(kStepKeys);
    dvalues = arena.take<std::byte*>(kStepKeys);
    kept_dkeys = arena.take<std::byte*>(kStepKeys);
    kept_dvalues = arena.take<std::byte*>(kStepKeys);
    // Memory that the forward needs and the backward does not, or not at that time.
    out_rows = forward.out;
    alone_dout_rows = forward.again;
    alone_dout = forward.accumulator;
    alone_rows = dquery_rows;
    place_sums(arena, problem, wanted);
  }

 private:
  void place_sums(Arena& arena, const Problem& problem, const GradientsWanted& wanted) {
    const Shape& shape = problem.shape;
    const int64_t channels = shape.head_dim + shape.head_dim_v, row = channels * static_cast<int64_t>(sizeof(T));
    const auto room = static_cast<int64_t>(kMostTileBytes - std::min(arena.used(), kMostTileBytes));
    int64_t bias = wanted.bias ? shape.heads / shape.heads_kv : 0;
    for (int a = 0; wanted.bias && a < shape.rank; ++a) bias *= problem.modifiers.bias.sizes[a + 1];
    additional_rows = wanted.additional_keys || wanted.additional_values ? shape.additional : 0;
    adds_in_turn = bias * static_cast<int64_t>(sizeof(double)) + additional_rows * row >
                   room - static_cast<int64_t>(2 * kCacheLine);
    if (adds_in_turn) {
      bias = 0;
      // A multiple of the kernel's 6 rows.
      const int64_t most = std::clamp<int64_t>(room / row / 6 * 6, 6, kStepKeys);
      additional_rows = std::min(additional_rows, most);
    }
    additional = arena.take<T>(additional_rows * channels);
    task_bias = arena.take<double>(bias);
  }
};

}  // namespace nearfield::core
