#include "engine/unfused/attention.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"

namespace nearfield::core {
namespace {

PairsCall logits_of(const Problem& problem, const TensorView& weights) {
  return {.near = problem.query,
          .far = problem.key,
          .additional = problem.modifiers.additional_keys,
          .bias = problem.modifiers.bias,
          .scale = problem.scale,
          .hidden = -__builtin_huge_val(),
          .weights = weights};
}

}  // namespace

size_t bytes_of_weights(const UnfusedAttention& attention, int tensors) {
  const Shape& shape = attention.problem.shape;
  const double rows =
      static_cast<double>(shape.batch) * static_cast<double>(shape.tokens()) * static_cast<double>(shape.heads);
  const double bytes =
      rows * static_cast<double>(attention.problem.columns()) * static_cast<double>(size_of(attention.dtype)) * tensors;
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (bytes > memory)
    throw Error(Status::out_of_memory,
                concat("explicit weights: ", tensors == 1 ? "" : "two tensors of ", shape.batch, " x ", shape.tokens(),
                       " queries x ", shape.heads, " heads x ", attention.problem.columns(), " slots of ",
                       name_of(attention.dtype), " take ", bytes / (1 << 30), " GiB: this machine has ",
                       memory / (1 << 30), "; engine=cpu needs none of them"));
  return static_cast<size_t>(bytes);
}

TensorView weights_at(const UnfusedAttention& attention, void* memory) {
  const Shape& shape = attention.problem.shape;
  TensorView view;
  view.data = static_cast<std::byte*>(memory);
  view.dtype = attention.dtype;
  view.rank = shape.rank + 3;
  view.sizes[0] = shape.batch;
  for (int a = 0; a < shape.rank; ++a) view.sizes[1 + a] = shape.grid[a];
  view.sizes[shape.rank + 1] = shape.heads;
  view.sizes[shape.rank + 2] = attention.problem.columns();
  int64_t stride = 1;
  for (int d = view.rank - 1; d >= 0; --d) {
    view.strides[d] = stride;
    stride *= view.sizes[d];
  }
  return view;
}

void attend(const UnfusedAttention& attention, const Problem& problem, const ForwardOutputs& outputs,
            const TensorView& weights) {
  const UnfusedOperators& operators = *attention.operators;
  operators.pairs(attention.problem, logits_of(problem, weights), attention.isa);
  operators.softmax(attention.problem, weights, outputs.logsumexp, attention.isa);
  operators.gather(attention.problem,
                   {.weights = weights,
                    .far = problem.value,
                    .additional = problem.modifiers.additional_values,
                    .near = outputs.out},
                   attention.isa);
}

void attend_backward(const UnfusedAttention& attention, const Problem& problem, const BackwardInputs& inputs,
                     const Gradients& gradients, const TensorView& weights, const TensorView& dweights) {
  const UnfusedOperators& operators = *attention.operators;
  const UnfusedProblem& unfused = attention.problem;
  const Isa isa = attention.isa;
  operators.pairs(unfused, logits_of(problem, weights), isa);
  operators.softmax(unfused, weights, {}, isa);
  if (gradients.value || gradients.additional_values)
    operators.scatter(
        unfused,
        {.weights = weights, .near = inputs.dout, .far = gradients.value, .additional = gradients.additional_values},
        isa);
  if (!wanted_of(gradients).scores()) return;
  operators.pairs(unfused,
                  {.near = inputs.dout,
                   .far = problem.value,
                   .additional = problem.modifiers.additional_values,
                   .weights = dweights},
                  isa);
  operators.softmax_gradient(unfused, weights, dweights, inputs.dlogsumexp, isa);
  if (gradients.query)
    operators.gather(unfused,
                     {.weights = dweights,
                      .far = problem.key,
                      .additional = problem.modifiers.additional_keys,
                      .factor = problem.scale,
                      .near = gradients.query},
                     isa);
  if (gradients.key || gradients.additional_keys)
    operators.scatter(unfused,
                      {.weights = dweights,
                       .near = problem.query,
                       .factor = problem.scale,
                       .far = gradients.key,
                       .additional = gradients.additional_keys},
                      isa);
  if (gradients.bias) operators.bias(unfused, {.weights = dweights, .bias = gradients.bias}, isa);
}

}  // namespace nearfield::core
