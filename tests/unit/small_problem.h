// Hand-made 1-D float64 problems for targeted tests: batch 1 unless said otherwise, everything contiguous.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "engine/problem.h"

namespace nearfield::test {

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The vector must outlive the view.
inline core::TensorView view_of(std::vector<double>& values, const std::vector<int64_t>& sizes) {
  core::TensorView view;
  values.reserve(1);  // an empty tensor is present, too
  view.data = reinterpret_cast<std::byte*>(values.data());
  view.dtype = core::DType::float64;
  view.rank = static_cast<int>(sizes.size());
  int64_t stride = 1;
  for (int a = view.rank - 1; a >= 0; --a) {
    view.sizes[a] = sizes[static_cast<size_t>(a)];
    view.strides[a] = stride;
    stride *= view.sizes[a];
  }
  return view;
}

// Sizes are set first, then allocate() makes tensors of 0 (queries, keys, outs) that tests fill.
struct SmallProblem {
  core::Problem problem;
  core::NeighborhoodAxis axis;
  std::vector<double> query, key, value, out, logsumexp, dout, dlogsumexp;
  std::vector<double> dquery, dkey, dvalue;
  core::ForwardOutputs outputs;
  core::BackwardInputs inputs;
  core::Gradients gradients;

  SmallProblem(int64_t length, int64_t kernel_size) {
    axis.queries = axis.keys = length;
    axis.kernel_size = kernel_size;
    problem.shape.rank = problem.pattern.rank = 1;
    problem.shape.grid[0] = length;
    problem.shape.batch = problem.shape.heads = problem.shape.heads_kv = 1;
    problem.shape.head_dim = problem.shape.head_dim_v = 1;
  }
  SmallProblem(const SmallProblem&) = delete;

  void allocate() {
    const core::Shape& s = problem.shape;
    problem.pattern.axes[0] = axis;
    const auto tensor = [&](std::vector<double>& values, int64_t heads, int64_t channels) {
      values.assign(static_cast<size_t>(s.batch * s.grid[0] * heads * channels), 0.0);
      return view_of(values, {s.batch, s.grid[0], heads, channels});
    };
    problem.query = tensor(query, s.heads, s.head_dim);
    problem.key = tensor(key, s.heads_kv, s.head_dim);
    problem.value = tensor(value, s.heads_kv, s.head_dim_v);
    outputs = {tensor(out, s.heads, s.head_dim_v), tensor(logsumexp, s.heads, 1)};
    inputs = {{}, {}, tensor(dout, s.heads, s.head_dim_v), tensor(dlogsumexp, s.heads, 1)};
    gradients.query = tensor(dquery, s.heads, s.head_dim);
    gradients.key = tensor(dkey, s.heads_kv, s.head_dim);
    gradients.value = tensor(dvalue, s.heads_kv, s.head_dim_v);
  }
};

}  // namespace nearfield::test
