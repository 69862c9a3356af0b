// Takes neon.cpp's place where the compiler's target is not 64-bit Arm.
#include "operations.h"

namespace nearfield::core {

const SimdOperations<float>* neon_float_operations() { return nullptr; }
const SimdOperations<double>* neon_double_operations() { return nullptr; }

}  // namespace nearfield::core
