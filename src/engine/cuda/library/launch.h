// What the files of libnearfield_cuda.so offer each other. Each queues a kernel; cudaGetLastError() says how it went.
#pragma once

#include <cuda_runtime_api.h>

#include "engine/cuda/table.h"

namespace nearfield::cuda {

void queue_float_attention(simt::Use use, const simt::Arguments& arguments, unsigned blocks, cudaStream_t stream);
void queue_double_attention(simt::Use use, const simt::Arguments& arguments, unsigned blocks, cudaStream_t stream);
void queue_small(const Launch& launch, const void* arguments, unsigned blocks, cudaStream_t stream);

}  // namespace nearfield::cuda
