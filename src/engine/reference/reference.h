// The oracle: attention in float64, one query at a time, as literally as the definitions allow. Slow on purpose.
#pragma once

#include "engine/problem.h"

namespace nearfield::core {

void reference_forward(const Problem& problem, const ForwardOutputs& outputs);
void reference_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients);

}  // namespace nearfield::core
