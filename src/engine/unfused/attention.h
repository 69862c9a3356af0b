// Attention by explicit weights: pairs, softmax, gather; and back. What it has beside its tensors is the weights of all
// queries, of the accumulator's dtype: one tensor forward, two backward.
#pragma once

#include <cstddef>

#include "engine/unfused/operators.h"

namespace nearfield::core {

// Of a problem without key_weights, softcap and sphere.
struct UnfusedAttention {
  const UnfusedOperators* operators = nullptr;
  Isa isa = Isa::portable;
  UnfusedProblem problem;
  DType dtype = DType::float32;  // of the weights
};

// Bytes of `tensors` tensors of weights. Error(out_of_memory) that says how many if they exceed this machine's memory,
// or 64 bits.
size_t bytes_of_weights(const UnfusedAttention& attention, int tensors);

// A contiguous tensor of weights at `memory`.
TensorView weights_at(const UnfusedAttention& attention, void* memory);

// weights: as weights_at gives, or the caller's own with contiguous rows of elements aligned to their size.
void attend(const UnfusedAttention& attention, const Problem& problem, const ForwardOutputs& outputs,
            const TensorView& weights);
void attend_backward(const UnfusedAttention& attention, const Problem& problem, const BackwardInputs& inputs,
                     const Gradients& gradients, const TensorView& weights, const TensorView& dweights);

}  // namespace nearfield::core
