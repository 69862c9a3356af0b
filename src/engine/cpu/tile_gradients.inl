// The tile kernel's backward, in one pass: a tile of 2W queries against one step's keys, names as in
// band_gradients.inl.
//
//   S, dP        as the forward's scores, from keys and queries and from values and dout
//   dquery       as the forward's output: Qᵀ += Kᵀ u
//   dkeys, ...   6 keys x 2 vectors of channels in registers while the queries go by
// Oracle: reference.
#pragma once

#include <cstdint>
#include <cstring>

#include "engine/cpu/tile.inl"

namespace nearfield::core::kernel {

// The weights of keys [key, ...) with a tile's queries, as the tile kernel has them: [keys][2W].
template <class V>
struct WeightsByKey {
  static constexpr int64_t kQueries = 2 * V::kLanes;
  const typename V::Scalar* weights;
  // The queries that see one of `count` keys.
  int64_t first_query(int64_t, int64_t) const { return 0; }
  int64_t end_query(int64_t, int64_t) const { return kQueries; }
  const typename V::Scalar* of(int64_t query, int64_t key) const { return weights + key * kQueries + query; }
  static constexpr int64_t kNextKey = kQueries;
};

// rows[key .. key+R), channels [c, c + M*W) += sum over queries of weights(query, key) * sources[query].
template <class V, int R, int M, class Weights>
inline __attribute__((always_inline)) void gather_block(const Weights& weights, int64_t key,
                                                        const typename V::Scalar* sources, int64_t stride,
                                                        std::byte* const* rows, int64_t c) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  V sum[R][M];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int m = 0; m < M; ++m) sum[r][m] = V::load_any(rows[r] + (c + m * W) * static_cast<int64_t>(sizeof(T)));
  const int64_t end = weights.end_query(key, R);
  for (int64_t q = weights.first_query(key, R); q < end; ++q) {
    V x[M];
#pragma GCC unroll 2
    for (int m = 0; m < M; ++m) x[m] = V::load_once(sources + q * stride + c + m * W);
    const T* of_query = weights.of(q, key);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const V w = V::broadcast(of_query + r * Weights::kNextKey);
#pragma GCC unroll 2
      for (int m = 0; m < M; ++m) V::accumulate(sum[r][m], w, x[m]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int m = 0; m < M; ++m) sum[r][m].store_any(rows[r] + (c + m * W) * static_cast<int64_t>(sizeof(T)));
}

// All channels of R keys; the last ones through a padded copy, so that nothing beside them is written.
template <class V, int R, class Weights>
void gather_keys(const Weights& weights, int64_t key, const typename V::Scalar* sources, int64_t stride,
                 std::byte* const* rows, int64_t channels) {
  constexpr int64_t W = V::kLanes, size = sizeof(typename V::Scalar);
  int64_t c = 0;
  for (; c + 2 * W <= channels; c += 2 * W) gather_block<V, R, 2>(weights, key, sources, stride, rows, c);
  if (c + W <= channels) {
    gather_block<V, R, 1>(weights, key, sources, stride, rows, c);
    c += W;
  }
  if (c == channels) return;
  std::byte last[R][W * size] = {};
  std::byte* copies[R];
  for (int r = 0; r < R; ++r) {
    std::memcpy(last[r], rows[r] + c * size, static_cast<size_t>((channels - c) * size));
    copies[r] = last[r];
  }
  gather_block<V, R, 1>(weights, key, sources + c, stride, copies, 0);
  for (int r = 0; r < R; ++r) std::memcpy(rows[r] + c * size, last[r], static_cast<size_t>((channels - c) * size));
}

template <class V, class Weights>
void gather_all(const Weights& weights, const typename V::Scalar* sources, int64_t stride, std::byte* const* rows,
                int64_t count, int64_t channels) {
  int64_t j = 0;
  for (; j + 6 <= count; j += 6) gather_keys<V, 6>(weights, j, sources, stride, rows + j, channels);
  for (; j + 2 <= count; j += 2) gather_keys<V, 2>(weights, j, sources, stride, rows + j, channels);
  if (j < count) gather_keys<V, 1>(weights, j, sources, stride, rows + j, channels);
}

