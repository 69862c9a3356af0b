// Takes isa_avx512.cpp's place where the compiler's target is not x86-64.
#include "engine/cpu/kernels.h"

namespace nearfield::core {

const KernelTable<float>* avx512_float_kernels() { return nullptr; }
const KernelTable<double>* avx512_double_kernels() { return nullptr; }

}  // namespace nearfield::core
