// The band kernel: softmax(q k) v for up to W adjacent queries with exact windows, lanes = head_dim.
//
//   1. scores    per query and key line, dots of up to W keys, transposed-and-summed into one score vector
//   2. maxima    of W queries by one transposing reduction
//   3. weights   exp2(score - maximum), and their sums; out = 1/sum of what follows
//   4. values    adjacent queries share each value vector; no pair outside a window is touched, so NaN or infinity in a
//                key's value reaches only those who see it
// In phases, not interleaved: on Zen 3 fusing the exponentials into either product cost 6-7%. Oracle: reference.
#pragma once

#include <cstdint>
#include <utility>

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
  if constexpr (N != 0 && N <= 8) {  // key by key: the query stays in registers
#pragma GCC unroll 16
    for (int g = 0; g < W; ++g) {
      a[g] = g < G ? V::load(q) * V::load(k + g * stride) : V::set(kMaskedScore<typename V::Scalar>);
#pragma GCC unroll 16
      for (int64_t c = 1; g < G && c < N; ++c) a[g] = fma(V::load(q + c * W), V::load(k + g * stride + c * W), a[g]);
    }
  } else {  // vector by vector: it would not fit
    V x = V::load(q);
#pragma GCC unroll 16
    for (int g = 0; g < W; ++g) a[g] = g < G ? x * V::load(k + g * stride) : V::set(kMaskedScore<typename V::Scalar>);
#pragma GCC unroll 16
    for (int64_t c = 1; c < vectors; ++c) {
      x = V::load(q + c * W);
#pragma GCC unroll 16
      for (int g = 0; g < G; ++g) a[g] = fma(x, V::load(k + g * stride + c * W), a[g]);
    }
  }
  return transpose_reduce(a, [](V m, V n) { return m + n; });
}

// Fetches an even share of the upcoming memory at each of `shares` calls: a burst would stall the loads behind it.
template <class T>
struct Prefetcher {
  const BandTile<T>* tile = nullptr;
  int64_t per_share = 0;
  int64_t next = 0;
  template <class V>
  inline __attribute__((always_inline)) void share() {
    for (int64_t i = 0; i < per_share && next < tile->upcoming_count; ++i, ++next) {
      const Upcoming& piece = tile->upcoming[next];
      for (int64_t line = 0; line < piece.cache_lines; ++line) V::prefetch(piece.begin + line * 64);
    }
  }
};

// Scores of one query with all its key lines, whose windows leave Rest keys beside whole vectors; their maximum.
template <class V, int N, int Rest>
V query_scores(const BandTile<typename V::Scalar>& tile, int64_t t) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const int64_t stride = N != 0 ? N * W : tile.key_stride, vectors = tile.key_stride / W;
  const T* q = tile.query + t * stride;
  const int64_t begin = tile.begin[t] * stride, whole = tile.end[t] - tile.begin[t] - Rest;
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
    if constexpr (Rest != 0) {
      const V x = dots<V, Rest, N>(q, k + j * stride, stride, vectors);
      x.store(s + j);
      top = max(top, x);
      j += W;
    }
    for (; j < tile.width; j += W) V::set(kMaskedScore<T>).store(s + j);
  }
  return top;
}

