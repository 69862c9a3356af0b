// One vector type of the vocabulary as plain functions over arrays, so that the tests, which are compiled for any
// machine, can reach code that is compiled for a newer one. Arrays have `lanes` elements, matrices lanes * lanes.
#pragma once

#include <cstdint>

namespace nearfield::core {

// bfloat16, float16 and split_exponent are nullptr for double: no kernel asks for them.
template <class T>
struct SimdOperations {
  const char* name = nullptr;
  int lanes = 0;

  void (*zero)(T* out) = nullptr;
  void (*set)(T x, T* out) = nullptr;
  void (*load)(const T* p, T* out) = nullptr;
  void (*load_once)(const T* p, T* out) = nullptr;
  void (*broadcast)(const T* p, T* out) = nullptr;
  void (*load_any)(const void* p, T* out) = nullptr;
  void (*store_any)(const T* x, void* p) = nullptr;
  void (*load_bfloat16)(const void* p, T* out) = nullptr;
  void (*store_bfloat16)(const T* x, void* p) = nullptr;
  void (*load_float16)(const void* p, T* out) = nullptr;
  void (*store_float16)(const T* x, void* p) = nullptr;
  void (*transpose)(const T* s, int64_t s_stride, T* d, int64_t d_stride) = nullptr;
  const T* (*opaque)(const T* p) = nullptr;
  void (*prefetch)(const void* p) = nullptr;

  void (*add)(const T* a, const T* b, T* out) = nullptr;
  void (*subtract)(const T* a, const T* b, T* out) = nullptr;
  void (*multiply)(const T* a, const T* b, T* out) = nullptr;
  void (*divide)(const T* a, const T* b, T* out) = nullptr;
  void (*accumulate)(const T* sum, const T* a, const T* b, T* out) = nullptr;
  void (*fma)(const T* a, const T* b, const T* c, T* out) = nullptr;
  void (*max)(const T* a, const T* b, T* out) = nullptr;
  void (*select_greater)(const T* a, const T* b, const T* yes, const T* no, T* out) = nullptr;
  bool (*any_greater)(const T* a, const T* b) = nullptr;
  void (*select_bits)(uint32_t bits, const T* yes, const T* no, T* out) = nullptr;
  void (*low_bits_as_exponent)(const T* a, T* out) = nullptr;
  void (*split_exponent)(const T* x, T* exponent, T* mantissa) = nullptr;
  void (*reduce_sum)(const T* rows, T* out) = nullptr;  // transpose_reduce
  void (*reduce_max)(const T* rows, T* out) = nullptr;

  void (*exp2)(const T* x, T* out) = nullptr;
  void (*log)(const T* x, T* out) = nullptr;
  void (*tanh)(const T* x, T* out) = nullptr;
};

// The portable vectors, at their own width and at those of every instruction set; nullptr beyond the last.
const SimdOperations<float>* portable_float_operations(int which);
const SimdOperations<double>* portable_double_operations(int which);
// nullptr where the compiler's target is not x86-64.
const SimdOperations<float>* avx2_float_operations();
const SimdOperations<double>* avx2_double_operations();
const SimdOperations<float>* avx512_float_operations();
const SimdOperations<double>* avx512_double_operations();
// nullptr where it is not 64-bit Arm.
const SimdOperations<float>* neon_float_operations();
const SimdOperations<double>* neon_double_operations();

}  // namespace nearfield::core
