// Takes isa_avx2.cpp's place where the compiler's target is not x86.
#include "engine/cpu/kernels.h"

namespace nearfield::core {

const KernelTable<float>* avx2_float_kernels() { return nullptr; }
const KernelTable<double>* avx2_double_kernels() { return nullptr; }

}  // namespace nearfield::core
