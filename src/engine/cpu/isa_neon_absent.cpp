// Takes isa_neon.cpp's place where the compiler's target is not 64-bit Arm.
#include "engine/cpu/kernels.h"

namespace nearfield::core {

const KernelTable<float>* neon_float_kernels() { return nullptr; }
const KernelTable<double>* neon_double_kernels() { return nullptr; }

}  // namespace nearfield::core
