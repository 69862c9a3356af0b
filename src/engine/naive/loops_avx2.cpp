#include "engine/naive/loops.inl"

namespace nearfield::core {

const NaiveLoops<float>* avx2_float_loops() { return &kFloatLoops; }
const NaiveLoops<double>* avx2_double_loops() { return &kDoubleLoops; }

}  // namespace nearfield::core
