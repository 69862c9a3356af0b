// Stands in for loops_avx512.cpp where the compiler builds for another architecture.
#include "engine/naive/loops.h"

namespace nearfield::core {

const NaiveLoops<float>* avx512_float_loops() { return nullptr; }
const NaiveLoops<double>* avx512_double_loops() { return nullptr; }

}  // namespace nearfield::core
