// Scores of the band kernel: dots of rows with the lines that they see, lanes = channels, and what modifies them.
#pragma once

#include <cstdint>
#include <utility>

#include "engine/cpu/kernels.h"
#include "engine/cpu/prefetch.inl"

namespace nearfield::core::kernel {

// Whether a row of N vectors stays in registers while a query meets G keys at a time: 16 hold it and their sums.
constexpr bool is_held(int n, int g) { return n != 0 && (n <= 4 || n + g <= 11); }

// Dots of one query with G adjacent keys: lane g of the result is q.k_g, lanes from G on are far below any logit.
// N: vectors per row, 0 for any; held: the query's, if they are held.
template <class V, int G, int N, bool Holds>
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
      const auto query = [&](int64_t c) { return Holds ? held[c] : V::load(q + c * W); };
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

// One product of a tile with one of its groups.
template <class T>
struct Dots {
  const BandTile<T>* tile = nullptr;
  const BandGroup<T>* group = nullptr;
  const T* rows = nullptr;          // [queries][stride]
  const T* const* lines = nullptr;  // [group->lines]: [positions][stride]
  int64_t stride = 0;
  T* scores = nullptr;              // [queries][tile->row], from the group's first line on
  const T* line_weights = nullptr;  // [group->lines]: added to the dots; nullptr: none
};

// Of one row with all lines; the row's windows leave Rest keys beside whole vectors. Returns the largest scores.
// IsNarrow: there are no whole vectors, so that a line is one score vector.
template <class V, int N, int Rest, bool IsNarrow>
inline __attribute__((always_inline)) V row_dots(const Dots<typename V::Scalar>& job, int64_t t) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const BandGroup<T>& group = *job.group;
  const int64_t stride = N != 0 ? N * W : job.stride, vectors = job.stride / W;
  const int64_t count = group.lines, width = IsNarrow ? W : group.width;
  const T *q = job.rows + t * stride, *const *lines = job.lines;
  constexpr bool kHolds = is_held(N, IsNarrow ? Rest : W);
  V held[kHolds ? N : 1];
  if constexpr (kHolds)
#pragma GCC unroll 8
    for (int c = 0; c < N; ++c) held[c] = V::load(q + c * W);
  const int64_t begin = group.begin[t] * stride, whole = group.end[t] - group.begin[t] - Rest;
  T* s = job.scores + t * job.tile->row;
  V top = V::set(kMaskedScore<T>);
  for (int64_t line = 0; line < count; ++line, s += width) {
    const T* k = lines[line] + begin;
    int64_t j = 0;
    if constexpr (!IsNarrow)
      for (; j < whole; j += W) {
        V x = dots<V, W, N, kHolds>(q, held, k + j * stride, stride, vectors);
        if (job.line_weights != nullptr) x = x + V::broadcast(job.line_weights + line);
        x.store(s + j);
        top = max(top, x);
      }
    if constexpr (Rest != 0) {
      V x = dots<V, Rest, N, kHolds>(q, held, k + j * stride, stride, vectors);
      if (job.line_weights != nullptr) x = x + V::broadcast(job.line_weights + line);
      x.store(s + j);
      top = max(top, x);
      j += W;
    }
    if constexpr (!IsNarrow)
      for (; j < width; j += W) V::set(kMaskedScore<T>).store(s + j);
  }
  return top;
}

// Of rows t .. end, whose windows are equally long.
template <class V, int N, int Rest>
void rows_dots(const Dots<typename V::Scalar>& job, int64_t t, int64_t end, V* maxima, Prefetcher<V>& fetch) {
  if (Rest != 0 && job.group->width == V::kLanes) {
    for (; t < end; ++t) {
      fetch.share();
      maxima[t] = max(maxima[t], row_dots<V, N, Rest, true>(job, t));
    }
  } else {
    for (; t < end; ++t) {
      fetch.share();
      maxima[t] = max(maxima[t], row_dots<V, N, Rest, false>(job, t));
    }
  }
}

template <class V, int N>
void all_dots(const Dots<typename V::Scalar>& job, V* maxima, Prefetcher<V>& fetch) {
  constexpr int W = V::kLanes;
  struct Table {
    void (*by_rest[W])(const Dots<typename V::Scalar>&, int64_t, int64_t, V*, Prefetcher<V>&);
  };
  static constexpr Table kTable = []<int... Rest>(std::integer_sequence<int, Rest...>) {
    return Table{{rows_dots<V, N, Rest>...}};
  }
  (std::make_integer_sequence<int, W>{});
  const int32_t *begin = job.group->begin, *end = job.group->end;
  for (int64_t t = 0, next = 0; t < job.tile->queries; t = next) {
    const int32_t window = end[t] - begin[t];
    while (next < job.tile->queries && end[next] - begin[next] == window) ++next;
    kTable.by_rest[window % W](job, t, next, maxima, fetch);
  }
}

// Scores of every row of the tile with the lines that it sees; maxima [queries] are raised to the largest. Beside a
// window, up to the group's width, scores are kMaskedScore.
template <class V>
void band_dots(const Dots<typename V::Scalar>& job, V* maxima, Prefetcher<V>& fetch) {
  switch (job.stride / V::kLanes) {
    case 1: return all_dots<V, 1>(job, maxima, fetch);
    case 2: return all_dots<V, 2>(job, maxima, fetch);
    case 4: return all_dots<V, 4>(job, maxima, fetch);
    case 8: return all_dots<V, 8>(job, maxima, fetch);
    case 16: return all_dots<V, 16>(job, maxima, fetch);
    default: return all_dots<V, 0>(job, maxima, fetch);
  }
}

}  // namespace nearfield::core::kernel
