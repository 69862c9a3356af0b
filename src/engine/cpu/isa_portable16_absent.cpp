// Takes isa_portable16.cpp's place where no tests are built.
#include "engine/cpu/kernels.h"

namespace nearfield::core {

const KernelTable<float>* portable16_float_kernels() { return nullptr; }
const KernelTable<double>* portable16_double_kernels() { return nullptr; }

}  // namespace nearfield::core
