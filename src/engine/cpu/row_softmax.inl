// Softmax over rows in memory, and its gradient. V is a vector of the vocabulary (simd/). Oracle: reference.
//
// W rows go together, so that what is one number a row - maximum, sum, logarithm - is one vector. A row that is no
// whole number of vectors ends with one that overlaps the one before; a row shorter than a vector has its elements
// across vectors, a lane for each row.
#pragma once

#include <cstdint>

#include "engine/cpu/kernels.h"
#include "engine/cpu/simd/math.h"

namespace nearfield::core::kernel {

// Longer rows go one at a time, or they would leave the L1 cache between passes.
inline constexpr int64_t kRowsTogether = 512;

// vectors[r] of W rows reduced to one number each: lane r of the result.
template <class V, class Op>
inline V reduce_rows(const typename V::Scalar* vectors, Op op) {
  constexpr int64_t W = V::kLanes;
  typename V::Scalar across[W * W];
  V::transpose(vectors, W, across, W);
  V result = V::load(across);
  for (int64_t l = 1; l < W; ++l) result = op(result, V::load(across + l * W));
  return result;
}

// The lanes of a row's last vector that the vector before it does not hold.
template <class V>
struct RowEnd {
  int64_t whole = 0, last = 0;  // elements in whole vectors; where the last vector begins
  uint32_t fresh = 0;
  explicit RowEnd(int64_t columns) {
    constexpr int64_t W = V::kLanes;
    whole = columns / W * W;
    last = columns - W;
    const int64_t rest = columns - whole;
    fresh = ((uint32_t{1} << rest) - 1) << (W - rest);
  }
  bool exists() const { return fresh != 0; }
};

template <class V>
inline V largest(const typename V::Scalar* row, int64_t columns) {
  using T = typename V::Scalar;
  constexpr int64_t W = V::kLanes;
  V top[4];
  for (V& each : top) each = V::set(-static_cast<T>(__builtin_huge_val()));
  int64_t i = 0;
  for (; i + 4 * W <= columns; i += 4 * W)
#pragma GCC unroll 4
    for (int64_t m = 0; m < 4; ++m) top[m] = max(V::load(row + i + m * W), top[m]);
  for (; i + W <= columns; i += W) top[0] = max(V::load(row + i), top[0]);
  if (i < columns) top[1] = max(V::load(row + columns - W), top[1]);
  return max(max(top[0], top[1]), max(top[2], top[3]));
}

// Maxima to what is subtracted: a row of hidden slots has none.
template <class V>
inline V shift_of(V top) {
  const V nothing = V::set(-static_cast<typename V::Scalar>(__builtin_huge_val()));
  return select_greater(top, nothing, top, V::zero());
}
template <class V>
inline V power(V x, V shift) {
  using T = typename V::Scalar;
  // The smaller operand first: NaN stays.
  return simd::exp2(max(V::set(kMaskedScore<T>), (x - shift) * V::set(static_cast<T>(1.44269504088896340736))));
}
// Sums are at least 1, or 0 of nothing, or NaN.
template <class V>
inline V inverse_of(V sum) {
  return V::set(1) / max(V::set(static_cast<typename V::Scalar>(1e-30)), sum);
}
template <class V>
inline V logsumexp_of(V top, V sum) {
  return top + simd::log(max(V::set(1), sum));
}

// `count` <= W rows of less than a vector.
template <class V>
void softmax_of_short(typename V::Scalar* const* rows, int64_t count, int64_t columns, typename V::Scalar* logsumexp) {
  using T = typename V::Scalar;
  constexpr int64_t W = V::kLanes;
  T across[W * W] = {}, found[W];
  for (int64_t r = 0; r < count; ++r)
    for (int64_t i = 0; i < columns; ++i) across[i * W + r] = rows[r][i];
  V top = V::set(-static_cast<T>(__builtin_huge_val())), sum = V::zero();
  for (int64_t i = 0; i < columns; ++i) top = max(V::load(across + i * W), top);
  const V shift = shift_of(top);
  for (int64_t i = 0; i < columns; ++i) {
    const V p = power(V::load(across + i * W), shift);
    p.store(across + i * W);
    sum = sum + p;
  }
  const V inverse = inverse_of(sum);
  for (int64_t i = 0; i < columns; ++i) (V::load(across + i * W) * inverse).store(across + i * W);
  for (int64_t r = 0; r < count; ++r)
    for (int64_t i = 0; i < columns; ++i) rows[r][i] = across[i * W + r];
  logsumexp_of(top, sum).store(found);
  for (int64_t r = 0; r < count; ++r) logsumexp[r] = found[r];
}

// `count` <= W rows of at least a vector.
template <class V>
void softmax_of_long(typename V::Scalar* const* rows, int64_t count, int64_t columns, typename V::Scalar* logsumexp) {
  using T = typename V::Scalar;
  constexpr int64_t W = V::kLanes;
  const RowEnd<V> end(columns);
  T vectors[W * W] = {}, shifts[W], inverses[W], found[W];
  for (int64_t r = 0; r < count; ++r) largest<V>(rows[r], columns).store(vectors + r * W);
  const V top = reduce_rows<V>(vectors, [](V a, V b) { return max(a, b); });
  shift_of(top).store(shifts);
  for (int64_t r = 0; r < count; ++r) {
    T* row = rows[r];
    const V shift = V::set(shifts[r]), last = V::load(row + end.last);
    V sum = V::zero();
    for (int64_t i = 0; i < end.whole; i += W) {
      const V p = power(V::load(row + i), shift);
      p.store(row + i);
      sum = sum + p;
    }
    if (end.exists()) {
      const V p = power(last, shift);
      p.store(row + end.last);
      sum = sum + select_bits(end.fresh, p, V::zero());
    }
    sum.store(vectors + r * W);
  }
  const V sum = reduce_rows<V>(vectors, [](V a, V b) { return a + b; });
  inverse_of(sum).store(inverses);
  for (int64_t r = 0; r < count; ++r) {
    T* row = rows[r];
    const V inverse = V::set(inverses[r]), last = V::load(row + end.last) * inverse;
    for (int64_t i = 0; i < end.whole; i += W) (V::load(row + i) * inverse).store(row + i);
    if (end.exists()) last.store(row + end.last);
  }
  logsumexp_of(top, sum).store(found);
  for (int64_t r = 0; r < count; ++r) logsumexp[r] = found[r];
}

template <class V>
void softmax_rows(typename V::Scalar* const* rows, int64_t count, int64_t columns, typename V::Scalar* logsumexp) {
  constexpr int64_t W = V::kLanes;
  const int64_t together = columns > kRowsTogether ? 1 : W;
  for (int64_t r = 0; r < count; r += together) {
    const int64_t some = count - r < together ? count - r : together;
    columns < W ? softmax_of_short<V>(rows + r, some, columns, logsumexp + r)
                : softmax_of_long<V>(rows + r, some, columns, logsumexp + r);
  }
}

// ---- gradient ------------------------------------------------------------------------------------------------------

template <class V>
void softmax_gradient_of_short(const typename V::Scalar* p, typename V::Scalar* d, int64_t columns,
                               typename V::Scalar dlogsumexp) {
  typename V::Scalar mean = -dlogsumexp;
  for (int64_t i = 0; i < columns; ++i) mean += p[i] * d[i];
  for (int64_t i = 0; i < columns; ++i) d[i] = p[i] * (d[i] - mean);
}

// `count` <= W rows of at least a vector.
template <class V>
void softmax_gradient_of_long(const typename V::Scalar* const* p, typename V::Scalar* const* d, int64_t count,
                              int64_t columns, const typename V::Scalar* dlogsumexp) {
  using T = typename V::Scalar;
  constexpr int64_t W = V::kLanes;
  const RowEnd<V> end(columns);
  T vectors[W * W] = {}, means[W];
  for (int64_t r = 0; r < count; ++r) {
    V sum = V::zero(), more = V::zero();
    int64_t i = 0;
    for (; i + 2 * W <= end.whole; i += 2 * W) {
      sum = fma(V::load(p[r] + i), V::load(d[r] + i), sum);
      more = fma(V::load(p[r] + i + W), V::load(d[r] + i + W), more);
    }
    if (i < end.whole) sum = fma(V::load(p[r] + i), V::load(d[r] + i), sum);
    if (end.exists())
      more = more + select_bits(end.fresh, V::load(p[r] + end.last) * V::load(d[r] + end.last), V::zero());
    (sum + more).store(vectors + r * W);
  }
  reduce_rows<V>(vectors, [](V a, V b) { return a + b; }).store(means);
  for (int64_t r = 0; r < count; ++r) {
    const V mean = V::set(means[r] - dlogsumexp[r]);
    const V last = V::load(p[r] + end.last) * (V::load(d[r] + end.last) - mean);
    for (int64_t i = 0; i < end.whole; i += W) (V::load(p[r] + i) * (V::load(d[r] + i) - mean)).store(d[r] + i);
    if (end.exists()) last.store(d[r] + end.last);
  }
}

template <class V>
void softmax_gradient_rows(const typename V::Scalar* const* p, typename V::Scalar* const* d, int64_t count,
                           int64_t columns, const typename V::Scalar* dlogsumexp) {
  constexpr int64_t W = V::kLanes;
  if (columns < W) {
    for (int64_t r = 0; r < count; ++r) softmax_gradient_of_short<V>(p[r], d[r], columns, dlogsumexp[r]);
    return;
  }
  const int64_t together = columns > kRowsTogether ? 1 : W;
  for (int64_t r = 0; r < count; r += together)
    softmax_gradient_of_long<V>(p + r, d + r, count - r < together ? count - r : together, columns, dlogsumexp + r);
}

}  // namespace nearfield::core::kernel
