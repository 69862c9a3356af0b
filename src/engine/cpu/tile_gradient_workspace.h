// What the tile kernel's backward needs per slot beside what the forward has.
#pragma once

#include <cstdint>

#include "engine/cpu/tile_walk.h"

namespace nearfield::core {

template <class T>
struct TileGradientWorkspace {
  T *query_rows, *out_rows, *dout_rows, *dout, *dlogsumexp, *d, *terms, *dquery, *dquery_rows;
  T *dscores = nullptr, *slopes = nullptr;
  T *dbias, *dlog_weights, *weightless, *sink, *additional;
  T *alone_rows, *alone, *alone_dout_rows, *alone_dout, *alone_logsumexp, *alone_dquery,
      *alone_scaled;  // one query, the others blank
  const T** row;
  std::byte **dkeys, **dvalues, **kept_dkeys, **kept_dvalues;
  double* task_bias;  // [heads of a group][bias_head]

  TileGradientWorkspace(Arena& arena, const Problem& problem, const KernelTable<T>& kernels,
                        const TileWorkspace<T>& forward, const GradientsWanted& wanted) {
    const Shape& shape = problem.shape;
    const int64_t queries = kernels.tile_queries, scores = kStepKeys * queries;
    const int64_t keys = queries * forward.key_stride, values = queries * forward.value_stride;
    query_rows = arena.take<T>(keys);  // times scale
    out_rows = arena.take<T>(values);
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
    additional = arena.take<T>(shape.additional * (shape.head_dim + shape.head_dim_v));
    alone_rows = arena.take<T>(keys);
    alone = arena.take<T>(keys);
    alone_dout_rows = arena.take<T>(values);
    alone_dout = arena.take<T>(values);
    alone_logsumexp = arena.take<T>(queries);
    alone_scaled = arena.take<T>(keys);
    alone_dquery = arena.take<T>(keys);
    row = arena.take<const T*>(queries);
    dkeys = arena.take<std::byte*>(kStepKeys);
    dvalues = arena.take<std::byte*>(kStepKeys);
    kept_dkeys = arena.take<std::byte*>(kStepKeys);
    kept_dvalues = arena.take<std::byte*>(kStepKeys);
    int64_t bias_head = wanted.bias ? 1 : 0;
    for (int a = 0; wanted.bias && a < shape.rank; ++a) bias_head *= problem.modifiers.bias.sizes[a + 1];
    task_bias = arena.take<double>(wanted.bias ? shape.heads / shape.heads_kv * bias_head : 0);
  }
};

}  // namespace nearfield::core
