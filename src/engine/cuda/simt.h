// The SIMT engine: every pattern and modifier on any GPU from compute capability 7.5, forward and backward, as launches
// on a stream. It multiplies without tensor cores. Results are the same bits in every run: nobody adds to another
// block's sums.
//
// Pointers of the problem are the device's. Nothing is read, nothing is waited for, and no memory is taken but for a
// plan that the device has not got yet.
#pragma once

#include <cstddef>

#include "engine/cuda/table.h"
#include "engine/problem.h"

namespace nearfield::core {

struct CudaTarget {
  const cuda::Table* table = nullptr;
  int device = 0;
  void* stream = nullptr;
  std::byte* workspace = nullptr;  // of simt_workspace() bytes, aligned to kCudaAlignment
};
inline constexpr size_t kCudaAlignment = 256;

// Bytes. wanted: of a backward; none of a forward.
size_t simt_workspace(const Problem& problem, const GradientsWanted& wanted);
// Uploads the plans that a call will use, so that the call itself takes no memory. Errors: those of device_plan().
void simt_prepare(const Problem& problem, const GradientsWanted& wanted, const CudaTarget& target);

// Errors: those of device_plan(); of a launch internal_error, or unsupported if there is no code for the device.
void simt_forward(const Problem& problem, const ForwardOutputs& outputs, const CudaTarget& target);
void simt_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                   const CudaTarget& target);

}  // namespace nearfield::core
