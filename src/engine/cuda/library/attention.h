// The attention kernels as nvcc compiles them, one file for each type of sums.
#pragma once

#include <cuda_runtime_api.h>

#include "engine/cuda/device/cuda.h"
#include "engine/cuda/simt/attention.h"
#include "engine/cuda/table.h"

namespace nearfield::cuda {

template <class S, simt::Use kUse>
__global__ void __launch_bounds__(simt::kThreads) attention(const __grid_constant__ simt::Arguments arguments) {
  simt::attend<S, kUse>(arguments);
}

template <class S, simt::Use kUse>
void queue(const simt::Arguments& arguments, unsigned blocks, cudaStream_t stream) {
  static_assert(sizeof(simt::Memory<S>) <= 48 << 10, "more needs an opt-in");
  attention<S, kUse><<<blocks, simt::kThreads, sizeof(simt::Memory<S>), stream>>>(arguments);
}

template <class S>
void queue(simt::Use use, const simt::Arguments& arguments, unsigned blocks, cudaStream_t stream) {
  static_assert(S::kNear == near_rows(sizeof(typename S::A) == 8) && S::kOut == kOutputChannels);
  switch (use) {
    case simt::Use::forward: return queue<S, simt::Use::forward>(arguments, blocks, stream);
    case simt::Use::delta: return queue<S, simt::Use::delta>(arguments, blocks, stream);
    case simt::Use::dquery: return queue<S, simt::Use::dquery>(arguments, blocks, stream);
    case simt::Use::dkey: return queue<S, simt::Use::dkey>(arguments, blocks, stream);
    case simt::Use::dvalue: return queue<S, simt::Use::dvalue>(arguments, blocks, stream);
    case simt::Use::dweights: return queue<S, simt::Use::dweights>(arguments, blocks, stream);
  }
}

}  // namespace nearfield::cuda
