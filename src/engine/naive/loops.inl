// The loops of loops.h, for one instruction set: included once by each loops_<name>.cpp, which is compiled with that
// set's flags. In an unnamed namespace, so that no other file's copy is linked in their place, or they in its.
#pragma once

#include <cstring>

#include "engine/naive/loops.h"

namespace nearfield::core {
namespace {

template <class T, DType D>
[[gnu::always_inline]] inline T element(const std::byte* row, int64_t c) {
  if constexpr (D == DType::float32 || D == DType::float64) {
    T value;
    std::memcpy(&value, row + c * static_cast<int64_t>(sizeof(T)), sizeof value);
    return value;
  } else {
    uint16_t bits;
    std::memcpy(&bits, row + c * 2, sizeof bits);
    return static_cast<T>(D == DType::bfloat16 ? float_from_bfloat16(bits) : float_from_float16(bits));
  }
}

template <class T, DType D>
void products_of(const T* near, const void* far, const int64_t* offsets, int64_t count, int64_t channels, T* products) {
  for (int64_t i = 0; i < count; ++i) {
    const std::byte* row = static_cast<const std::byte*>(far) + offsets[i] * size_of(D);
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < channels; ++c) sum += near[c] * element<T, D>(row, c);
    products[i] = sum;
  }
}

template <class T, DType D>
void sum_of(const T* weights, const void* far, const int64_t* offsets, int64_t count, int64_t channels, T* near) {
  for (int64_t i = 0; i < count; ++i) {
    const std::byte* row = static_cast<const std::byte*>(far) + offsets[i] * size_of(D);
    const T weight = weights[i];
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) near[c] += weight * element<T, D>(row, c);
  }
}

template <class T>
void products(const T* near, const void* far, DType dtype, const int64_t* offsets, int64_t count, int64_t channels,
              T* result) {
  if constexpr (sizeof(T) == 8) {
    products_of<T, DType::float64>(near, far, offsets, count, channels, result);
  } else if (dtype == DType::bfloat16) {
    products_of<T, DType::bfloat16>(near, far, offsets, count, channels, result);
  } else if (dtype == DType::float16) {
    products_of<T, DType::float16>(near, far, offsets, count, channels, result);
  } else {
    products_of<T, DType::float32>(near, far, offsets, count, channels, result);
  }
}

template <class T>
void sum(const T* weights, const void* far, DType dtype, const int64_t* offsets, int64_t count, int64_t channels,
         T* near) {
  if constexpr (sizeof(T) == 8) {
    sum_of<T, DType::float64>(weights, far, offsets, count, channels, near);
  } else if (dtype == DType::bfloat16) {
    sum_of<T, DType::bfloat16>(weights, far, offsets, count, channels, near);
  } else if (dtype == DType::float16) {
    sum_of<T, DType::float16>(weights, far, offsets, count, channels, near);
  } else {
    sum_of<T, DType::float32>(weights, far, offsets, count, channels, near);
  }
}

constexpr NaiveLoops<float> kFloatLoops = {products<float>, sum<float>};
constexpr NaiveLoops<double> kDoubleLoops = {products<double>, sum<double>};

}  // namespace
}  // namespace nearfield::core
