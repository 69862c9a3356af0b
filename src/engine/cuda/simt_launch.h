// What forward and backward of the SIMT engine share: the workspace's parts, views as kernels read them, launches.
#pragma once

#include <algorithm>

#include "base/checked.h"
#include "engine/cuda/device_plan.h"
#include "engine/cuda/simt.h"

namespace nearfield::core {

inline bool is_double(const Problem& problem) { return problem.query.dtype == DType::float64; }
// Views have a rank where they are given, even if their memory is not known.
inline bool is_present(const TensorView& view) { return view.rank > 0; }

inline constexpr int64_t kAdditionalChunk = 1024;  // queries whose share of additional keys' gradients is a partial sum

// Offsets into the workspace; those of parts that are not needed equal the end of the part before.
struct SimtWorkspace {
  size_t log_weights, log_densities, bias, delta, weights, additional, end;
  bool has_weights;     // log_weights: of a mask, weights, the sphere
  bool shared_weights;  // by all images
  int64_t chunks;       // of additional keys' partial sums

  SimtWorkspace(const Problem& problem, const GradientsWanted& wanted);
};

// (batch, *grid, heads, ...), or without heads; and (batch, M, heads_kv, ...).
simt::Tensor grid_tensor(const TensorView& view, int grid_rank);
simt::Tensor additional_tensor(const TensorView& view);
// (heads, 2e-1 per axis).
simt::Tensor bias_tensor(const TensorView& view);
// Contiguous (batch, *grid, heads, channels) in the workspace.
simt::Tensor own_tensor(void* data, bool is_double, const int64_t* grid, int64_t heads, int64_t channels);

// Sizes of one head's table of bias.
struct BiasTable {
  int sizes[3] = {1, 1, 1}, strides[3] = {};
  int64_t entries = 1;
  int middle = 0;
  explicit BiasTable(const TensorView& bias);
};

class SimtLaunches {
 public:
  SimtLaunches(const Problem& problem, const GradientsWanted& wanted, const CudaTarget& target);

  // log2 of weights and bias, which all others read.
  void prepare(bool wants_densities) const;
  // What all uses share. transposed: near are keys.
  simt::Arguments arguments(bool transposed) const;
  // Sets the blocks and launches. channels: of the output, 0 if there is none.
  void attend(simt::Use use, simt::Arguments& arguments, int64_t channels) const;
  void finish(simt::FinishArguments& arguments) const;
  void launch(cuda::KernelKind kind, simt::Use use, int64_t blocks, const void* arguments) const;

  const Problem& problem;
  const SimtWorkspace workspace;
  std::byte* at(size_t offset) const { return target_.workspace + offset; }
  const DevicePlan& plan(bool transposed) const { return plans_[transposed ? 1 : 0]; }

 private:
  const CudaTarget& target_;
  DevicePlan plans_[2];  // forward, transposed
};

// Which of the two plans a call needs.
inline bool needs_plan(const GradientsWanted& wanted, bool transposed) {
  return transposed ? wanted.key || wanted.value || wanted.key_weights : true;
}

}  // namespace nearfield::core
