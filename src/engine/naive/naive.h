// One query at a time, and for gradients of keys one key at a time: the baseline that other methods are compared with,
// as NATTEN's kernels for CPUs were. Straightforward, vectorised by the compiler for the instruction set that the other
// engines use, threaded. Its operators are kNaiveOperators of engine/unfused/operators.h.
#pragma once

#include "engine/naive/loops.h"
#include "engine/unfused/operators.h"

namespace nearfield::core {

template <class T>
const NaiveLoops<T>& naive_loops(Isa isa);

}  // namespace nearfield::core
