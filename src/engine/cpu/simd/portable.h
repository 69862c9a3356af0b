// The vector vocabulary in plain C++: W lanes in an array, for any compiler and machine, and as the model that the
// instruction sets' headers are tested against. docs/vocabulary.md has a line for each function.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/dtype.h"

namespace nearfield::core::portable {

// W lanes of T as the compiler's own vector type (gcc, clang): it picks registers where the target has them, and plain
// arrays were three times slower, split into W scalars each.
template <class T, int W>
struct Vector {
  using Scalar = T;
  typedef T Lanes __attribute__((vector_size(sizeof(T) * W)));
  static constexpr int kLanes = W;
  Lanes lane;

  static Vector zero() { return {Lanes{}}; }
  static Vector set(T x) { return {x - Lanes{}}; }
  static Vector load(const T* p) { return load_any(p); }
  static Vector broadcast(const T* p) { return set(*p); }
  void store(T* p) const { store_any(p); }

  // W elements at any address, widened.
  static Vector load_any(const void* p) {
    Vector v;
    std::memcpy(&v.lane, p, sizeof v.lane);
    return v;
  }
  void store_any(void* p) const { std::memcpy(p, &lane, sizeof lane); }
  static Vector load_bfloat16(const void* p) {
    return widen(p, [](uint16_t bits) { return float_from_bfloat16(bits); });
  }
  static Vector load_float16(const void* p) {
    return widen(p, [](uint16_t bits) { return float_from_float16(bits); });
  }
  void store_bfloat16(void* p) const {
    narrow(p, [](T x) { return bfloat16_from(x); });
  }
  void store_float16(void* p) const {
    narrow(p, [](T x) { return float16_from(x); });
  }

  // Rows s[i*s_stride ...] (W x W) become columns of d.
  static void transpose(const T* s, int64_t s_stride, T* d, int64_t d_stride) {
    for (int i = 0; i < W; ++i)
      for (int j = 0; j < W; ++j) d[j * d_stride + i] = s[i * s_stride + j];
  }
  static Vector load_once(const T* p) { return load(p); }
  static void accumulate(Vector& sum, Vector a, Vector b) { sum = fma(a, b, sum); }
  static const T* opaque(const T* p) { return p; }
  static void prefetch(const void*) {}

 private:
  template <class F>
  static Vector widen(const void* p, F convert) {
    uint16_t bits[W];
    std::memcpy(bits, p, sizeof bits);
    Vector v;
    for (int i = 0; i < W; ++i) v.lane[i] = convert(bits[i]);
    return v;
  }
  template <class F>
  void narrow(void* p, F convert) const {
    uint16_t bits[W];
    for (int i = 0; i < W; ++i) bits[i] = convert(lane[i]);
    std::memcpy(p, bits, sizeof bits);
  }
};

template <class T, int W>
inline Vector<T, W> operator+(const Vector<T, W>& a, const Vector<T, W>& b) {
  return {a.lane + b.lane};
}
template <class T, int W>
inline Vector<T, W> operator-(const Vector<T, W>& a, const Vector<T, W>& b) {
  return {a.lane - b.lane};
}
template <class T, int W>
inline Vector<T, W> operator*(const Vector<T, W>& a, const Vector<T, W>& b) {
  return {a.lane * b.lane};
}
template <class T, int W>
inline Vector<T, W> operator/(const Vector<T, W>& a, const Vector<T, W>& b) {
  return {a.lane / b.lane};
}
template <class T, int W>
inline Vector<T, W> fma(const Vector<T, W>& a, const Vector<T, W>& b, const Vector<T, W>& c) {
  return {a.lane * b.lane + c.lane};
}
// b where either is NaN.
template <class T, int W>
inline Vector<T, W> max(const Vector<T, W>& a, const Vector<T, W>& b) {
  return {a.lane > b.lane ? a.lane : b.lane};
}
template <class T, int W>
inline Vector<T, W> select_greater(const Vector<T, W>& a, const Vector<T, W>& b, const Vector<T, W>& yes,
                                   const Vector<T, W>& no) {
  return {a.lane > b.lane ? yes.lane : no.lane};
}
template <class T, int W>
inline bool any_greater(const Vector<T, W>& a, const Vector<T, W>& b) {
  const auto greater = a.lane > b.lane;
  bool any = false;
  for (int i = 0; i < W; ++i) any |= greater[i] != 0;
  return any;
}
template <class T, int W>
inline Vector<T, W> select_bits(uint32_t bits, const Vector<T, W>& yes, const Vector<T, W>& no) {
  Vector<T, W> v = Vector<T, W>::zero();
  for (int i = 0; i < W; ++i) v.lane[i] = (bits >> i & 1) != 0 ? yes.lane[i] : no.lane[i];
  return v;
}
// The lanes' bits shifted so that the low bits of each become the exponent field.
template <class T, int W>
inline Vector<T, W> low_bits_as_exponent(const Vector<T, W>& a) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  typedef Bits BitLanes __attribute__((vector_size(sizeof(T) * W)));
  const BitLanes shifted = reinterpret_cast<BitLanes>(a.lane) << (sizeof(T) == 4 ? 23 : 52);
  return {reinterpret_cast<typename Vector<T, W>::Lanes>(shifted)};
}
template <int W>
inline Vector<float, W> split_exponent(const Vector<float, W>& x, Vector<float, W>& mantissa) {
  Vector<float, W> exponent;
  for (int i = 0; i < W; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(x.lane[i]));
    const int32_t e = static_cast<int32_t>(bits - 0x3f3504f3u) >> 23;
    mantissa.lane[i] = std::bit_cast<float>(bits - (static_cast<uint32_t>(e) << 23));
    exponent.lane[i] = static_cast<float>(e);
  }
  return exponent;
}

// Lane j of the result is a[j]'s lanes combined by op, in the order of a butterfly.
template <class T, int W, class Op>
inline Vector<T, W> transpose_reduce(const Vector<T, W> (&a)[W], Op op) {
  T rows[W][W], columns[W][W];
  for (int i = 0; i < W; ++i) a[i].store(rows[i]);
  for (int i = 0; i < W; ++i)
    for (int j = 0; j < W; ++j) columns[i][j] = rows[j][i];
  Vector<T, W> sums[W];
  for (int i = 0; i < W; ++i) sums[i] = Vector<T, W>::load(columns[i]);
  for (int half = W / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) sums[i] = op(sums[i], sums[i + half]);
  return sums[0];
}

// Four lanes of float: one register of the baseline instruction sets (SSE2, NEON).
using F32 = Vector<float, 4>;
using F64 = Vector<double, 2>;

}  // namespace nearfield::core::portable
