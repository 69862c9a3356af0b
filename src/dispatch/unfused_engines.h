// The engines with explicit weights as engines of whole attention: rows of dispatch.cpp's table, for naive and gemm.
#pragma once

#include "dispatch/dispatch.h"
#include "engine/unfused/operators.h"

namespace nearfield::core {

// Null for an engine without.
const UnfusedOperators* operators_of(EngineId engine);
// The instruction set asked for, or the best; unsupported if this machine lacks it.
Isa checked_unfused_isa(Isa isa);

template <EngineId Id>
size_t unfused_workspace(const Problem& problem, const Request& request, const GradientsWanted& wanted);
template <EngineId Id>
void explain_unfused(const Problem& problem, const Request& request, const GradientsWanted& wanted,
                     nf_explanation& explanation);
template <EngineId Id>
void run_unfused(const Problem& problem, const ForwardOutputs& outputs, const Request& request);
template <EngineId Id>
void run_unfused_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                          const Request& request);

// The forward with weights that the caller wants to have; a null view: nobody does.
void run_unfused_forward(const UnfusedOperators& operators, Isa isa, const Problem& problem,
                         const ForwardOutputs& outputs, const TensorView& weights, const Request& request);

// What dispatch.cpp has for all engines.
inline constexpr size_t kWorkspaceAlignment = 64;  // bytes; what cpu_forward asks for
// The caller's workspace, its start moved up to the alignment; nullptr if there is none. query: the function that says
// how much is needed.
void* aligned_workspace(const Request& request, size_t needed, const char* query);
void set_reason(nf_explanation& explanation, const std::string& reason);
// `of_one` is for one (batch, head).
void set_statistics(nf_explanation& explanation, const Shape& shape, const PlanStatistics& of_one);
void set_tile(nf_explanation& explanation, const TileShape& shape);

}  // namespace nearfield::core
