// Several attentions of the same queries, each over keys of its own, made into the one softmax over all the keys. Part
// i left out_i and lse_i = ln(sum of its exp(logit)); then
//   lse = ln(sum_i exp(lse_i))        w_i = exp(lse_i - lse)        out = sum_i w_i out_i
// and backwards, which needs neither out nor lse,
//   dout_i = w_i dout        dlse_i = w_i (dout.out_i - sum_j w_j dout.out_j + dlse)
//
// A part of lse_i = -inf saw no key: nothing of its out_i is read, and its gradients are 0. If that is true of all, out
// is 0 and lse -inf. Sums are float32, float64 for float64. Rows are computed one by one, each in a fixed order:
// results are the same bits for any number of threads. Element pointers may be misaligned.
#pragma once

#include "engine/problem.h"

namespace nearfield::core {

inline constexpr int kMaxMergeParts = 16;

struct MergePart {
  TensorView out;        // (batch, *grid, heads, head_dim_v)
  TensorView logsumexp;  // (batch, *grid, heads), of the accumulator's dtype
};

struct MergeProblem {
  Shape shape;  // rank, batch, grid, heads and head_dim_v
  int count = 0;
  MergePart parts[kMaxMergeParts];
  Threading threading;
};

// outputs.logsumexp may be null.
void merge_forward(const MergeProblem& problem, const ForwardOutputs& outputs);

// derivatives.logsumexp may be null: zeros. gradients[0..count): null views are not computed.
void merge_backward(const MergeProblem& problem, const MergePart& derivatives, const MergePart* gradients);

}  // namespace nearfield::core
