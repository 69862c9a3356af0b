// What the tests of the vector vocabulary share: which vectors this machine can run, awkward numbers, comparisons.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "check/random.h"
#include "engine/cpu/cpu.h"
#include "simd/operations.h"

namespace nearfield::core {

inline constexpr int kMaxLanes = 16;

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
template <class T>
BitsOf<T> bits_of(T x) {
  return std::bit_cast<BitsOf<T>>(x);
}

// Every vector that can run here. An instruction set that is left out is one that the library refuses as well:
// simd_test.cpp's first test.
template <class T>
std::vector<const SimdOperations<T>*> runnable_operations() {
  std::vector<const SimdOperations<T>*> list;
  const auto portable = [](int which) {
    if constexpr (sizeof(T) == 4)
      return portable_float_operations(which);
    else
      return portable_double_operations(which);
  };
  for (int which = 0; portable(which) != nullptr; ++which) list.push_back(portable(which));
  if (isa_unavailable(Isa::avx2) == nullptr) {
    if constexpr (sizeof(T) == 4)
      list.push_back(avx2_float_operations());
    else
      list.push_back(avx2_double_operations());
  }
  return list;
}

// A NaN of any sign and payload, signalling ones included.
template <class T>
T random_nan(Random& random) {
  constexpr int kMantissa = std::numeric_limits<T>::digits - 1;
  const auto infinity = bits_of(std::numeric_limits<T>::infinity());
  const auto payload = static_cast<BitsOf<T>>(random.bits()) & ((BitsOf<T>{1} << kMantissa) - 1);
  const auto sign = static_cast<BitsOf<T>>(random.bits() & 1) << (sizeof(T) * 8 - 1);
  return std::bit_cast<T>(static_cast<BitsOf<T>>(sign | infinity | (payload == 0 ? 1 : payload)));
}

// Random bits, ordinary numbers, and the special ones often enough for each pair of them to meet.
template <class T>
T awkward(Random& random) {
  using Limits = std::numeric_limits<T>;
  const T special[] = {
      0, 1, 2, Limits::infinity(), Limits::max(), Limits::min(), Limits::denorm_min(), Limits::epsilon()};
  switch (random.below(4)) {
    case 0: return std::bit_cast<T>(static_cast<BitsOf<T>>(random.bits()));
    case 1: return static_cast<T>(random.normal());
    case 2: return random.chance(0.2) ? random_nan<T>(random) : static_cast<T>(random.between(-3, 3));
    default: return special[random.below(8)] * static_cast<T>(random.chance(0.5) ? -1 : 1);
  }
}
template <class T>
void fill_awkward(Random& random, T* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = awkward<T>(random);
}

// The same bits.
template <class T>
bool identical(T a, T b) {
  return bits_of(a) == bits_of(b);
}
// The same bits, or NaN both: of two NaNs, machines differ in which one an operation keeps, and all may quiet it.
template <class T>
bool same_value(T a, T b) {
  return identical(a, b) || (std::isnan(a) && std::isnan(b));
}

template <class T>
std::string hex(T x) {
  char text[64];
  std::snprintf(text, sizeof text, "%a (bits %llx)", static_cast<double>(x),
                static_cast<unsigned long long>(bits_of(x)));
  return text;
}

}  // namespace nearfield::core
