// Stands in for loops_avx2.cpp where the compiler builds for another architecture.
#include "engine/naive/loops.h"

namespace nearfield::core {

const NaiveLoops<float>* avx2_float_loops() { return nullptr; }
const NaiveLoops<double>* avx2_double_loops() { return nullptr; }

}  // namespace nearfield::core
