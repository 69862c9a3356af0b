// The band kernel's backward, in one pass over the pairs: for up to W adjacent queries with exact windows
//
//   S = q k (and what modifies it)      P = exp2(S - logsumexp)
//   dP = dout v                         D = sum of P dP - dlogsumexp
//   dS = P (dP - D)                     dbias, dlog_weights += dS
//   u = dS * softcap's slope            dquery = scale u k     dkeys += u q     dvalues += P dout
//
// Five products and no other pass: 2.5 times the forward's work. Oracle: reference.
#pragma once

#include <cstdint>

#include "engine/cpu/band.inl"
#include "engine/cpu/band_scatter.inl"

namespace nearfield::core::kernel {

template <class V>
inline void add_to(typename V::Scalar* target, const typename V::Scalar* terms, int64_t count) {
  int64_t j = 0;
  for (; j + V::kLanes <= count; j += V::kLanes) (V::load(target + j) + V::load(terms + j)).store(target + j);
  for (; j < count; ++j) target[j] += terms[j];
}

// One query on one line: scores become P; adds P dP to `term`.
template <class V>
inline __attribute__((always_inline)) void line_weights(const BandTile<typename V::Scalar>& tile,
                                                        const BandGroup<typename V::Scalar>& group, int64_t line,
                                                        int64_t t, int64_t at, V logsumexp, V& term) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const V limit = V::set(127), half = V::set(static_cast<T>(0.5));
  T *p = tile.scores + at, *dp = tile.dscores == nullptr ? nullptr : tile.dscores + at;
  const T* gates = group.weightless == nullptr ? nullptr : group.weightless[line] + group.begin[t];
  for (int64_t j = 0; j < group.width; j += W) {
    V x = V::load(p + j) - logsumexp;
    if (gates != nullptr) x = select_greater(x, limit, limit, x);  // a key of weight 0 has no part in the logsumexp
    V weight = simd::exp2(x);
    weight.store(p + j);
    if (gates != nullptr && j < group.end[t] - group.begin[t])
      weight = select_greater(V::load(gates + j), half, V::zero(), weight);
    if (dp != nullptr) term = fma(weight, V::load(dp + j), term);
  }
}

// One query on one line: dscores from dP become u; dbias and dlog_weights on the way.
template <class V>
inline void line_gradients(const BandTile<typename V::Scalar>& tile, const BandGroup<typename V::Scalar>& group,
                           int64_t line, int64_t t, int64_t at, V d) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  T *p = tile.scores + at, *ds = tile.dscores + at;
  for (int64_t j = 0; j < group.width; j += W) {
    const V weight = V::load(p + j);
    // A weight of 0 is a hidden key's or an underflow: nothing, even where dP or D is not finite. NaN stays.
    const V term = weight * (V::load(ds + j) - d);
    select_greater(weight, V::zero(), term, weight).store(ds + j);
  }
  const int64_t begin = group.begin[t], window = group.end[t] - begin;
  if (group.dlog_weights != nullptr) add_to<V>(group.dlog_weights[line] + begin, ds, window);
  if (group.weightless != nullptr)
    for (int64_t j = 0; j < window; j += W) {
      const V gate = V::load(group.weightless[line] + begin + j), half = V::set(static_cast<T>(0.5));
      select_greater(gate, half, V::zero(), V::load(p + j)).store(p + j);
      select_greater(gate, half, V::zero(), V::load(ds + j)).store(ds + j);
    }
  if (group.dbias != nullptr) add_to<V>(group.dbias[line] + begin + t * group.bias_step, ds, window);
  if (tile.slopes != nullptr)
    for (int64_t j = 0; j < window; j += W) (V::load(ds + j) * V::load(tile.slopes + at + j)).store(ds + j);
}

