// The band kernel where a query sees so few keys that its scores are one vector, on arcs of the sphere that move on by
// one position from query to query: one transposing reduction for all of a query's keys instead of one for each line,
// and no padding. Lines follow one another in the vector.
#pragma once

#include <cstdint>
#include <utility>

#include "engine/cpu/band_scores.inl"
#include "engine/cpu/kernels.h"
#include "engine/cpu/simd/math.h"

namespace nearfield::core::kernel {

// rows[t] . its keys (or values), for each query t of the tile, into scores [queries][W]. rows: [queries][stride].
template <class T>
struct FewDots {
  const BandTile<T>* tile = nullptr;
  const T* rows = nullptr;
  const T* const* BandGroup<T>::*lines = nullptr;
  int64_t stride = 0;
  bool adds_line_weights = false;
  T* scores = nullptr;
};

template <class V, int N, int G>
void few_dots_of(const FewDots<typename V::Scalar>& job, V* maxima, Prefetcher<V>& fetch) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const BandTile<T>& tile = *job.tile;
  const int64_t stride = N != 0 ? N * W : job.stride, vectors = stride / W;
  const T* keys[W] = {};  // of query 0
  T terms[W] = {};
  int64_t count = 0;
  for (int64_t g = 0; g < tile.grid_groups; ++g) {
    const BandGroup<T>& group = tile.groups[g];
    for (int64_t line = 0; line < group.lines; ++line)
      for (int64_t p = group.begin[0]; p < group.end[0]; ++p, ++count) {
        keys[count] = (group.*job.lines)[line] + p * stride;
        if (job.adds_line_weights && group.line_weights != nullptr) terms[count] = group.line_weights[line];
      }
  }
  const V weights = V::load(terms);
  for (int64_t t = 0; t < tile.queries; ++t) {
    fetch.share();
    const T* q = job.rows + t * stride;
    V a[W];
#pragma GCC unroll 16
    for (int g = 0; g < W; ++g) a[g] = V::set(g < G ? T{0} : kMaskedScore<T>);
    if constexpr (is_held(N, G)) {
      V held[N];
#pragma GCC unroll 8
      for (int c = 0; c < N; ++c) held[c] = V::load(q + c * W);
#pragma GCC unroll 16
      for (int g = 0; g < G; ++g) {
        const T* k = V::opaque(keys[g]) + t * stride;
        a[g] = held[0] * V::load(k);
#pragma GCC unroll 8
        for (int c = 1; c < N; ++c) a[g] = fma(held[c], V::load(k + c * W), a[g]);
      }
    } else {
      for (int64_t c = 0; c < vectors; ++c) {
        const V x = V::load(q + c * W);
#pragma GCC unroll 16
        for (int g = 0; g < G; ++g) a[g] = fma(x, V::load(keys[g] + t * stride + c * W), a[g]);
      }
    }
    const V x = transpose_reduce(a, [](V m, V n) { return m + n; }) + weights;
    x.store(job.scores + t * W);
    maxima[t] = x;
  }
}

template <class V, int N>
void few_dots_by_count(const FewDots<typename V::Scalar>& job, V* maxima, Prefetcher<V>& fetch) {
  struct Table {
    void (*by_count[V::kLanes])(const FewDots<typename V::Scalar>&, V*, Prefetcher<V>&);
  };
  static constexpr Table kTable = []<int... G>(std::integer_sequence<int, G...>) {
    return Table{{few_dots_of<V, N, G + 1>...}};
  }
  (std::make_integer_sequence<int, V::kLanes>{});
  kTable.by_count[job.tile->few - 1](job, maxima, fetch);
}

template <class V>
void few_dots(const FewDots<typename V::Scalar>& job, V* maxima, Prefetcher<V>& fetch) {
  switch (job.stride / V::kLanes) {
    case 4: return few_dots_by_count<V, 4>(job, maxima, fetch);
    case 8: return few_dots_by_count<V, 8>(job, maxima, fetch);
    default: return few_dots_by_count<V, 0>(job, maxima, fetch);
  }
}

// Backward: scores become P, dscores dS. As score_gradients, where nothing modifies scores.
template <class V>
void few_score_gradients(const BandTile<typename V::Scalar>& tile) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  V terms[W];
  for (V& each : terms) each = V::zero();
  for (int64_t t = 0; t < tile.queries; ++t) {
    const V weight = simd::exp2(V::load(tile.scores + t * W) - V::broadcast(tile.logsumexp + t));
    weight.store(tile.scores + t * W);
    if (tile.dscores != nullptr) terms[t] = weight * V::load(tile.dscores + t * W);
  }
  if (tile.dscores == nullptr) return;
  V d = transpose_reduce(terms, [](V a, V b) { return a + b; });
  if (tile.dlogsumexp != nullptr) d = d - V::load(tile.dlogsumexp);
  T values[W];
  d.store(values);
  for (int64_t t = 0; t < tile.queries; ++t) {
    const V weight = V::load(tile.scores + t * W);
    const V term = weight * (V::load(tile.dscores + t * W) - V::broadcast(values + t));
    select_greater(weight, V::zero(), term, weight).store(tile.dscores + t * W);  // as in line_gradients
  }
}

}  // namespace nearfield::core::kernel
