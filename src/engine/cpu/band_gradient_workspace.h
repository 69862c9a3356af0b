// What the band kernel's backward needs per slot beside what the forward has.
#pragma once

#include <cstdint>

#include "engine/cpu/band_workspace.h"
#include "engine/cpu/first_sums.h"

namespace nearfield::core {

template <class T>
struct BandGradientWorkspace {
  // [rows of a block][...]: rows of queries, scores and pointers to the lines' gradients
  T *dout, *dlogsumexp, *dquery, *slopes = nullptr, *dscores = nullptr;
  T **dkeys, **dvalues, **dlog_weights, **dbias, **dadditional;
  int32_t *seen_from, *seen_to;  // of a tile [windows][positions]; of arcs, of all tiles of the strip
  int32_t *additional_from, *additional_to;
  int64_t *dlogsumexp_offsets, *dquery_offsets, *dkey_offsets, *dvalue_offsets;
  T* dbias_rows;      // as bias_rows
  T* block_bias;      // [bias_head]: of one block and head
  double* task_bias;  // [task_heads][bias_head]
  int64_t task_heads;
  uint8_t* written;  // [heads][key lines]: whether this column has, in a part that is the first to write some
  int64_t key_lines = 0;

  BandGradientWorkspace(Arena& arena, const Problem& problem, const KernelTable<T>& kernels, const BandExtent& extent,
                        const BandWorkspace<T>& forward, const GradientsWanted& wanted, const CpuPart& part) {
    const Shape& shape = problem.shape;
    const int64_t queries = extent.rows * kernels.lanes, lines = extent.rows * extent.lines();
    dout = arena.take<T>(queries * forward.value_stride);
    dlogsumexp = arena.take<T>(queries);
    dquery = arena.take<T>(wanted.query ? queries * forward.key_stride : 0);
    if (wanted.scores()) dscores = arena.take<T>(queries * forward.row);
    if (wanted.scores() && problem.modifiers.softcap != 0) slopes = arena.take<T>(queries * forward.row);
    dkeys = arena.take<T*>(lines);
    dvalues = arena.take<T*>(lines);
    dlog_weights = arena.take<T*>(lines);
    dbias = arena.take<T*>(lines);
    dadditional = arena.take<T*>(2 * forward.heads);
    const int64_t tiles = problem.pattern.has_arcs() ? ceil_div(extent.strip, kernels.lanes) : 1;
    seen_from = arena.take<int32_t>(tiles * extent.windows * extent.positions);
    seen_to = arena.take<int32_t>(tiles * extent.windows * extent.positions);
    additional_from = arena.take<int32_t>(shape.additional);
    additional_to = arena.take<int32_t>(shape.additional);
    dlogsumexp_offsets = arena.take<int64_t>(extent.strip);
    dquery_offsets = arena.take<int64_t>(extent.strip);
    dkey_offsets = arena.take<int64_t>(extent.positions);
    dvalue_offsets = arena.take<int64_t>(extent.positions);
    int64_t bias_head = wanted.bias ? 1 : 0;
    for (int a = 0; wanted.bias && a < shape.rank; ++a) bias_head *= problem.modifiers.bias.sizes[a + 1];
    task_heads = wanted.bias ? forward.heads * (shape.heads / shape.heads_kv) : 0;
    dbias_rows = arena.take<T>(wanted.bias ? kernels.lanes * forward.bias_step : 0);
    block_bias = arena.take<T>(bias_head);
    task_bias = arena.take<double>(task_heads * bias_head);
    key_lines = most_key_lines(*part.plan);
    written = arena.take<uint8_t>(forward.heads * key_lines <= kMostKeyLines ? forward.heads * key_lines : 0);
  }
};

}  // namespace nearfield::core
