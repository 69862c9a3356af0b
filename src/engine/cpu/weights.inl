// Explicit weights: the tile kernel's scores on their own, and products of weights that stay the rows that they are. V
// is a vector of the vocabulary (simd/). Oracle: reference.
#pragma once

#include <cstdint>

#include "engine/cpu/tile_gradients.inl"

namespace nearfield::core::kernel {

template <class V>
void tile_scores(const TileStep<typename V::Scalar>& step) {
  scores<V>(step);
}

template <class V>
void transpose_back(const typename V::Scalar* columns_first, int64_t columns, typename V::Scalar* rows,
                    int64_t stride) {
  constexpr int64_t W = V::kLanes, Q = 2 * W;
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t c = 0; c < columns; c += W)
      V::transpose(columns_first + c * Q + half * W, Q, rows + half * W * stride + c, stride);
}

// R queries x M vectors of channels in registers while the keys go by.
template <class V, int R, int M>
inline __attribute__((always_inline)) void weigh_block(const WeighedRows<typename V::Scalar>& step, int64_t q,
                                                       int64_t c) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const T* w[R];
  V sum[R][M];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    w[r] = step.weights[q + r];
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) sum[r][m] = V::load(step.out + (q + r) * step.stride + c + m * W);
  }
  for (int64_t i = 0; i < step.range_count; ++i) {
    const int64_t end = step.ranges[i].end;
    for (int64_t key = step.ranges[i].first; key < end; ++key) {
      const T* source = step.sources[key] + c;
      V x[M];
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) x[m] = V::load_once(source + m * W);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const V weight = V::broadcast(w[r] + key);
#pragma GCC unroll 4
        for (int m = 0; m < M; ++m) V::accumulate(sum[r][m], weight, x[m]);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) sum[r][m].store(step.out + (q + r) * step.stride + c + m * W);
}

template <class V, int R>
void weigh_queries(const WeighedRows<typename V::Scalar>& step, int64_t q) {
  constexpr int M = R >= 4 ? 2 : 4;  // twelve or eight sums, which hide the multiply-adds' latency
  int64_t c = 0;
  for (; c + M * V::kLanes <= step.columns; c += M * V::kLanes) weigh_block<V, R, M>(step, q, c);
  for (; c < step.columns; c += V::kLanes) weigh_block<V, R, 1>(step, q, c);
}

template <class V>
void weigh_rows(const WeighedRows<typename V::Scalar>& step) {
  switch (step.queries) {
    case 6: return weigh_queries<V, 6>(step, 0);
    case 5: weigh_queries<V, 1>(step, 4); [[fallthrough]];
    case 4: return weigh_queries<V, 4>(step, 0);
    case 3: weigh_queries<V, 1>(step, 2); [[fallthrough]];
    case 2: return weigh_queries<V, 2>(step, 0);
    default: return weigh_queries<V, 1>(step, 0);
  }
}

template <class V>
struct WeightsByQuery {
  const SpreadRows<typename V::Scalar>& step;
  static constexpr int64_t kNextKey = 1;
  int64_t first_query(int64_t key, int64_t count) const {
    int64_t first = step.from[key];
    for (int64_t i = 1; i < count; ++i) first = step.from[key + i] < first ? step.from[key + i] : first;
    return first;
  }
  int64_t end_query(int64_t key, int64_t count) const {
    int64_t end = step.to[key];
    for (int64_t i = 1; i < count; ++i) end = step.to[key + i] > end ? step.to[key + i] : end;
    return end;
  }
  const typename V::Scalar* of(int64_t query, int64_t key) const { return step.weights[query] + key; }
};

template <class V>
void spread_rows(const SpreadRows<typename V::Scalar>& step) {
  gather_all<V>(WeightsByQuery<V>{step}, step.sources, step.stride, step.rows, step.count, step.columns);
}

}  // namespace nearfield::core::kernel
