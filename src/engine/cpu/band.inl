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

// A row of N vectors stays in registers while a query meets its keys, if N is at most this.
inline constexpr int kMostHeldVectors = 4;

// Dots of one query with G adjacent keys: lane g of the result is q.k_g, lanes from G on are far below any logit.
// N: vectors per row, 0 for any; held: the query's, if they are held.
template <class V, int G, int N>
inline __attribute__((always_inline)) V dots(const typename V::Scalar* q, const V* held, const typename V::Scalar* k,
                                             int64_t stride, int64_t vectors) {
  constexpr int W = V::kLanes;
  if constexpr (N != 0) {
    vectors = N;
    stride = N * W;  // a constant stride folds into the addresses; at run time it costs 8%
  }
  k = V::opaque(k);
  V a[W];
  if constexpr (N != 0 && N <= 8) {  // key by key
#pragma GCC unroll 16
    for (int g = 0; g < W; ++g) {
      const auto query = [&](int64_t c) { return N <= kMostHeldVectors ? held[c] : V::load(q + c * W); };
      a[g] = g < G ? query(0) * V::load(k + g * stride) : V::set(kMaskedScore<typename V::Scalar>);
#pragma GCC unroll 16
      for (int64_t c = 1; g < G && c < N; ++c) a[g] = fma(query(c), V::load(k + g * stride + c * W), a[g]);
    }
  } else {  // vector by vector: the row would not fit
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

// Fetches an even share of the upcoming rows at each of about `shares` calls: a burst would stall the loads behind it.
template <class V>
class Prefetcher {
 public:
  Prefetcher() = default;
  Prefetcher(const BandTile<typename V::Scalar>& tile, int64_t shares)
      : piece_(tile.upcoming),
        end_(tile.upcoming + tile.upcoming_count),
        per_share_((tile.upcoming_rows + shares - 1) / shares) {
    if (piece_ != end_) start();
  }
  inline __attribute__((always_inline)) void share() {
    for (int64_t rows = per_share_; rows > 0 && piece_ != end_;) {
      const int64_t now = rows < left_ ? rows : left_;
      for (int64_t i = 0; i < now; ++i, row_ += piece_->stride)
        for (int64_t line = 0; line < piece_->cache_lines; ++line) V::prefetch(row_ + line * 64);
      rows -= now;
      left_ -= now;
      if (left_ == 0 && ++piece_ != end_) start();
    }
  }

 private:
  void start() {
    row_ = piece_->begin;
    left_ = piece_->count;
  }
  const Upcoming *piece_ = nullptr, *end_ = nullptr;
  int64_t per_share_ = 0, left_ = 0;
  const std::byte* row_ = nullptr;
};

// Scores of one query with all its key lines, whose windows leave Rest keys beside whole vectors; their maximum.
// IsNarrow: there are no whole vectors, so that a line is one score vector.
template <class V, int N, int Rest, bool IsNarrow>
inline __attribute__((always_inline)) V query_scores(const BandTile<typename V::Scalar>& tile, int64_t t) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const int64_t stride = N != 0 ? N * W : tile.key_stride, vectors = tile.key_stride / W;
  const int64_t lines = tile.lines, width = IsNarrow ? W : tile.width;
  const T *q = tile.query + t * stride, *const *keys = tile.keys;
  V held[kMostHeldVectors];
  if constexpr (N != 0 && N <= kMostHeldVectors)
    for (int c = 0; c < N; ++c) held[c] = V::load(q + c * W);
  const int64_t begin = tile.begin[t] * stride, whole = tile.end[t] - tile.begin[t] - Rest;
  T* s = tile.scores + t * lines * width;
  V top = V::set(kMaskedScore<T>);
  for (int64_t line = 0; line < lines; ++line, s += width) {
    const T* k = keys[line] + begin;
    int64_t j = 0;
    if constexpr (!IsNarrow)
      for (; j < whole; j += W) {
        const V x = dots<V, W, N>(q, held, k + j * stride, stride, vectors);
        x.store(s + j);
        top = max(top, x);
      }
    if constexpr (Rest != 0) {
      const V x = dots<V, Rest, N>(q, held, k + j * stride, stride, vectors);
      x.store(s + j);
      top = max(top, x);
      j += W;
    }
    if constexpr (!IsNarrow)
      for (; j < width; j += W) V::set(kMaskedScore<T>).store(s + j);
  }
  return top;
}

// Of queries t .. end, whose windows are equally long.
template <class V, int N, int Rest>
void queries_scores(const BandTile<typename V::Scalar>& tile, int64_t t, int64_t end, V* maxima, Prefetcher<V>& fetch) {
  if (Rest != 0 && tile.width == V::kLanes) {
    for (; t < end; ++t) {
      fetch.share();
      maxima[t] = query_scores<V, N, Rest, true>(tile, t);
    }
  } else {
    for (; t < end; ++t) {
      fetch.share();
      maxima[t] = query_scores<V, N, Rest, false>(tile, t);
    }
  }
}

template <class V, int N>
void band_scores(const BandTile<typename V::Scalar>& tile, V* maxima, Prefetcher<V>& fetch) {
  constexpr int W = V::kLanes;
  struct Table {
    void (*by_rest[W])(const BandTile<typename V::Scalar>&, int64_t, int64_t, V*, Prefetcher<V>&);
  };
  static constexpr Table kTable = []<int... Rest>(std::integer_sequence<int, Rest...>) {
    return Table{{queries_scores<V, N, Rest>...}};
  }
  (std::make_integer_sequence<int, W>{});
  for (int64_t t = 0, next = 0; t < tile.queries; t = next) {
    const int32_t window = tile.end[t] - tile.begin[t];
    while (next < tile.queries && tile.end[next] - tile.begin[next] == window) ++next;
    kTable.by_rest[window % W](tile, t, next, maxima, fetch);
  }
  for (int64_t t = tile.queries; t < W; ++t) maxima[t] = maxima[0];
}

// Scores become weights in place; inverse[t] = 1 / (their sum).
template <class V>
void band_weights(const BandTile<typename V::Scalar>& tile, const V (&maxima)[V::kLanes], typename V::Scalar* inverse,
                  Prefetcher<V>& fetch) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const V top = transpose_reduce(maxima, [](V a, V b) { return max(a, b); });
  T tops[W];
  top.store(tops);
  V sums[W];
  for (V& each : sums) each = V::set(1);
  const int64_t row = tile.lines * tile.width;
  for (int64_t t = 0; t < tile.queries; ++t) {
    fetch.share();
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
// a body that all see, and a falling edge that the last ones see. Body: its length, 0 for any; without a loop the sums
// keep their registers, which saves a third of the instructions where windows are small.
template <class V, int Q, int M, Windows Kind, int Body = 0>
struct BandValues {
  using T = typename V::Scalar;
  static constexpr int W = V::kLanes;

  V sum[Q][M];
  int64_t stride;    // of values
  int64_t apart[Q];  // from query 0's weight at a position to query i's at the same
  const T* weight;   // of query 0, at the position that comes next
  const T* value;    // at this position

  // The next values, weighted with the weights `ahead` of the next, added to queries First .. Last.
  template <int First, int Last>
  inline __attribute__((always_inline)) void add(int64_t ahead) {
    V x[Q];
    value = V::opaque(value);
#pragma GCC unroll 12
    for (int i = First; i <= Last; ++i) x[i] = V::broadcast(weight + apart[i] + ahead);
#pragma GCC unroll 12
    for (int c = 0; c < M; ++c) {
      const V v = V::load_once(value + c * W);
#pragma GCC unroll 12
      for (int i = First; i <= Last; ++i) V::accumulate(sum[i][c], x[i], v);
    }
    value += stride;
  }
  template <int First, int Last>
  inline __attribute__((always_inline)) void advance(int64_t positions) {
    for (; positions > 0; --positions, ++weight) add<First, Last>(0);
  }
  inline __attribute__((always_inline)) void body(int64_t positions) {
    if constexpr (Body != 0) {
#pragma GCC unroll 8
      for (int ahead = 0; ahead < Body; ++ahead) add<0, Q - 1>(ahead);
      weight += Body;
      return;
    }
    for (; positions >= 4; positions -= 4, weight = V::opaque(weight + 4))
#pragma GCC unroll 4
      for (int ahead = 0; ahead < 4; ++ahead) add<0, Q - 1>(ahead);
    advance<0, Q - 1>(positions);
  }
  template <int I = 1>
  inline __attribute__((always_inline)) void rising(const int32_t* begin) {
    if constexpr (I < Q && Kind != Windows::equal) {
      advance<0, I - 1>(Kind == Windows::shifted_by_one ? 1 : begin[I] - begin[I - 1]);
      rising<I + 1>(begin);
    }
  }
  template <int I = 1>
  inline __attribute__((always_inline)) void falling(const int32_t* end) {
    if constexpr (I < Q && Kind != Windows::equal) {
      advance<I, Q - 1>(Kind == Windows::shifted_by_one ? 1 : end[I] - end[I - 1]);
      falling<I + 1>(end);
    }
  }

  static void run(const BandTile<T>& tile, int64_t t, int64_t c, const T* inverse) {
    const int64_t row = tile.lines * tile.width;
    const int32_t *begin = tile.begin + t, *end = tile.end + t;
    BandValues self;
    self.stride = tile.value_stride;
#pragma GCC unroll 12
    for (int i = 0; i < Q; ++i) {
      self.apart[i] = i * row - (begin[i] - begin[0]);
#pragma GCC unroll 12
      for (int j = 0; j < M; ++j) self.sum[i][j] = V::zero();
    }
    const T* weights = tile.scores + t * row;
    const int64_t first = begin[0] * self.stride + c, shared = end[0] - begin[Q - 1];
    for (int64_t line = 0; line < tile.lines; ++line, weights += tile.width) {
      self.weight = weights;
      self.value = tile.values[line] + first;
      self.rising(begin);
      self.body(shared);
      self.falling(end);
    }
#pragma GCC unroll 12
    for (int i = 0; i < Q; ++i) {
      const V scale = V::broadcast(inverse + t + i);
#pragma GCC unroll 12
      for (int j = 0; j < M; ++j) (self.sum[i][j] * scale).store(tile.out + (t + i) * self.stride + c + j * W);
    }
  }
};

inline constexpr int kMostUnrolledBody = 6;

// Windows that move on by one from query to query, with a body of 1 .. kMostUnrolledBody positions.
template <class V, int Q, int M, int... I>
void short_body(std::integer_sequence<int, I...>, int32_t body, const BandTile<typename V::Scalar>& tile, int64_t t,
                int64_t c, const typename V::Scalar* inverse) {
  using Run = void (*)(const BandTile<typename V::Scalar>&, int64_t, int64_t, const typename V::Scalar*);
  static constexpr Run kRuns[] = {BandValues<V, Q, M, Windows::shifted_by_one, I + 1>::run...};
  kRuns[body - 1](tile, t, c, inverse);
}

template <class V, int Q, int M>
void band_columns(const BandTile<typename V::Scalar>& tile, int64_t t, int64_t c, const typename V::Scalar* inverse) {
  bool equal = true, shifted = true;
  for (int64_t i = t + 1; i < t + Q; ++i) {
    const int32_t begins = tile.begin[i] - tile.begin[i - 1], ends = tile.end[i] - tile.end[i - 1];
    equal &= begins == 0 && ends == 0;
    shifted &= begins == 1 && ends == 1;
  }
  if (equal) return BandValues<V, Q, M, Windows::equal>::run(tile, t, c, inverse);
  if (shifted) {
    const int32_t body = tile.end[t] - tile.begin[t + Q - 1];
    if (body > kMostUnrolledBody) return BandValues<V, Q, M, Windows::shifted_by_one>::run(tile, t, c, inverse);
    return short_body<V, Q, M>(std::make_integer_sequence<int, kMostUnrolledBody>{}, body, tile, t, c, inverse);
  }
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
void band_values(const BandTile<typename V::Scalar>& tile, const typename V::Scalar* inverse, Prefetcher<V>& fetch) {
  constexpr int64_t W = V::kLanes;
  int64_t c = 0;
  const auto share = [&] {
    for (int64_t t = 0; t < tile.queries; ++t) fetch.share();
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
  Prefetcher<V> fetch[kMostBandTiles];
  for (int64_t i = 0; i < count; ++i) {
    fetch[i] = Prefetcher<V>(tiles[i], 3 * tiles[i].queries);
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
