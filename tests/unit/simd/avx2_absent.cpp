// Takes avx2.cpp's place where the compiler's target is not x86-64.
#include "operations.h"

namespace nearfield::core {

const SimdOperations<float>* avx2_float_operations() { return nullptr; }
const SimdOperations<double>* avx2_double_operations() { return nullptr; }

}  // namespace nearfield::core
