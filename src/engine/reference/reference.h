// The oracle: attention in float64, one query at a time, as literally as the definitions allow. Slow on purpose.
//
// Outputs may have any dtype and strides: pass float64 views for results that are not rounded at all. NaN or inf in a
// token reaches only the queries that see it. Results do not depend on the number of threads.
#pragma once

#include "engine/problem.h"

namespace nearfield::core {

void reference_forward(const Problem& problem, const ForwardOutputs& outputs);

// inputs.out and inputs.logsumexp are not read (and may be null): the oracle recomputes both in float64, so that it is
// exact whatever rounding the forward's stored results went through.
void reference_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients);

// The same sums over the terms' absolute values: the scale at which rounding errors live. A gradient may be exactly 0
// (a window of 1) while its terms are not, so errors are measured against these too.
void reference_forward_magnitudes(const Problem& problem, const ForwardOutputs& outputs);
void reference_backward_magnitudes(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients);

}  // namespace nearfield::core
