// Compiled with AVX2's flags: see operations.inl for what may be included.
#include "engine/cpu/simd/avx2.h"

#include "operations.inl"

namespace nearfield::core {

const SimdOperations<float>* avx2_float_operations() {
  static constexpr auto table = Operate<avx2::F32>::table("avx2::F32");
  return &table;
}
const SimdOperations<double>* avx2_double_operations() {
  static constexpr auto table = Operate<avx2::F64>::table("avx2::F64");
  return &table;
}

}  // namespace nearfield::core
