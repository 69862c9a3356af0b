// The band kernel: softmax(q k) v for up to W adjacent queries with exact windows, lanes = head_dim.
//
//   1. scores    per query and key line, dots of up to W keys, transposed-and-summed into one score vector
//   2. maxima    of W queries by one transposing reduction
//   3. weights   exp2(score - maximum), and their sums; out = 1/sum of what follows
//   4. values    3 (2, 1) adjacent queries share each value vector; no pair outside a window is touched, so NaN or
//                infinity in a key's value reaches only those who see it
// In phases, not interleaved: on Zen 3 fusing the exponentials into either product cost 6-7%. Oracle: reference.
#pragma once

#include <cstdint>

#include "engine/cpu/kernels.h"
#include "engine/cpu/simd/math.h"

namespace nearfield::core::kernel {

// Dots of one query with G adjacent keys: lane g of the result is q.k_g, lanes from G on are far below any logit.
// N: vectors per row, 0 for any.
template <class V, int G, int N>
inline __attribute__((always_inline)) V dots(const typename V::Scalar* q, const typename V::Scalar* k, int64_t stride,
                                             int64_t vectors) {
  constexpr int W = V::kLanes;
  if constexpr (N != 0) {
    vectors = N;
    stride = N * W;  // a constant stride folds into the addresses; at run time it costs 8%
  }
  k = V::opaque(k);
  V a[W];
  V x = V::load(q);
#pragma GCC unroll 16
  for (int g = 0; g < W; ++g) a[g] = g < G ? x * V::load(k + g * stride) : V::set(kMaskedScore<typename V::Scalar>);
#pragma GCC unroll 16
  for (int64_t c = 1; c < vectors; ++c) {
    x = V::load(q + c * W);
#pragma GCC unroll 16
    for (int g = 0; g < G; ++g) a[g] = fma(x, V::load(k + g * stride + c * W), a[g]);
  }
  return transpose_reduce(a, [](V m, V n) { return m + n; });
}

template <class V, int N, int G = 1>
inline __attribute__((always_inline)) V some_dots(int64_t keys, const typename V::Scalar* q,
                                                  const typename V::Scalar* k, int64_t stride, int64_t vectors) {
  if constexpr (G < V::kLanes - 1) {
    if (keys != G) return some_dots<V, N, G + 1>(keys, q, k, stride, vectors);
  }
  return dots<V, G, N>(q, k, stride, vectors);
}

// Fetches an even share of the upcoming memory at each of `shares` calls: a burst would stall the loads behind it.
template <class T>
struct Prefetcher {
  const BandTile<T>& tile;
  int64_t per_share;
  int64_t next = 0;
  template <class V>
  inline __attribute__((always_inline)) void share() {
    for (int64_t i = 0; i < per_share && next < tile.upcoming_count; ++i, ++next) {
      const Upcoming& piece = tile.upcoming[next];
      for (int64_t line = 0; line < piece.cache_lines; ++line) V::prefetch(piece.begin + line * 64);
    }
  }
};

template <class V, int N>
void band_scores(const BandTile<typename V::Scalar>& tile, V* maxima, Prefetcher<typename V::Scalar>& fetch) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const int64_t stride = N != 0 ? N * W : tile.key_stride, vectors = tile.key_stride / W;
  for (int64_t t = 0; t < tile.queries; ++t) {
    fetch.template share<V>();
    const T* q = tile.query + t * stride;
    const int64_t begin = tile.begin[t] * stride, length = tile.end[t] - tile.begin[t];
    const int64_t whole = length / W * W, rest = length - whole;
    T* s = tile.scores + t * tile.lines * tile.width;
    V top = V::set(kMaskedScore<T>);
    for (int64_t line = 0; line < tile.lines; ++line, s += tile.width) {
      const T* k = tile.keys[line] + begin;
      int64_t j = 0;
      for (; j < whole; j += W) {
        const V x = dots<V, W, N>(q, k + j * stride, stride, vectors);
        x.store(s + j);
        top = max(top, x);
      }
      if (rest != 0) {
        const V x = some_dots<V, N>(rest, q, k + j * stride, stride, vectors);
        x.store(s + j);
        top = max(top, x);
        j += W;
      }
      for (; j < tile.width; j += W) V::set(kMaskedScore<T>).store(s + j);
    }
    maxima[t] = top;
  }
  for (int64_t t = tile.queries; t < W; ++t) maxima[t] = maxima[0];
}

// Scores become weights in place; inverse[t] = 1 / (their sum).
template <class V>
void band_weights(const BandTile<typename V::Scalar>& tile, const V (&maxima)[V::kLanes], typename V::Scalar* inverse,
                  Prefetcher<typename V::Scalar>& fetch) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const V top = transpose_reduce(maxima, [](V a, V b) { return max(a, b); });
  T tops[W];
  top.store(tops);
  V sums[W];
  for (V& each : sums) each = V::set(1);
  const int64_t row = tile.lines * tile.width;
  for (int64_t t = 0; t < tile.queries; ++t) {
    fetch.template share<V>();
    T* s = tile.scores + t * row;
    const V m = V::set(tops[t]);
    V sum = V::zero();
#pragma GCC unroll 4
    for (int64_t i = 0; i < row; i += W) {
      const V p = simd::exp2(V::load(s + i) - m);
      p.store(s + i);
      sum = sum + p;
    }
    sums[t] = sum;
  }
  const V sum = transpose_reduce(sums, [](V a, V b) { return a + b; });
  (V::set(1) / sum).store(inverse);
  if (tile.logsumexp != nullptr)
    fma(top, V::set(static_cast<T>(0.69314718055994530942)), simd::log(sum)).store(tile.logsumexp);
}

