// Softmax of the band kernel: what modifies the scores, then exponentials and their sums.
#pragma once

#include <cstdint>

#include "engine/cpu/band_scores.inl"
#include "engine/cpu/kernels.h"
#include "engine/cpu/simd/math.h"

namespace nearfield::core::kernel {

template <class T>
bool is_modified(const BandTile<T>& tile) {
  bool modified = tile.softcap != 0;
  for (int64_t g = 0; g < tile.group_count; ++g)
    modified |= tile.groups[g].log_weights != nullptr || tile.groups[g].bias != nullptr;
  return modified;
}

// softcap, then bias, then log-weights of lines and of keys; maxima of what results. Keeps the softcap's slopes where
// the tile has room.
template <class V>
void modify_scores(const BandTile<typename V::Scalar>& tile, V* maxima) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const V hidden = V::set(kMaskedScore<T>), nothing = V::set(kNothingSeen<T>), cap = V::set(tile.softcap);
  const V per_cap = V::set(tile.softcap != 0 ? 1 / tile.softcap : T{0});
  for (int64_t t = 0; t < tile.queries; ++t) {
    V top = hidden;
    int64_t at = t * tile.row;
    for (int64_t g = 0; g < tile.group_count; ++g) {
      const BandGroup<T>& group = tile.groups[g];
      const int64_t begin = group.begin[t], window = group.end[t] - begin;
      for (int64_t line = 0; line < group.lines; ++line, at += group.width) {
        for (int64_t j = 0; j < window; j += W) {
          V x = V::load(tile.scores + at + j);
          if (tile.softcap != 0) {
            const V tangent = simd::tanh(x * per_cap);
            x = cap * tangent;
            if (tile.slopes != nullptr) (V::set(1) - tangent * tangent).store(tile.slopes + at + j);
          }
          if (group.bias != nullptr) x = x + V::load(group.bias[line] + begin + j + t * group.bias_step);
          if (group.line_weights != nullptr) x = x + V::broadcast(group.line_weights + line);
          if (group.log_weights != nullptr) {
            const V weight = V::load(group.log_weights[line] + begin + j);
            x = select_greater(nothing, weight, hidden, x + weight);  // hidden even from a query that is NaN
          }
          if (window - j < W) x = select_bits((uint32_t{1} << (window - j)) - 1, x, hidden);
          x.store(tile.scores + at + j);
          top = max(top, x);
        }
      }
    }
    maxima[t] = top;
  }
}

// Scores become weights in place; inverse[t] = 1 / (their sum), 0 where query t sees nothing.
template <class V>
void band_weights(const BandTile<typename V::Scalar>& tile, const V (&maxima)[V::kLanes], typename V::Scalar* inverse) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const V top = max(V::set(kNothingSeen<T>), transpose_reduce(maxima, [](V a, V b) { return max(a, b); }));
  T tops[W];
  top.store(tops);
  V sums[W];
  for (V& each : sums) each = V::set(1);
  const int64_t row = tile.row;
  for (int64_t t = 0; t < tile.queries; ++t) {
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
  const V nothing = V::set(static_cast<T>(1e-30));  // a sum is at least 1, or 0; NaN must stay
  select_greater(nothing, sum, V::zero(), V::set(1) / sum).store(inverse);
  if (tile.logsumexp != nullptr) {
    const V lse = fma(top, V::set(static_cast<T>(0.69314718055994530942)), simd::log(sum));
    select_greater(nothing, sum, V::set(-__builtin_huge_valf()), lse).store(tile.logsumexp);
  }
}

}  // namespace nearfield::core::kernel