template <class V, int N>
void band_scores(const BandTile<typename V::Scalar>& tile, V* maxima, Prefetcher<typename V::Scalar>& fetch) {
  constexpr int W = V::kLanes;
  struct Table {
    V (*by_rest[W])(const BandTile<typename V::Scalar>&, int64_t);
  };
  static constexpr Table kTable = []<int... Rest>(std::integer_sequence<int, Rest...>) {
    return Table{{query_scores<V, N, Rest>...}};
  }
  (std::make_integer_sequence<int, W>{});
  for (int64_t t = 0; t < tile.queries; ++t) {
    fetch.template share<V>();
    maxima[t] = kTable.by_rest[(tile.end[t] - tile.begin[t]) % W](tile, t);
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

// How the windows of adjacent queries lie to each other.
enum class Windows { equal, shifted_by_one, any };

// out rows t .. t+Q of columns [c, c + M*W): Q queries share each value vector, so Q*M sums live in registers. Begins
// and ends never decrease and begin[Q-1] <= end[0]: the positions fall into a rising edge that the first queries see,
// a body that all see, and a falling edge that the last ones see.
template <class V, int Q, int M, Windows Kind>
struct BandValues {
  using T = typename V::Scalar;
  static constexpr int W = V::kLanes;
  using Sums = V[Q][M];
  using Weights = const T* const (&)[Q];  // weights[i][p]: of query i, at position p

  // One position's values, added to queries First .. Last.
  template <int First, int Last>
  static inline __attribute__((always_inline)) void add(Sums& sum, Weights weights, const T* value, int64_t p) {
    V x[Q];
#pragma GCC unroll 12
    for (int i = First; i <= Last; ++i) x[i] = V::broadcast(weights[i] + p);
#pragma GCC unroll 12
    for (int c = 0; c < M; ++c) {
      const V v = V::load_once(value + c * W);
#pragma GCC unroll 12
      for (int i = First; i <= Last; ++i) sum[i][c] = fma(x[i], v, sum[i][c]);
    }
  }

  template <int I = 1>
  static inline __attribute__((always_inline)) void rising(Sums& sum, Weights weights, const T* values, int64_t stride,
                                                           const int32_t* begin) {
    if constexpr (I < Q && Kind != Windows::equal) {
      if constexpr (Kind == Windows::shifted_by_one) {
        add<0, I - 1>(sum, weights, values + (begin[0] + I - 1) * stride, begin[0] + I - 1);
      } else {
        for (int64_t p = begin[I - 1]; p < begin[I]; ++p) add<0, I - 1>(sum, weights, values + p * stride, p);
      }
      rising<I + 1>(sum, weights, values, stride, begin);
    }
  }
  template <int I = 1>
  static inline __attribute__((always_inline)) void falling(Sums& sum, Weights weights, const T* values, int64_t stride,
                                                            const int32_t* end) {
    if constexpr (I < Q && Kind != Windows::equal) {
      if constexpr (Kind == Windows::shifted_by_one) {
        add<I, Q - 1>(sum, weights, values + (end[0] + I - 1) * stride, end[0] + I - 1);
      } else {
        for (int64_t p = end[I - 1]; p < end[I]; ++p) add<I, Q - 1>(sum, weights, values + p * stride, p);
      }
      falling<I + 1>(sum, weights, values, stride, end);
    }
  }

  static void run(const BandTile<T>& tile, int64_t t, int64_t c, const T* inverse) {
    const int64_t row = tile.lines * tile.width, stride = tile.value_stride;
    const int32_t *begin = tile.begin + t, *end = tile.end + t;
    V sum[Q][M];
#pragma GCC unroll 12
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 12
      for (int j = 0; j < M; ++j) sum[i][j] = V::zero();
    for (int64_t line = 0; line < tile.lines; ++line) {
      const T* weights[Q];
#pragma GCC unroll 12
      for (int i = 0; i < Q; ++i) weights[i] = tile.scores + (t + i) * row + line * tile.width - begin[i];
      const T* values = tile.values[line] + c;
      rising(sum, weights, values, stride, begin);
      for (int64_t p = begin[Q - 1]; p < end[0]; ++p) add<0, Q - 1>(sum, weights, values + p * stride, p);
      falling(sum, weights, values, stride, end);
    }
#pragma GCC unroll 12
    for (int i = 0; i < Q; ++i) {
      const V scale = V::broadcast(inverse + t + i);
#pragma GCC unroll 12
      for (int j = 0; j < M; ++j) (sum[i][j] * scale).store(tile.out + (t + i) * stride + c + j * W);
    }
  }
};

template <class V, int Q, int M>
void band_columns(const BandTile<typename V::Scalar>& tile, int64_t t, int64_t c, const typename V::Scalar* inverse) {
  bool equal = true, shifted = true;
  for (int64_t i = t + 1; i < t + Q; ++i) {
    const int32_t begins = tile.begin[i] - tile.begin[i - 1], ends = tile.end[i] - tile.end[i - 1];
    equal &= begins == 0 && ends == 0;
    shifted &= begins == 1 && ends == 1;
  }
  if (equal) return BandValues<V, Q, M, Windows::equal>::run(tile, t, c, inverse);
  if (shifted) return BandValues<V, Q, M, Windows::shifted_by_one>::run(tile, t, c, inverse);
  BandValues<V, Q, M, Windows::any>::run(tile, t, c, inverse);
}

// How many queries from t on, at most `most`, have a position that all of them see.
template <class T>
int64_t sharing_queries(const BandTile<T>& tile, int64_t t, int64_t most) {
  int64_t q = 1;
  while (q < most && t + q < tile.queries && tile.begin[t + q] <= tile.end[t]) ++q;
  return q;
}

// M vectors of columns for all queries, `most` queries at a time where their windows allow it, else 3, 2 or 1.
template <class V, int M, int Most>
void band_block(const BandTile<typename V::Scalar>& tile, int64_t c, const typename V::Scalar* inverse) {
  for (int64_t t = 0; t < tile.queries;) {
    const int64_t q = sharing_queries(tile, t, Most);
    if (q == Most) {
      band_columns<V, Most, M>(tile, t, c, inverse);
      t += Most;
    } else if (q >= 3) {
      band_columns<V, 3, M>(tile, t, c, inverse);
      t += 3;
    } else if (q == 2) {
      band_columns<V, 2, M>(tile, t, c, inverse);
      t += 2;
    } else {
      band_columns<V, 1, M>(tile, t, c, inverse);
      t += 1;
    }
  }
}

template <class V>
void band_values(const BandTile<typename V::Scalar>& tile, const typename V::Scalar* inverse,
                 Prefetcher<typename V::Scalar>& fetch) {
  constexpr int64_t W = V::kLanes;
  int64_t c = 0;
  const auto share = [&] {
    for (int64_t t = 0; t < tile.queries; ++t) fetch.template share<V>();
  };
  for (; c + 4 * W <= tile.value_stride; c += 4 * W) {
    share();
    band_block<V, 4, 3>(tile, c, inverse);
  }
  share();
  for (; c + 2 * W <= tile.value_stride; c += 2 * W) band_block<V, 2, 6>(tile, c, inverse);
  for (; c < tile.value_stride; c += W) band_block<V, 1, 6>(tile, c, inverse);
}

template <class V, int N>
void band_tiles_of(const BandTile<typename V::Scalar>* tiles, int64_t count) {
  using T = typename V::Scalar;
  V maxima[kMostBandTiles][V::kLanes];
  T inverse[kMostBandTiles][V::kLanes];
  Prefetcher<T> fetch[kMostBandTiles];
  for (int64_t i = 0; i < count; ++i) {
    fetch[i] = {&tiles[i], (tiles[i].upcoming_count + 3 * tiles[i].queries - 1) / (3 * tiles[i].queries)};
    band_scores<V, N>(tiles[i], maxima[i], fetch[i]);
  }
  for (int64_t i = 0; i < count; ++i) band_weights<V>(tiles[i], maxima[i], inverse[i], fetch[i]);
  for (int64_t i = 0; i < count; ++i) band_values<V>(tiles[i], inverse[i], fetch[i]);
}

template <class V>
void band_tiles(const BandTile<typename V::Scalar>* tiles, int64_t count) {
  switch (tiles[0].key_stride / V::kLanes) {
    case 1: return band_tiles_of<V, 1>(tiles, count);
    case 2: return band_tiles_of<V, 2>(tiles, count);
    case 4: return band_tiles_of<V, 4>(tiles, count);
    case 8: return band_tiles_of<V, 8>(tiles, count);
    case 16: return band_tiles_of<V, 16>(tiles, count);
    default: return band_tiles_of<V, 0>(tiles, count);
  }
}

}  // namespace nearfield::core::kernel
