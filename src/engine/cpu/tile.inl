// The tile kernel: softmax(q k) v for a tile of 2W queries against a list of keys. Sᵀ orientation: queries across the
// lanes, so maxima and sums need no horizontal operation and masks are one bit per lane.
//
//   scores       S = K Qᵀ, 6 keys x 2 vectors of queries in registers; K is read as rows, broadcast, never packed
//   rescale      online softmax with a lazy maximum: only when a row exceeds it by 2^8, and per lane, so that what one
//                query sees never changes another's bits
//   accumulate   Oᵀ += Vᵀ P, 6 channels x 2 vectors in registers
// (Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022.)
// Oracle: reference.
#pragma once

#include <cstdint>

#include "engine/cpu/kernels.h"
#include "engine/cpu/prefetch.inl"
#include "engine/cpu/simd/math.h"

namespace nearfield::core::kernel {

template <class V>
struct Pair {
  V low, high;
  static inline __attribute__((always_inline)) Pair load(const typename V::Scalar* p) {
    return {V::load_once(p), V::load_once(p + V::kLanes)};
  }
  inline __attribute__((always_inline)) void store(typename V::Scalar* p) const {
    low.store(p);
    high.store(p + V::kLanes);
  }
};

// scores[r] = keys[r] . query, for R keys; what a query doesn't see becomes kMaskedScore.
template <class V, int R>
inline __attribute__((always_inline)) void score_rows(const TileStep<typename V::Scalar>& step, int64_t first,
                                                      Pair<V>& top) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes, Q = 2 * W;
  const T* k[R];
  Pair<V> s[R];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    k[r] = step.keys[first + r];
    s[r] = {V::zero(), V::zero()};
  }
#pragma GCC unroll 2
  for (int64_t d = 0; d < step.head_dim; ++d) {
    const Pair<V> q = Pair<V>::load(step.query + d * Q);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const V x = V::broadcast(k[r] + d);
      s[r] = {fma(x, q.low, s[r].low), fma(x, q.high, s[r].high)};
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    if (step.visible != nullptr) {
      const uint32_t bits = step.visible[first + r];
      const V hidden = V::set(kMaskedScore<T>);
      s[r] = {select_bits(bits, s[r].low, hidden), select_bits(bits >> W, s[r].high, hidden)};
    }
    top = {max(top.low, s[r].low), max(top.high, s[r].high)};
    s[r].store(step.scores + (first + r) * Q);
  }
}

template <class V>
inline Pair<V> scores(const TileStep<typename V::Scalar>& step) {
  const V hidden = V::set(kMaskedScore<typename V::Scalar>);
  Pair<V> top{hidden, hidden};
  int64_t j = 0;
  for (; j + 6 <= step.count; j += 6) {
    if (step.upcoming_count > 0) fetch_part<V>(step.upcoming, step.upcoming_count, j / 6, step.count / 6);
    score_rows<V, 6>(step, j, top);
  }
  switch (step.count - j) {
    case 5: score_rows<V, 5>(step, j, top); break;
    case 4: score_rows<V, 4>(step, j, top); break;
    case 3: score_rows<V, 3>(step, j, top); break;
    case 2: score_rows<V, 2>(step, j, top); break;
    case 1: score_rows<V, 1>(step, j, top); break;
    default: break;
  }
  return top;
}

// softcap, then bias, then log-weights; the largest score of each lane.
template <class V>
Pair<V> modify_scores(const TileStep<typename V::Scalar>& step) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes, Q = 2 * W;
  const V hidden = V::set(kMaskedScore<T>), nothing = V::set(kNothingSeen<T>), cap = V::set(step.softcap);
  const V per_cap = V::set(step.softcap != 0 ? 1 / step.softcap : T{0});
  V top[2] = {hidden, hidden};
  for (int64_t j = 0; j < step.count; ++j)
    for (int half = 0; half < 2; ++half) {
      const int64_t at = j * Q + half * W;
      V x = V::load(step.scores + at);
      if (step.softcap != 0) {
        const V tangent = simd::tanh(x * per_cap);
        x = cap * tangent;
        if (step.slopes != nullptr) (V::set(1) - tangent * tangent).store(step.slopes + at);
      }
      if (step.bias != nullptr) x = x + V::load(step.bias + at);
      if (step.log_weights != nullptr) {
        const V weight = V::broadcast(step.log_weights + j);
        x = select_greater(nothing, weight, hidden, x + weight);  // hidden even from a query that is NaN
      }
      if (step.visible != nullptr) x = select_bits(step.visible[j] >> (half * W), x, hidden);
      x.store(step.scores + at);
      top[half] = max(top[half], x);
    }
  return {top[0], top[1]};
}

template <class V>
inline Pair<V> final_scores(const TileStep<typename V::Scalar>& step) {
  const Pair<V> top = scores<V>(step);
  const bool modified = step.softcap != 0 || step.bias != nullptr || step.log_weights != nullptr;
  return modified ? modify_scores<V>(step) : top;
}

