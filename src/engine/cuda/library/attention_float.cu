#include "engine/cuda/library/attention.h"
#include "engine/cuda/library/launch.h"
#include "engine/cuda/simt/kernels.h"

namespace nearfield::cuda {

void queue_float_attention(simt::Use use, const simt::Arguments& arguments, unsigned blocks, cudaStream_t stream) {
  queue<simt::FloatShape>(use, arguments, blocks, stream);
}

}  // namespace nearfield::cuda
