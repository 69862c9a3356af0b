// What naive and gemm share: softmax over rows in memory, and sums over all queries. T is float or double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/cpu/driver.h"
#include "engine/unfused/unfused.h"

namespace nearfield::core {

// weights: contiguous in memory, of the accumulator's dtype.
void softmax_rows(const UnfusedProblem& problem, const TensorView& weights, const TensorView& logsumexp, Isa isa);
void softmax_gradient_rows(const UnfusedProblem& problem, const TensorView& p, const TensorView& weights,
                           const TensorView& dlogsumexp, Isa isa);

// dbias; one task for each head, which goes through its queries in order, in float64.
void sum_bias(const UnfusedProblem& problem, const BiasCall& call, Isa isa);

// What scatter gives the additional keys: a task for each image and head of keys, in order.
void scatter_additional(const UnfusedProblem& problem, const ScatterCall& call);

// Where the gradients of keys are summed: in the accumulator's dtype.
class FarSums {
 public:
  // Directs sums to `target` where that has the accumulator's dtype, else into memory of its own; zeros either.
  FarSums(const UnfusedProblem& problem, const TensorView& target);
  const TensorView& view() const { return view_; }
  void finish(const UnfusedProblem& problem, Isa isa) const;

 private:
  TensorView target_, view_;
  std::vector<std::byte> memory_;
};

// Element by element; for what is not in the way of anything.
template <class T>
T load_as(const TensorView& tensor, int64_t element) {
  return static_cast<T>(load_double(tensor.at(element), tensor.dtype));
}

}  // namespace nearfield::core
