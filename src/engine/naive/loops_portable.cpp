#include "engine/naive/loops.inl"

namespace nearfield::core {

const NaiveLoops<float>* portable_float_loops() { return &kFloatLoops; }
const NaiveLoops<double>* portable_double_loops() { return &kDoubleLoops; }

}  // namespace nearfield::core
