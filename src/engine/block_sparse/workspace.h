// Memory of the block-sparse engine: what all threads share, and what each has.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/block_sparse/block_sparse.h"
#include "engine/cpu/driver.h"
#include "engine/cpu/kernels.h"

namespace nearfield::core {

// Keys of one call of the kernel: their scores stay in the L1 cache, and two of them are a block.
inline constexpr int64_t kSparseStep = kSparseBlock / 2;

// Keys and values in the pattern's order, of the kernel's type; none where the pattern has no order.
template <class T>
struct SparseShared {
  int64_t key_stride, value_stride;
  T *keys = nullptr, *values = nullptr;  // [tokens][stride]

  SparseShared(Arena& arena, const Problem& problem, const KernelTable<T>& kernels)
      : key_stride(round_up(problem.shape.head_dim, kernels.lanes)),
        value_stride(round_up(problem.shape.head_dim_v, kernels.lanes)) {
    if (!problem.pattern.order) return;
    keys = arena.take<T>(problem.shape.tokens() * key_stride);
    values = arena.take<T>(problem.shape.tokens() * value_stride);
  }
};

template <class T>
struct SparseSlot {
  // Of the tiles of a block of queries, one after the other.
  T *query, *maximum, *sum, *accumulator;
  // Of one tile.
  T *query_rows, *scores, *out, *again, *logsumexp;
  // Of a block of keys.
  T *packed_keys, *packed_values, *zeros;
  const T **keys, **values, **kept_keys, **kept_values;
  uint32_t* visible;
  int64_t *query_offsets, *offsets;

  SparseSlot(Arena& arena, const Problem& problem, const KernelTable<T>& kernels, const SparseShared<T>& shared) {
    const int64_t lanes = kernels.tile_queries, d = problem.shape.head_dim, dv = problem.shape.head_dim_v;
    query = arena.take<T>(kSparseBlock * shared.key_stride);
    maximum = arena.take<T>(kSparseBlock);
    sum = arena.take<T>(kSparseBlock);
    accumulator = arena.take<T>(kSparseBlock * dv);
    query_rows = arena.take<T>(lanes * shared.key_stride);
    scores = arena.take<T>(kSparseStep * lanes);
    out = arena.take<T>(lanes * shared.value_stride);
    again = arena.take<T>(lanes * shared.value_stride);
    logsumexp = arena.take<T>(2 * lanes);
    packed_keys = arena.take<T>(kSparseBlock * shared.key_stride);
    packed_values = arena.take<T>(kSparseBlock * shared.value_stride);
    zeros = arena.take<T>(std::max(d, dv));
    keys = arena.take<const T*>(kSparseBlock);
    values = arena.take<const T*>(kSparseBlock);
    kept_keys = arena.take<const T*>(kSparseStep);
    kept_values = arena.take<const T*>(kSparseStep);
    visible = arena.take<uint32_t>(kSparseStep);
    query_offsets = arena.take<int64_t>(kSparseBlock);
    offsets = arena.take<int64_t>(kSparseBlock);
  }
};

}  // namespace nearfield::core