// out rows t .. t+Q of columns [c, c + M*W): the queries share each value vector. Where the windows of neighbours
// differ, the ends belong to some of them only.
template <class V, int Q, int M>
struct BandValues {
  using T = typename V::Scalar;
  static constexpr int W = V::kLanes;
  const BandTile<T>& tile;
  V sum[Q][M];

  template <int First, int Last>
  inline __attribute__((always_inline)) void add(const T* const (&weights)[Q], const T* values, int64_t p) {
    V x[Q];
#pragma GCC unroll 3
    for (int i = First; i <= Last; ++i) x[i] = V::broadcast(weights[i] + p);
#pragma GCC unroll 8
    for (int c = 0; c < M; ++c) {
      const V v = V::load_once(values + p * tile.value_stride + c * W);
#pragma GCC unroll 3
      for (int i = First; i <= Last; ++i) sum[i][c] = fma(x[i], v, sum[i][c]);
    }
  }

  inline __attribute__((always_inline)) void line(const T* const (&weights)[Q], const T* values, const int32_t* begin,
                                                  const int32_t* end) {
    if constexpr (Q == 1) {
      for (int64_t p = begin[0]; p < end[0]; ++p) add<0, 0>(weights, values, p);
    } else if constexpr (Q == 2) {
      for (int64_t p = begin[0]; p < begin[1]; ++p) add<0, 0>(weights, values, p);
      for (int64_t p = begin[1]; p < end[0]; ++p) add<0, 1>(weights, values, p);
      for (int64_t p = end[0]; p < end[1]; ++p) add<1, 1>(weights, values, p);
    } else {
      for (int64_t p = begin[0]; p < begin[1]; ++p) add<0, 0>(weights, values, p);
      for (int64_t p = begin[1]; p < begin[2]; ++p) add<0, 1>(weights, values, p);
      for (int64_t p = begin[2]; p < end[0]; ++p) add<0, 2>(weights, values, p);
      for (int64_t p = end[0]; p < end[1]; ++p) add<1, 2>(weights, values, p);
      for (int64_t p = end[1]; p < end[2]; ++p) add<2, 2>(weights, values, p);
    }
  }

  inline __attribute__((always_inline)) void run(int64_t t, int64_t c, const T* inverse) {
    const int64_t row = tile.lines * tile.width;
#pragma GCC unroll 3
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < M; ++j) sum[i][j] = V::zero();
    for (int64_t line_index = 0; line_index < tile.lines; ++line_index) {
      const T* weights[Q];  // of position p: weights[i][p]
      for (int i = 0; i < Q; ++i)
        weights[i] = tile.scores + (t + i) * row + line_index * tile.width - tile.begin[t + i];
      line(weights, tile.values[line_index] + c, tile.begin + t, tile.end + t);
    }
#pragma GCC unroll 3
    for (int i = 0; i < Q; ++i) {
      const V scale = V::broadcast(inverse + t + i);
#pragma GCC unroll 8
      for (int j = 0; j < M; ++j) (sum[i][j] * scale).store(tile.out + (t + i) * tile.value_stride + c + j * W);
    }
  }
};

template <class V, int Q>
void band_columns(const BandTile<typename V::Scalar>& tile, int64_t t, const typename V::Scalar* inverse) {
  constexpr int64_t W = V::kLanes;
  int64_t c = 0;
  for (; c + 4 * W <= tile.value_stride; c += 4 * W) BandValues<V, Q, 4>{tile, {}}.run(t, c, inverse);
  for (; c + 2 * W <= tile.value_stride; c += 2 * W) BandValues<V, Q, 2>{tile, {}}.run(t, c, inverse);
  for (; c < tile.value_stride; c += W) BandValues<V, Q, 1>{tile, {}}.run(t, c, inverse);
}

// Adjacent queries whose windows have a common part go together, three at a time.
template <class V>
void band_values(const BandTile<typename V::Scalar>& tile, const typename V::Scalar* inverse,
                 Prefetcher<typename V::Scalar>& fetch) {
  for (int64_t t = 0; t < tile.queries;) {
    const int64_t left = tile.queries - t;
    const int64_t q = left >= 3 && tile.begin[t + 2] <= tile.end[t]   ? 3
                      : left >= 2 && tile.begin[t + 1] <= tile.end[t] ? 2
                                                                      : 1;
    for (int64_t i = 0; i < q; ++i) fetch.template share<V>();
    if (q == 3) band_columns<V, 3>(tile, t, inverse);
    if (q == 2) band_columns<V, 2>(tile, t, inverse);
    if (q == 1) band_columns<V, 1>(tile, t, inverse);
    t += q;
  }
}

template <class V, int N>
void band_tile_of(const BandTile<typename V::Scalar>& tile) {
  V maxima[V::kLanes];
  typename V::Scalar inverse[V::kLanes];
  Prefetcher<typename V::Scalar> fetch{tile, (tile.upcoming_count + 3 * tile.queries - 1) / (3 * tile.queries)};
  band_scores<V, N>(tile, maxima, fetch);
  band_weights<V>(tile, maxima, inverse, fetch);
  band_values<V>(tile, inverse, fetch);
}

template <class V>
void band_tile(const BandTile<typename V::Scalar>& tile) {
  switch (tile.key_stride / V::kLanes) {
    case 1: return band_tile_of<V, 1>(tile);
    case 2: return band_tile_of<V, 2>(tile);
    case 4: return band_tile_of<V, 4>(tile);
    case 8: return band_tile_of<V, 8>(tile);
    case 16: return band_tile_of<V, 16>(tile);
    default: return band_tile_of<V, 0>(tile);
  }
}

}  // namespace nearfield::core::kernel
