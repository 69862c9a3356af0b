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

// Where row i begins: in a list, or at equal steps.
struct Listed {
  const int64_t* offsets;
  int64_t operator()(int64_t i) const { return offsets[i]; }
};
struct InLine {
  int64_t step;
  int64_t operator()(int64_t i) const { return i * step; }
};

template <class T, DType D, class Rows>
void products_of(const T* near, const void* far, Rows rows, int64_t count, int64_t channels, T* products) {
  for (int64_t i = 0; i < count; ++i) {
    const std::byte* row = static_cast<const std::byte*>(far) + rows(i) * size_of(D);
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < channels; ++c) sum += near[c] * element<T, D>(row, c);
    products[i] = sum;
  }
}

template <class T, DType D, class Rows>
void sum_of(const T* weights, const void* far, Rows rows, int64_t count, int64_t channels, T* near) {
  for (int64_t i = 0; i < count; ++i) {
    const std::byte* row = static_cast<const std::byte*>(far) + rows(i) * size_of(D);
    const T weight = weights[i];
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) near[c] += weight * element<T, D>(row, c);
  }
}

// Calls body.operator()<D>() for the dtype, of those that are computed in T.
template <class T, class Body>
[[gnu::always_inline]] inline void of_dtype(DType dtype, Body body) {
  if constexpr (sizeof(T) == 8) {
    body.template operator()<DType::float64>();
  } else if (dtype == DType::bfloat16) {
    body.template operator()<DType::bfloat16>();
  } else if (dtype == DType::float16) {
    body.template operator()<DType::float16>();
  } else {
    body.template operator()<DType::float32>();
  }
}

template <class T>
void products(const T* near, const void* far, DType dtype, const int64_t* offsets, int64_t count, int64_t channels,
              T* result) {
  of_dtype<T>(dtype, [&]<DType D>() { products_of<T, D>(near, far, Listed{offsets}, count, channels, result); });
}
template <class T>
void products_in_line(const T* near, const void* far, DType dtype, int64_t step, int64_t count, int64_t channels,
                      T* result) {
  of_dtype<T>(dtype, [&]<DType D>() { products_of<T, D>(near, far, InLine{step}, count, channels, result); });
}
template <class T>
void sum(const T* weights, const void* far, DType dtype, const int64_t* offsets, int64_t count, int64_t channels,
         T* near) {
  of_dtype<T>(dtype, [&]<DType D>() { sum_of<T, D>(weights, far, Listed{offsets}, count, channels, near); });
}
template <class T>
void sum_in_line(const T* weights, const void* far, DType dtype, int64_t step, int64_t count, int64_t channels,
                 T* near) {
  of_dtype<T>(dtype, [&]<DType D>() { sum_of<T, D>(weights, far, InLine{step}, count, channels, near); });
}

constexpr NaiveLoops<float> kFloatLoops = {products<float>, sum<float>, products_in_line<float>, sum_in_line<float>};
constexpr NaiveLoops<double> kDoubleLoops = {products<double>, sum<double>, products_in_line<double>,
                                             sum_in_line<double>};

}  // namespace
}  // namespace nearfield::core
