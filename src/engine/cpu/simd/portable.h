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

template <class T, int W>
struct Vector {
  using Scalar = T;
  static constexpr int kLanes = W;
  T lane[W];

  static Vector zero() { return set(0); }
  static Vector set(T x) {
    Vector v;
    for (int i = 0; i < W; ++i) v.lane[i] = x;
    return v;
  }
  static Vector load(const T* p) { return load_any(p); }
  static Vector broadcast(const T* p) { return set(*p); }
  void store(T* p) const { store_any(p); }

  // W elements at any address, widened.
  static Vector load_any(const void* p) {
    Vector v;
    std::memcpy(v.lane, p, sizeof v.lane);
    return v;
  }
  void store_any(void* p) const { std::memcpy(p, lane, sizeof lane); }
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

template <class T, int W, class F>
inline Vector<T, W> each(F f) {
  Vector<T, W> v;
  for (int i = 0; i < W; ++i) v.lane[i] = f(i);
  return v;
}

template <class T, int W>
inline Vector<T, W> operator+(const Vector<T, W>& a, const Vector<T, W>& b) {
  return each<T, W>([&](int i) { return a.lane[i] + b.lane[i]; });
}
template <class T, int W>
inline Vector<T, W> operator-(const Vector<T, W>& a, const Vector<T, W>& b) {
  return each<T, W>([&](int i) { return a.lane[i] - b.lane[i]; });
}
template <class T, int W>
inline Vector<T, W> operator*(const Vector<T, W>& a, const Vector<T, W>& b) {
  return each<T, W>([&](int i) { return a.lane[i] * b.lane[i]; });
}
template <class T, int W>
inline Vector<T, W> operator/(const Vector<T, W>& a, const Vector<T, W>& b) {
  return each<T, W>([&](int i) { return a.lane[i] / b.lane[i]; });
}
template <class T, int W>
inline Vector<T, W> fma(const Vector<T, W>& a, const Vector<T, W>& b, const Vector<T, W>& c) {
  return each<T, W>([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
}
// b where either is NaN.
template <class T, int W>
inline Vector<T, W> max(const Vector<T, W>& a, const Vector<T, W>& b) {
  return each<T, W>([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
template <class T, int W>
inline Vector<T, W> select_greater(const Vector<T, W>& a, const Vector<T, W>& b, const Vector<T, W>& yes,
                                   const Vector<T, W>& no) {
  return each<T, W>([&](int i) { return a.lane[i] > b.lane[i] ? yes.lane[i] : no.lane[i]; });
}
template <class T, int W>
inline bool any_greater(const Vector<T, W>& a, const Vector<T, W>& b) {
  bool any = false;
  for (int i = 0; i < W; ++i) any |= a.lane[i] > b.lane[i];
  return any;
}
template <class T, int W>
inline Vector<T, W> select_bits(uint32_t bits, const Vector<T, W>& yes, const Vector<T, W>& no) {
  return each<T, W>([&](int i) { return (bits >> i & 1) != 0 ? yes.lane[i] : no.lane[i]; });
}
template <class T, int W>
inline Vector<T, W> low_bits_as_exponent(const Vector<T, W>& a) {
  if constexpr (sizeof(T) == 4) {
    return each<T, W>([&](int i) { return std::bit_cast<float>(std::bit_cast<uint32_t>(a.lane[i]) << 23); });
  } else {
    return each<T, W>([&](int i) { return std::bit_cast<double>(std::bit_cast<uint64_t>(a.lane[i]) << 52); });
  }
}
template <int W>
inline Vector<float, W> split_exponent(const Vector<float, W>& x, Vector<float, W>& mantissa) {
  Vector<float, W> exponent;
  for (int i = 0; i < W; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x.lane[i]);
    const int32_t e = static_cast<int32_t>(bits - 0x3f3504f3u) >> 23;
    mantissa.lane[i] = std::bit_cast<float>(bits - (static_cast<uint32_t>(e) << 23));
    exponent.lane[i] = static_cast<float>(e);
  }
  return exponent;
}

// Lane j of the result is a[j]'s lanes combined by op, in the order of a butterfly.
template <class T, int W, class Op>
inline Vector<T, W> transpose_reduce(const Vector<T, W> (&a)[W], Op op) {
  Vector<T, W> columns[W];
  for (int i = 0; i < W; ++i)
    for (int j = 0; j < W; ++j) columns[i].lane[j] = a[j].lane[i];
  for (int half = W / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) columns[i] = op(columns[i], columns[i + half]);
  return columns[0];
}
// Four lanes of float: one register of the baseline instruction sets (SSE2, NEON).
using F32 = Vector<float, 4>;
using F64 = Vector<double, 2>;

}  // namespace nearfield::core::portable
