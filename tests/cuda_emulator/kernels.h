// The library's kernels, compiled for the emulator.
#pragma once

#include "emulator.h"
#include "engine/cuda/table.h"

namespace nearfield::emulator {

// arguments: as the launch's kind has them. At most most_blocks blocks.
void run_kernel(Emulator& emulator, const cuda::Launch& launch, const void* arguments, int64_t most_blocks);

}  // namespace nearfield::emulator
