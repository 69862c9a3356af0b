// An engine of explicit weights: its products, and the softmax of the rows between them.
#pragma once

#include "engine/cpu/cpu.h"
#include "engine/unfused/unfused.h"

namespace nearfield::core {

// isa: resolved; the reference has no use for it.
struct UnfusedOperators {
  void (*pairs)(const UnfusedProblem& problem, const PairsCall& call, Isa isa);
  void (*gather)(const UnfusedProblem& problem, const GatherCall& call, Isa isa);
  void (*scatter)(const UnfusedProblem& problem, const ScatterCall& call, Isa isa);
  void (*bias)(const UnfusedProblem& problem, const BiasCall& call, Isa isa);
  // Rows of `weights` become their softmax, in place; logsumexp (batch, *grid, heads) may be null.
  void (*softmax)(const UnfusedProblem& problem, const TensorView& weights, const TensorView& logsumexp, Isa isa);
  // Gradients of the softmax p in `weights`, in place, become those of the logits. dlogsumexp may be null.
  void (*softmax_gradient)(const UnfusedProblem& problem, const TensorView& p, const TensorView& weights,
                           const TensorView& dlogsumexp, Isa isa);
};

// Float64, for views of any dtype; one query at a time; tiles against haloed boxes of keys.
extern const UnfusedOperators kReferenceOperators;
extern const UnfusedOperators kNaiveOperators;
extern const UnfusedOperators kGemmOperators;

}  // namespace nearfield::core
