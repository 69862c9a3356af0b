// Which engine runs an unfused operator. Behind it nothing is checked again.
#pragma once

#include "dispatch/dispatch.h"
#include "dispatch/validate_unfused.h"

namespace nearfield::core {

// Each throws Error: unsupported for an engine that has no explicit weights or an instruction set that is missing.
void dispatch_qk(const QkCall& call, const Request& request);
void dispatch_qk_backward(const QkCall& call, const Request& request);
void dispatch_av(const AvCall& call, const Request& request);
void dispatch_av_backward(const AvCall& call, const Request& request);
// nf_forward, whose weights stay in `weights`.
void dispatch_forward_weights(const Problem& problem, const ForwardOutputs& outputs, const TensorView& weights,
                              const Request& request);

}  // namespace nearfield::core
