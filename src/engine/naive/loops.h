// The naive engine's two inner loops, for one query and a list of rows: plain code that the compiler vectorises,
// compiled once for each instruction set.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace nearfield::core {

template <class T>
struct NaiveLoops {
  // products[i] = near . (the row at far + offsets[i] elements of dtype), of `channels`. Any alignment of far.
  void (*products)(const T* near, const void* far, DType dtype, const int64_t* offsets, int64_t count, int64_t channels,
                   T* products);
  // near += sum over i of weights[i] * row i.
  void (*sum)(const T* weights, const void* far, DType dtype, const int64_t* offsets, int64_t count, int64_t channels,
              T* near);
  // The same of rows that are `step` elements apart.
  void (*products_in_line)(const T* near, const void* far, DType dtype, int64_t step, int64_t count, int64_t channels,
                           T* products);
  void (*sum_in_line)(const T* weights, const void* far, DType dtype, int64_t step, int64_t count, int64_t channels,
                      T* near);
};

// Null where the compiler's target has no such instructions.
const NaiveLoops<float>* portable_float_loops();
const NaiveLoops<double>* portable_double_loops();
const NaiveLoops<float>* avx2_float_loops();
const NaiveLoops<double>* avx2_double_loops();
const NaiveLoops<float>* avx512_float_loops();
const NaiveLoops<double>* avx512_double_loops();

}  // namespace nearfield::core
