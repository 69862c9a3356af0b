#include "engine/cuda/library/attention.h"
#include "engine/cuda/library/launch.h"
#include "engine/cuda/simt/kernels.h"

namespace nearfield::cuda {

void queue_double_attention(simt::Use use, const simt::Arguments& arguments, unsigned blocks, cudaStream_t stream) {
  queue<simt::DoubleShape>(use, arguments, blocks, stream);
}

}  // namespace nearfield::cuda