// Scores become P, dscores from dP become u; what is summed from dS on the way.
template <class V>
void score_gradients(const TileGradients<typename V::Scalar>& g) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes, Q = 2 * W;
  const V nothing = V::set(kNothingSeen<T>), limit = V::set(127), zero = V::zero();
  for (int64_t j = 0; j < g.step.count; ++j) {
    const bool gate = g.weightless != nullptr && g.weightless[j] != 0;
    V total = zero;
    for (int half = 0; half < 2; ++half) {
      const int64_t at = j * Q + half * W;
      const V s = V::load(g.step.scores + at);
      V x = s - V::load(g.logsumexp + half * W);
      if (gate) x = select_greater(x, limit, limit, x);
      // What a query does not see stays 0 even if the query is NaN.
      const V p = select_greater(nothing, s, zero, simd::exp2(x));
      (gate ? zero : p).store(g.step.scores + at);
      if (g.dscores == nullptr) continue;
      V ds = select_greater(nothing, s, zero, p * (V::load(g.dscores + at) - V::load(g.d + half * W)));
      total = total + ds;
      if (gate) ds = zero;
      if (g.dbias != nullptr) ds.store(g.dbias + at);
      if (g.step.slopes != nullptr) ds = ds * V::load(g.step.slopes + at);
      ds.store(g.dscores + at);
    }
    if (g.dlog_weights == nullptr) continue;
    T lanes[W];
    total.store(lanes);
    g.dlog_weights[j] = 0;
    for (T lane : lanes) g.dlog_weights[j] += lane;
  }
}

// dP of all pairs of the step.
template <class V>
void value_scores(const TileGradients<typename V::Scalar>& g) {
  TileStep<typename V::Scalar> step = g.step;
  step.head_dim = g.step.head_dim_v;
  step.query = g.dout;
  step.keys = g.step.values;
  step.scores = g.dscores;
  step.visible = nullptr;
  step.upcoming_count = 0;
  scores<V>(step);
}

template <class V>
void tile_terms(const TileGradients<typename V::Scalar>& g, typename V::Scalar* terms) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes, Q = 2 * W;
  final_scores<V>(g.step);
  value_scores<V>(g);
  for (int half = 0; half < 2; ++half) {
    V sum = V::load(terms + half * W);
    const V logsumexp = V::load(g.logsumexp + half * W);
    for (int64_t j = 0; j < g.step.count; ++j) {
      if (g.weightless != nullptr && g.weightless[j] != 0) continue;
      const V s = V::load(g.step.scores + j * Q + half * W), dp = V::load(g.dscores + j * Q + half * W);
      sum = sum + select_greater(V::set(kNothingSeen<T>), s, V::zero(), simd::exp2(s - logsumexp) * dp);
    }
    sum.store(terms + half * W);
  }
}

template <class V>
void tile_gradients(const TileGradients<typename V::Scalar>& g) {
  final_scores<V>(g.step);
  if (g.dscores != nullptr) value_scores<V>(g);
  score_gradients<V>(g);
  if (g.dquery != nullptr) {
    TileStep<typename V::Scalar> step = g.step;
    step.head_dim_v = g.step.head_dim;
    step.values = g.step.keys;
    step.scores = g.dscores;
    step.accumulator = g.dquery;
    accumulate<V>(step);
  }
  if (g.dvalues != nullptr)
    gather_all<V>(WeightsByKey<V>{g.step.scores}, g.dout_rows, g.value_stride, g.dvalues, g.step.count,
                  g.step.head_dim_v);
  if (g.dkeys != nullptr)
    gather_all<V>(WeightsByKey<V>{g.dscores}, g.query_rows, g.key_stride, g.dkeys, g.step.count, g.step.head_dim);
}

template <class V>
void tile_rows(const typename V::Scalar* columns_first, int64_t columns, typename V::Scalar factor,
               typename V::Scalar* rows, int64_t stride) {
  constexpr int64_t W = V::kLanes, Q = 2 * W;
  const V f = V::set(factor);
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t d = 0; d < columns; d += W) {
      typename V::Scalar block[W * W];
      for (int64_t c = 0; c < W; ++c) {
        const V x = d + c < columns ? V::load(columns_first + (d + c) * Q + half * W) * f : V::zero();
        x.store(block + c * W);
      }
      V::transpose(block, W, rows + half * W * stride + d, stride);
    }
}

template <class V>
bool all_finite(const typename V::Scalar* const* rows, int64_t count, int64_t columns) {
  using T = typename V::Scalar;
  constexpr int64_t W = V::kLanes;
  V bad = V::zero();  // x * 0 is NaN for NaN and infinity
  T rest = 0;
  for (int64_t i = 0; i < count; ++i) {
    int64_t c = 0;
    for (; c + W <= columns; c += W) bad = fma(V::load(rows[i] + c), V::zero(), bad);
    for (; c < columns; ++c) rest += rows[i][c] * 0;
  }
  T lanes[W];
  bad.store(lanes);
  bool finite = rest == 0;
  for (T lane : lanes) finite &= lane == 0;
  return finite;
}

}  // namespace nearfield::core::kernel
