// The kernels on AVX-512. Compiled with its flags.
#include "engine/cpu/isa.inl"
#include "engine/cpu/simd/avx512.h"

namespace nearfield::core {

const KernelTable<float>* avx512_float_kernels() {
  static constexpr auto table = kernel::make_table<avx512::F32>();
  return &table;
}
const KernelTable<double>* avx512_double_kernels() {
  static constexpr auto table = kernel::make_table<avx512::F64>();
  return &table;
}

}  // namespace nearfield::core
