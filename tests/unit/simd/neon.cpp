// See operations.inl for what may be included.
#include "engine/cpu/simd/neon.h"

#include "operations.inl"

namespace nearfield::core {

const SimdOperations<float>* neon_float_operations() {
  static constexpr auto table = Operate<neon::F32>::table("neon::F32");
  return &table;
}
const SimdOperations<double>* neon_double_operations() {
  static constexpr auto table = Operate<neon::F64>::table("neon::F64");
  return &table;
}

}  // namespace nearfield::core