// Raises the maximum of those lanes that exceed it by 8 (log2), and scales what they have summed so far.
template <class V>
inline Pair<V> rescale(const TileStep<typename V::Scalar>& step, Pair<V> top) {
  constexpr int Q = 2 * V::kLanes;
  const Pair<V> old = Pair<V>::load(step.maximum);
  const V slack = V::set(8);
  const Pair<V> limit{old.low + slack, old.high + slack};
  if (!any_greater(top.low, limit.low) && !any_greater(top.high, limit.high)) return old;
  const Pair<V> m{select_greater(top.low, limit.low, top.low, old.low),
                  select_greater(top.high, limit.high, top.high, old.high)};
  const Pair<V> factor{simd::exp2(old.low - m.low), simd::exp2(old.high - m.high)};  // 1 exactly where nothing changed
  m.store(step.maximum);
  const auto scale = [&](typename V::Scalar* p) {
    const Pair<V> x = Pair<V>::load(p);
    Pair<V>{x.low * factor.low, x.high * factor.high}.store(p);
  };
  scale(step.sum);
  for (int64_t d = 0; d < step.head_dim_v; ++d) scale(step.accumulator + d * Q);
  return m;
}

template <class V>
inline void weights(const TileStep<typename V::Scalar>& step, Pair<V> m) {
  constexpr int Q = 2 * V::kLanes;
  Pair<V> sum = Pair<V>::load(step.sum);
  // What hides everything is not its own maximum.
  const V nothing = V::set(kNothingSeen<typename V::Scalar>);
  m = {max(nothing, m.low), max(nothing, m.high)};
#pragma GCC unroll 2
  for (int64_t j = 0; j < step.count; ++j) {
    const Pair<V> s = Pair<V>::load(step.scores + j * Q);
    const Pair<V> p{simd::exp2(s.low - m.low), simd::exp2(s.high - m.high)};
    p.store(step.scores + j * Q);
    sum = {sum.low + p.low, sum.high + p.high};
  }
  sum.store(step.sum);
}

// accumulator[d .. d+R) += sum over keys of values[key][d .. d+R) * weight[key].
template <class V, int R>
inline __attribute__((always_inline)) void accumulate_channels(const TileStep<typename V::Scalar>& step, int64_t d) {
  using T = typename V::Scalar;
  constexpr int Q = 2 * V::kLanes;
  T* out = step.accumulator + d * Q;
  Pair<V> o[R];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) o[r] = Pair<V>::load(out + r * Q);
  for (int64_t j = 0; j < step.count; ++j) {
    const Pair<V> p = Pair<V>::load(step.scores + j * Q);
    const T* v = step.values[j] + d;
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const V x = V::broadcast(v + r);
      o[r] = {fma(x, p.low, o[r].low), fma(x, p.high, o[r].high)};
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) o[r].store(out + r * Q);
}

template <class V>
inline void accumulate(const TileStep<typename V::Scalar>& step) {
  const int64_t n = step.head_dim_v;
  int64_t d = 0;
  // Twelve accumulators hide the multiply-adds' latency, eight just so: 8 left over are better as 4 + 4 than as 6 + 2.
  while (n - d >= 6 && n - d != 8) {
    accumulate_channels<V, 6>(step, d);
    d += 6;
  }
  for (; n - d >= 4; d += 4) accumulate_channels<V, 4>(step, d);
  switch (n - d) {
    case 3: accumulate_channels<V, 3>(step, d); break;
    case 2: accumulate_channels<V, 2>(step, d); break;
    case 1: accumulate_channels<V, 1>(step, d); break;
    default: break;
  }
}

template <class V>
void tile_step(const TileStep<typename V::Scalar>& step) {
  const Pair<V> top = final_scores<V>(step);
  weights<V>(step, rescale<V>(step, top));
  accumulate<V>(step);
}

// out = accumulator / sum (0 where nothing was seen), back to rows.
template <class V>
bool tile_finish(const TileFinish<typename V::Scalar>& finish) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes, Q = 2 * W;
  for (int half = 0; half < 2; ++half) {
    const V sum = V::load(finish.sum + half * W), m = V::load(finish.maximum + half * W);
    // A sum of 0 is "no key"; NaN must stay.
    const V nothing = V::set(static_cast<T>(1e-30));
    const V inverse = select_greater(nothing, sum, V::zero(), V::set(1) / sum);
    if (finish.logsumexp != nullptr) {
      const V lse = fma(m, V::set(static_cast<T>(0.69314718055994530942)), simd::log(sum));
      select_greater(nothing, sum, V::set(-__builtin_huge_valf()), lse).store(finish.logsumexp + half * W);
    }
    for (int64_t d = 0; d < finish.head_dim_v; d += W) {
      T block[W * W];
      for (int64_t c = 0; c < W; ++c) {
        const bool real = d + c < finish.head_dim_v;
        const V x = real ? V::load(finish.accumulator + (d + c) * Q + half * W) * inverse : V::zero();
        x.store(block + c * W);
      }
      V::transpose(block, W, finish.out + half * W * finish.out_stride + d, finish.out_stride);
    }
  }
  V bad = V::zero();  // x * 0 is NaN for NaN and infinity
  for (int64_t t = 0; t < finish.queries; ++t)
    for (int64_t d = 0; d < finish.out_stride; d += W)
      bad = fma(V::load(finish.out + t * finish.out_stride + d), V::zero(), bad);
  T lanes[W];
  bad.store(lanes);
  bool finite = true;
  for (T lane : lanes) finite &= lane == 0;
  return finite;
}

}  // namespace nearfield::core::kernel
