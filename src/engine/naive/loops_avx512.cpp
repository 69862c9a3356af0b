#include "engine/naive/loops.inl"

namespace nearfield::core {

const NaiveLoops<float>* avx512_float_loops() { return &kFloatLoops; }
const NaiveLoops<double>* avx512_double_loops() { return &kDoubleLoops; }

}  // namespace nearfield::core
