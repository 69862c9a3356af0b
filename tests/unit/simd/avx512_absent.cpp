// Takes avx512.cpp's place where the compiler's target is not x86-64.
#include "operations.h"

namespace nearfield::core {

const SimdOperations<float>* avx512_float_operations() { return nullptr; }
const SimdOperations<double>* avx512_double_operations() { return nullptr; }

}  // namespace nearfield::core
