// Do strided views share memory? Exact for any view that occurs in practice: interleaved slices of one buffer,
// transposed and reversed views. The question is a bounded linear Diophantine equation, which is hard in general, so
// the search has a budget; when that runs out the answer is the safe one, true.
#pragma once

#include "base/tensor_view.h"

namespace nearfield::core {

// Does a byte of an element of `a` belong to an element of `b` too? Views without elements overlap nothing.
bool may_overlap(const TensorView& a, const TensorView& b);

// Do two different indices of one view reach the same byte?
bool overlaps_itself(const TensorView& view);

}  // namespace nearfield::core
