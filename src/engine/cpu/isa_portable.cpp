// The kernels in plain C++, for the compiler's baseline target.
#include "engine/cpu/isa.inl"
#include "engine/cpu/simd/portable.h"

namespace nearfield::core {

const KernelTable<float>* portable_float_kernels() {
  static constexpr auto table = kernel::make_table<portable::F32>();
  return &table;
}
const KernelTable<double>* portable_double_kernels() {
  static constexpr auto table = kernel::make_table<portable::F64>();
  return &table;
}

}  // namespace nearfield::core
