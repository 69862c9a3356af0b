// What the tests of the vector vocabulary share: which vectors this machine can run, awkward numbers, comparisons.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "check/random.h"
#include "engine/cpu/cpu.h"
#include "simd/operations.h"

namespace nearfield::core {

inline constexpr int kMaxLanes = 16;

// Of a test's usual rounds the share NEARFIELD_SIMD_SHARE (1): under an emulator a few have to do.
inline int64_t rounds_of(int64_t usual) {
  const char* const share = std::getenv("NEARFIELD_SIMD_SHARE");
  return share == nullptr ? usual : std::max<int64_t>(1, std::llround(static_cast<double>(usual) * std::atof(share)));
}
// From one value to the next where a test usually takes each; odd.
inline int step_of_rounds() { return static_cast<int>(std::max<int64_t>(1, 64 / rounds_of(64)) | 1); }

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
template <class T>
BitsOf<T> bits_of(T x) {
  return std::bit_cast<BitsOf<T>>(x);
}

// An instruction set with a header of its own, and its vectors: nullptr where the compiler's target lacks it.
template <class T>
struct NativeOperations {
  Isa isa;
  const SimdOperations<T>* operations;
};
template <class T>
std::vector<NativeOperations<T>> native_operations() {
  if constexpr (sizeof(T) == 4)
    return {{Isa::avx2, avx2_float_operations()},
            {Isa::avx512, avx512_float_operations()},
            {Isa::neon, neon_float_operations()}};
  else
    return {{Isa::avx2, avx2_double_operations()},
            {Isa::avx512, avx512_double_operations()},
            {Isa::neon, neon_double_operations()}};
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
  for (const NativeOperations<T>& native : native_operations<T>())
    if (isa_unavailable(native.isa) == nullptr) list.push_back(native.operations);
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
