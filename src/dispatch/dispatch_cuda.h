// The door to the GPU: everything about a call that is not about its shapes is checked here, before anything is queued.
// Functions take the table of a CUDA runtime; cuda_runtime() has the loaded library's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/cuda/table.h"
#include "engine/problem.h"

namespace nearfield::core {

struct CudaRequest {
  int device = 0;
  void* stream = nullptr;
  void* workspace = nullptr;
  size_t workspace_size = 0;
};

// Errors: unsupported, what is missing.
const cuda::Table& cuda_runtime();
// What stands in the way of using a GPU; "" if nothing does.
std::string cuda_obstacle();

// Bytes at any alignment; the plans are on the device afterwards. wanted: of a backward; none of a forward.
// Errors: invalid_argument for a device that is not there, unsupported for one that is too old, those of device_plan().
size_t dispatch_cuda_workspace(const cuda::Table& table, const Problem& problem, const GradientsWanted& wanted,
                               int device);

// Errors: also invalid_argument for memory that is the host's or another device's, misaligned elements and a workspace
// that is too small; internal_error for an error that an earlier call has left behind.
void dispatch_cuda_forward(const cuda::Table& table, const Problem& problem, const ForwardOutputs& outputs,
                           const CudaRequest& request);
void dispatch_cuda_backward(const cuda::Table& table, const Problem& problem, const BackwardInputs& inputs,
                            const Gradients& gradients, const CudaRequest& request);

}  // namespace nearfield::core
