// The words in which kernels are written (engine/cuda/device/cuda.h), for the emulator. To be included before a kernel.
// The two attributes that kernels need are CUDA's own words, and mean nothing here.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/dtype.h"
#include "emulator.h"
#include "engine/cuda/device/types.h"

#define __device__
#define __forceinline__ inline

namespace nearfield::device {

using emulator::Emulator;

inline int thread_index() { return Emulator::current().thread(); }
inline long long block_index() { return Emulator::current().block(); }
inline long long block_count() { return Emulator::current().blocks(); }

inline void synchronize() { Emulator::current().wait_for_block(true, false); }
inline bool synchronize_and(bool x) { return Emulator::current().wait_for_block(x, true); }

// Operations: 0 a vote, else a shuffle by this mask.
inline bool all_of_warp(bool x) {
  const uint64_t* const lanes = Emulator::current().exchange(x ? 1 : 0, 0);
  bool all = true;
  for (int lane = 0; lane < 32; ++lane) all = all && lanes[lane] != 0;
  return all;
}
template <class T>
T shuffle_xor(T value, int mask) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  const uint64_t* const lanes = Emulator::current().exchange(bits, mask);
  std::memcpy(&value, lanes + ((thread_index() % 32) ^ mask), sizeof value);
  return value;
}

template <class T>
T load(const T* pointer) {
  Emulator::current().check_global(pointer, sizeof(T), false);
  return *pointer;
}
template <class T>
void store(T* pointer, T value) {
  Emulator::current().check_global(pointer, sizeof(T), true);
  *pointer = value;
}

template <class T, int kCount>
struct alignas(16) SharedArray {
  T data[kCount];
  T get(int i) const {
    Emulator::current().check_shared(data, i, kCount, sizeof(T), sizeof(T), false);
    return data[i];
  }
  void set(int i, T value) {
    Emulator::current().check_shared(data, i, kCount, sizeof(T), sizeof(T), true);
    data[i] = value;
  }
  Pack<T> pack(int i) const {
    Emulator::current().check_shared(data, i, kCount, sizeof(T), sizeof(Pack<T>), false);
    Pack<T> result;
    std::memcpy(&result, data + i, sizeof result);
    return result;
  }
};

template <class S>
S& shared() {
  return *reinterpret_cast<S*>(Emulator::current().shared());
}

template <class A>
A infinity(A) {
  return std::numeric_limits<A>::infinity();
}
template <class A>
A exp2_of(A x) {
  return std::exp2(x);
}
template <class A>
A log_of(A x) {
  return std::log(x);
}
inline double log2_of(double x) { return std::log2(x); }
template <class A>
A tanh_of(A x) {
  return std::tanh(x);
}
template <class A>
A max_of(A a, A b) {
  return std::fmax(a, b);
}
// Without the fused rounding, which a CPU may lack.
template <class A>
A multiply_add(A a, A b, A c) {
  return a * b + c;
}

inline float float_of_bits(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned bits_of_float(float x) { return std::bit_cast<unsigned>(x); }
inline float float_of_half(unsigned short bits) { return core::float_from_float16(bits); }
inline unsigned short half_of_float(float x) { return core::float16_from(x); }

}  // namespace nearfield::device
