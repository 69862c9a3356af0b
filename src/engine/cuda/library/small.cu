#include "engine/cuda/device/cuda.h"
#include "engine/cuda/library/launch.h"
#include "engine/cuda/simt/small.h"

namespace nearfield::cuda {
namespace {

template <class A>
__global__ void __launch_bounds__(simt::kThreads) weights_kernel(const __grid_constant__ simt::PrepareArguments a) {
  simt::prepare_weights<A>(a);
}
template <class A>
__global__ void __launch_bounds__(simt::kThreads) bias_kernel(const __grid_constant__ simt::PrepareArguments a) {
  simt::prepare_bias<A>(a);
}
template <class A>
__global__ void __launch_bounds__(simt::kThreads) finish_kernel(const __grid_constant__ simt::FinishArguments a) {
  simt::finish_sums<A>(a);
}
template <class A>
__global__ void __launch_bounds__(simt::kThreads)
    bias_gradient_kernel(const __grid_constant__ simt::BiasGradientArguments a) {
  simt::sum_bias_gradient<A>(a);
}

template <class A>
void queue(const Launch& launch, const void* arguments, unsigned blocks, cudaStream_t stream) {
  constexpr int kThreads = simt::kThreads;
  switch (launch.kind) {
    case KernelKind::attention: return;
    case KernelKind::prepare_weights:
      weights_kernel<A><<<blocks, kThreads, 0, stream>>>(*static_cast<const simt::PrepareArguments*>(arguments));
      return;
    case KernelKind::prepare_bias:
      bias_kernel<A><<<blocks, kThreads, 0, stream>>>(*static_cast<const simt::PrepareArguments*>(arguments));
      return;
    case KernelKind::finish:
      finish_kernel<A><<<blocks, kThreads, 0, stream>>>(*static_cast<const simt::FinishArguments*>(arguments));
      return;
    case KernelKind::bias_gradient:
      bias_gradient_kernel<A><<<blocks, kThreads, simt::kPairs * sizeof(double), stream>>>(
          *static_cast<const simt::BiasGradientArguments*>(arguments));
      return;
  }
}

}  // namespace

void queue_small(const Launch& launch, const void* arguments, unsigned blocks, cudaStream_t stream) {
  if (launch.is_double != 0) {
    queue<double>(launch, arguments, blocks, stream);
  } else {
    queue<float>(launch, arguments, blocks, stream);
  }
}

}  // namespace nearfield::cuda
