// The products of kGemmOperators.
#pragma once

#include "engine/unfused/operators.h"

namespace nearfield::core {

void gemm_pairs(const UnfusedProblem& problem, const PairsCall& call, Isa isa);
void gemm_gather(const UnfusedProblem& problem, const GatherCall& call, Isa isa);
void gemm_scatter(const UnfusedProblem& problem, const ScatterCall& call, Isa isa);

}  // namespace nearfield::core
