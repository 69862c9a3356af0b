// Random attention problems for property tests and for the command line's `check`: a seed and options give the same
// problem everywhere.
//
// What is drawn: rank, grid, batch, heads, grouped heads, odd and large head dims, dtype; per axis window (beyond the
// axis too), stride, dilation, boundary, causality; windows and shifts; forms along orders; layouts (heads-last,
// heads-first, packed query/key/value in one buffer, padded, backwards, broadcast inputs, misaligned bytes); scale (0
// and negative too); modifiers; sometimes a batch, an axis or M of 0. Values are N(0, 1) rounded to the dtype; gaps
// between elements hold NaN. Tensors with channels keep those contiguous; logsumexp, key_mask, key_weights and bias
// have any strides.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "check/guarded_buffer.h"
#include "engine/problem.h"

namespace nearfield::core {

// What may be drawn. Each modifier that is allowed comes in about a third of the problems.
struct RandomProblemOptions {
  std::vector<DType> dtypes = {DType::float64, DType::float32, DType::bfloat16, DType::float16};
  bool additional_keys = true, key_mask = true, key_weights = true, bias = true, softcap = true;
  bool neighborhoods_only = false;   // no windows, nothing along an order, no sphere
  bool spheres = true;               // now and then one
  bool zero_sizes = true;            // now and then a batch or an axis of length 0
  bool gradients = false;            // draw backward_inputs() and gradients() as well
  bool all_gradients = false;        // else each may be left out
  int64_t max_head_dim = 512;        // at least 1
  int64_t max_pairs = 200000;        // batch * heads * sum of window sizes, additional keys included
  int64_t max_multiplies = 1000000;  // pairs * (head_dim + head_dim_v + 16): about a millisecond of a plain engine
  Threading threading{};
};

class RandomProblem {
 public:
  RandomProblem(uint64_t seed, const RandomProblemOptions& options);
  RandomProblem(RandomProblem&&) = default;
  RandomProblem& operator=(RandomProblem&&) = default;

  // Views into buffers that this object owns. Tests may change the problem (e.g. write a NaN) before poison().
  Problem& problem() { return problem_; }
  const ForwardOutputs& outputs() const { return outputs_; }
  // out and logsumexp of the reference, rounded to their dtypes, beside random dout and, mostly, dlogsumexp.
  const BackwardInputs& backward_inputs() const { return inputs_; }
  const Gradients& gradients() const { return gradients_; }

  // Before each run: fills the outputs and gradients with NaN and remembers everything else.
  void poison();
  // After a run: "" if nothing but output elements was written, else what was. Element values are not looked at.
  std::string damage() const;

  // One line: the seed and all parameters.
  std::string describe() const;

 private:
  friend class RandomProblemBuilder;
  uint64_t seed_ = 0;
  Problem problem_;
  ForwardOutputs outputs_;
  BackwardInputs inputs_;
  Gradients gradients_;
  std::vector<std::unique_ptr<GuardedBuffer>> sources_, targets_;
};

// Pairs of one (batch, head), without additional keys.
int64_t count_pairs(const Pattern& pattern);

}  // namespace nearfield::core
