// Compiled with AVX-512's flags: see operations.inl for what may be included.
#include "engine/cpu/simd/avx512.h"

#include "operations.inl"

namespace nearfield::core {

const SimdOperations<float>* avx512_float_operations() {
  static constexpr auto table = Operate<avx512::F32>::table("avx512::F32");
  return &table;
}
const SimdOperations<double>* avx512_double_operations() {
  static constexpr auto table = Operate<avx512::F64>::table("avx512::F64");
  return &table;
}

}  // namespace nearfield::core
