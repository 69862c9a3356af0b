// The kernels on AVX2 + FMA + F16C. Compiled with those flags.
#include "engine/cpu/isa.inl"
#include "engine/cpu/simd/avx2.h"

namespace nearfield::core {

const KernelTable<float>* avx2_float_kernels() {
  static constexpr auto table = kernel::make_table<avx2::F32>();
  return &table;
}
const KernelTable<double>* avx2_double_kernels() {
  static constexpr auto table = kernel::make_table<avx2::F64>();
  return &table;
}

}  // namespace nearfield::core
