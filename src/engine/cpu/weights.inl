// Explicit weights: the tile kernel's products one by one, and softmax over rows in memory. V is a vector of the
// vocabulary (simd/). Oracle: reference.
#pragma once

#include <cstdint>
#include <cstring>

#include "engine/cpu/tile.inl"

namespace nearfield::core::kernel {

template <class V>
void tile_scores(const TileStep<typename V::Scalar>& step) {
  scores<V>(step);
}

template <class V>
void tile_accumulate(const TileStep<typename V::Scalar>& step) {
  accumulate<V>(step);
}

template <class V>
void transpose_back(const typename V::Scalar* columns_first, int64_t columns, typename V::Scalar* rows,
                    int64_t stride) {
  constexpr int64_t W = V::kLanes, Q = 2 * W;
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t c = 0; c < columns; c += W)
      V::transpose(columns_first + c * Q + half * W, Q, rows + half * W * stride + c, stride);
}

// A row's vectors become visit(vector, place); its end comes with `filler` behind it.
template <class V, class Visit>
inline __attribute__((always_inline)) void for_each_vector(typename V::Scalar* row, int64_t count,
                                                           typename V::Scalar filler, Visit visit) {
  using T = typename V::Scalar;
  constexpr int64_t W = V::kLanes;
  int64_t i = 0;
  for (; i + W <= count; i += W) visit(V::load(row + i), i).store(row + i);
  if (i == count) return;
  T last[W];
  for (int64_t l = 0; l < W; ++l) last[l] = i + l < count ? row[i + l] : filler;
  visit(V::load(last), i).store(last);
  for (int64_t l = 0; i + l < count; ++l) row[i + l] = last[l];
}

// Halves on halves.
template <class V>
inline typename V::Scalar sum_of(V x) {
  typename V::Scalar lanes[V::kLanes];
  x.store(lanes);
  for (int half = V::kLanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  return lanes[0];
}

template <class V>
typename V::Scalar softmax_row(typename V::Scalar* row, int64_t count) {
  using T = typename V::Scalar;
  const T infinity = static_cast<T>(__builtin_huge_val());
  V top = V::set(-infinity);
  for_each_vector<V>(row, count, -infinity, [&](V x, int64_t) {
    top = max(x, top);
    return x;
  });
  T lanes[V::kLanes];
  top.store(lanes);
  for (int half = V::kLanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) lanes[l] = lanes[l] > lanes[l + half] ? lanes[l] : lanes[l + half];
  const T maximum = lanes[0];
  // A row of hidden slots has no maximum; NaN in a row makes all of it NaN below.
  const V least = V::set(kMaskedScore<T>), log2e = V::set(static_cast<T>(1.44269504088896340736));
  const V shift = V::set(maximum == -infinity ? T{0} : maximum);
  V sum = V::zero();
  for_each_vector<V>(row, count, -infinity, [&](V x, int64_t) {
    const V p = simd::exp2(max(least, (x - shift) * log2e));
    sum = sum + p;
    return p;
  });
  const T total = sum_of(sum);
  const V inverse = V::set(total == 0 ? T{0} : 1 / total);
  for_each_vector<V>(row, count, T{0}, [&](V x, int64_t) { return x * inverse; });
  if (total == 0) return -infinity;
  const V log = simd::log(V::set(total));
  log.store(lanes);
  return maximum + lanes[0];
}

template <class V>
void softmax_gradient_row(const typename V::Scalar* p, typename V::Scalar* d, int64_t count,
                          typename V::Scalar dlogsumexp) {
  using T = typename V::Scalar;
  constexpr int64_t W = V::kLanes;
  const auto weight = [&](int64_t i) {
    if (i + W <= count) return V::load(p + i);
    T last[W];
    for (int64_t l = 0; l < W; ++l) last[l] = i + l < count ? p[i + l] : T{0};
    return V::load(last);
  };
  V sum = V::zero();
  for_each_vector<V>(d, count, T{0}, [&](V x, int64_t i) {
    sum = fma(weight(i), x, sum);
    return x;
  });
  const V mean = V::set(sum_of(sum) - dlogsumexp);
  for_each_vector<V>(d, count, T{0}, [&](V x, int64_t i) { return weight(i) * (x - mean); });
}

}  // namespace nearfield::core::kernel
