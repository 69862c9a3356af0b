// Results against the reference's, with the tolerances of the library's promise:
//
//   dtype      out: max error   out: relative L2   logsumexp: max error   gradients: relative L2
//   float64    1e-12            1e-12              1e-12 (1 + |lse|)      1e-11
//   float32    2e-5             2e-5               2e-5  (1 + |lse|)      1e-5
//   bfloat16   2e-2             4e-3               1e-3  (1 + |lse|)      1e-2
//   float16    3e-3             1e-3               1e-3  (1 + |lse|)      3e-3
//
// for inputs of about N(0, 1) and |logits| <= 16; beyond, all grow with the largest |logit| / 16. A relative L2 error
// is measured against max(|ref|, 1e-2 |ref computed with absolute values|), since sums may cancel; a gradient's largest
// error must also stay below 4 times the relative tolerance times that maximum taken over elements. NaN equals only
// NaN, an infinity only itself and what is beyond the actual dtype's range. The dtype is the query's, even where an
// output has another.
#pragma once

#include <string>
#include <vector>

#include "engine/problem.h"

namespace nearfield::core {

// One row of the table, before it grows.
struct Promise {
  double out_max = 0, out_l2 = 0, logsumexp = 0, gradient_l2 = 0;
  double smallest = 0;  // what may underflow to 0
};
Promise promise_of(DType dtype);

// A contiguous float64 tensor that owns its memory.
struct DenseTensor {
  std::vector<double> values;
  TensorView view;  // into values; null where the tensor is absent

  DenseTensor() = default;
  // The sizes of `like`, filled with NaN; null if `like` is. shared_batch: dimension 0 has stride 0.
  explicit DenseTensor(const TensorView& like, bool shared_batch = false);
  DenseTensor(DenseTensor&&) = default;
  DenseTensor& operator=(DenseTensor&&) = default;
};

struct Comparison {
  std::string failure;     // "" if all agree; else the tensor, the first differing element and both values
  double max_error = 0;    // largest of all outputs, of finite elements
  double relative_l2 = 0;  // likewise
  bool agrees() const { return failure.empty(); }
};

// What out and logsumexp should be; computed once, compared with any number of engines.
class ExpectedForward {
 public:
  explicit ExpectedForward(const Problem& problem);  // keeps a reference to it
  Comparison compare(const ForwardOutputs& actual) const;

  const DenseTensor& out() const { return out_; }
  const DenseTensor& logsumexp() const { return logsumexp_; }

 private:
  const Problem& problem_;
  DenseTensor out_, logsumexp_;
};

class ExpectedGradients {
 public:
  // `wanted` tells which gradients are asked for, and their shapes; nothing is written to it.
  ExpectedGradients(const Problem& problem, const BackwardInputs& inputs, const Gradients& wanted);
  Comparison compare(const Gradients& actual) const;

 private:
  const Problem& problem_;
  const BackwardInputs& inputs_;
  std::vector<DenseTensor> gradients_;  // in the order of Gradients
};

// Largest |score| over all pairs that count: what tolerances grow with.
double largest_logit(const Problem& problem);

// The plain comparison under the two above.
struct Tolerance {
  double max_error = 0;         // absolute, per element
  double max_error_growth = 0;  // times |expected|, added to it
  double relative_l2 = 0;       // 0: not asserted
  double l2_floor = 0;          // the norm that relative_l2 refers to is at least this
  double l2_slack = 0;          // absolute, added to the allowed norm: underflow of small dtypes
};
// Both views have the same sizes; `actual` any dtype and strides.
Comparison compare_tensors(const std::string& name, const TensorView& actual, const TensorView& expected,
                           const Tolerance& tolerance);

}  // namespace nearfield::core
