#include "kernels.h"

#include <algorithm>
#include <type_traits>

#include "device.h"
#include "engine/cuda/simt/kernels.h"

namespace nearfield::emulator {
namespace {

using namespace simt;

template <class S>
void attend(Emulator& emulator, const cuda::Launch& launch, const Arguments& arguments, int64_t blocks) {
  const auto run = [&]<Use kUse>(std::integral_constant<Use, kUse>) {
    emulator.launch(blocks, kThreads, sizeof(Memory<S>), [&] { simt::attend<S, kUse>(arguments); });
  };
  switch (launch.use) {
    case Use::forward: return run(std::integral_constant<Use, Use::forward>());
    case Use::delta: return run(std::integral_constant<Use, Use::delta>());
    case Use::dquery: return run(std::integral_constant<Use, Use::dquery>());
    case Use::dkey: return run(std::integral_constant<Use, Use::dkey>());
    case Use::dvalue: return run(std::integral_constant<Use, Use::dvalue>());
    case Use::dweights: return run(std::integral_constant<Use, Use::dweights>());
  }
}

template <class S>
void run(Emulator& emulator, const cuda::Launch& launch, const void* arguments, int64_t blocks) {
  using A = typename S::A;
  switch (launch.kind) {
    case cuda::KernelKind::attention:
      return attend<S>(emulator, launch, *static_cast<const Arguments*>(arguments), blocks);
    case cuda::KernelKind::prepare_weights:
      return emulator.launch(blocks, kThreads, 0,
                             [&] { prepare_weights<A>(*static_cast<const PrepareArguments*>(arguments)); });
    case cuda::KernelKind::prepare_bias:
      return emulator.launch(blocks, kThreads, 0,
                             [&] { prepare_bias<A>(*static_cast<const PrepareArguments*>(arguments)); });
    case cuda::KernelKind::finish:
      return emulator.launch(blocks, kThreads, 0,
                             [&] { finish_sums<A>(*static_cast<const FinishArguments*>(arguments)); });
    case cuda::KernelKind::bias_gradient:
      return emulator.launch(blocks, kThreads, kPairs * sizeof(double),
                             [&] { sum_bias_gradient<A>(*static_cast<const BiasGradientArguments*>(arguments)); });
  }
}

}  // namespace

void run_kernel(Emulator& emulator, const cuda::Launch& launch, const void* arguments, int64_t most_blocks) {
  const int64_t blocks = std::min<int64_t>(launch.blocks, most_blocks);
  if (launch.is_double != 0) {
    run<DoubleShape>(emulator, launch, arguments, blocks);
  } else {
    run<FloatShape>(emulator, launch, arguments, blocks);
  }
}

}  // namespace nearfield::emulator
