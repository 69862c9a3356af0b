// The oracle of the unfused operators: float64, one query at a time, slots from pattern/windows.h.
#pragma once

#include "engine/unfused/unfused.h"

namespace nearfield::core {

void reference_pairs(const UnfusedProblem& problem, const PairsCall& call);
void reference_gather(const UnfusedProblem& problem, const GatherCall& call);
void reference_scatter(const UnfusedProblem& problem, const ScatterCall& call);
void reference_bias(const UnfusedProblem& problem, const BiasCall& call);

// The same sums over absolute values: the scale of rounding errors.
void reference_gather_magnitudes(const UnfusedProblem& problem, const GatherCall& call);
void reference_scatter_magnitudes(const UnfusedProblem& problem, const ScatterCall& call);
void reference_bias_magnitudes(const UnfusedProblem& problem, const BiasCall& call);

}  // namespace nearfield::core