// D = sum of P dP - dlogsumexp: what dout . out would be without the rounding of out to 16 bits.
template <class V>
void score_gradients(const BandTile<typename V::Scalar>& tile) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  V terms[W];
  for (V& each : terms) each = V::zero();
  const auto each_line = [&](auto visit) {
    for (int64_t t = 0; t < tile.queries; ++t) {
      int64_t at = t * tile.row;
      for (int64_t g = 0; g < tile.group_count; ++g)
        for (int64_t line = 0; line < tile.groups[g].lines; ++line, at += tile.groups[g].width)
          visit(tile.groups[g], line, t, at);
    }
  };
  each_line([&](const BandGroup<T>& group, int64_t line, int64_t t, int64_t at) {
    line_weights<V>(tile, group, line, t, at, V::set(tile.logsumexp[t]), terms[t]);
  });
  if (tile.dscores == nullptr) return;
  V d = transpose_reduce(terms, [](V a, V b) { return a + b; });
  if (tile.dlogsumexp != nullptr) d = d - V::load(tile.dlogsumexp);
  T values[W];
  d.store(values);
  each_line([&](const BandGroup<T>& group, int64_t line, int64_t t, int64_t at) {
    line_gradients<V>(tile, group, line, t, at, V::set(values[t]));
  });
}

template <class V>
void score_values(const BandTile<typename V::Scalar>& tile, Prefetcher<V>& fetch) {
  using T = typename V::Scalar;
  V maxima[V::kLanes];
  for (V& each : maxima) each = V::zero();
  T* dscores = tile.dscores;
  if (tile.few > 0)
    return few_dots<V>({&tile, tile.dout, &BandGroup<T>::values, tile.value_stride, false, dscores}, maxima, fetch);
  for (int64_t g = 0; g < tile.group_count; ++g) {
    const BandGroup<T>& group = tile.groups[g];
    band_dots<V>({&tile, &group, tile.dout, group.values, tile.value_stride, dscores}, maxima, fetch);
    dscores += group.lines * group.width;
  }
}

template <class V>
void sum_gradients(const BandTile<typename V::Scalar>& tile) {
  using T = typename V::Scalar;
  T scale[V::kLanes];
  V::set(tile.scale).store(scale);
  if (tile.dquery != nullptr)
    sum_lines<V>(tile, tile.dscores, &BandGroup<T>::keys, tile.key_stride, tile.dquery, scale);
  int64_t first = 0;
  for (int64_t g = 0; g < tile.group_count; ++g) {
    const BandGroup<T>& group = tile.groups[g];
    const T *p = tile.scores + first, *u = tile.dscores + first;
    const bool is_short = tile.grid_groups > 1 && is_short_arc(group);
    if (group.dvalues != nullptr)
      band_scatter<V>({&group, tile.queries, p, tile.row, tile.dout, group.dvalues, tile.value_stride, is_short});
    if (group.dkeys != nullptr)
      band_scatter<V>({&group, tile.queries, u, tile.row, tile.query, group.dkeys, tile.key_stride, is_short});
    first += group.lines * group.width;
  }
}

template <class V>
void band_gradients(const BandTile<typename V::Scalar>* tiles, int64_t count) {
  V maxima[V::kLanes];
  Prefetcher<V> fetch[kMostBandTiles];
  for (int64_t i = 0; i < count; ++i) {
    fetch[i] = Prefetcher<V>(tiles[i], (tiles[i].dscores != nullptr ? 2 : 1) * tiles[i].queries);
    score_queries<V>(tiles[i], maxima, fetch[i]);
  }
  for (int64_t i = 0; i < count; ++i)
    if (tiles[i].dscores != nullptr) score_values<V>(tiles[i], fetch[i]);
  for (int64_t i = 0; i < count; ++i)
    tiles[i].few > 0 ? few_score_gradients<V>(tiles[i]) : score_gradients<V>(tiles[i]);
  for (int64_t i = 0; i < count; ++i) sum_gradients<V>(tiles[i]);
}

}  // namespace nearfield::core::kernel
