// The kernels on NEON, which every 64-bit Arm has.
#include "engine/cpu/isa.inl"
#include "engine/cpu/simd/neon.h"

namespace nearfield::core {

const KernelTable<float>* neon_float_kernels() {
  static constexpr auto table = kernel::make_table<neon::F32>();
  return &table;
}
const KernelTable<double>* neon_double_kernels() {
  static constexpr auto table = kernel::make_table<neon::F64>();
  return &table;
}

}  // namespace nearfield::core
