// The kernels in plain C++ at the width of AVX-512: what runs there, tested on every machine. Slower than portable.
#include "engine/cpu/isa.inl"
#include "engine/cpu/simd/portable.h"

namespace nearfield::core {

const KernelTable<float>* portable16_float_kernels() {
  static constexpr auto table = kernel::make_table<portable::Vector<float, 16>>();
  return &table;
}
const KernelTable<double>* portable16_double_kernels() {
  static constexpr auto table = kernel::make_table<portable::Vector<double, 8>>();
  return &table;
}

}  // namespace nearfield::core
