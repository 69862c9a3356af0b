// libnearfield_cuda.so's table over the CUDA runtime. Nothing here throws.
#include "engine/cuda/table.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>

#include "engine/cuda/library/launch.h"

namespace nearfield::cuda {
namespace {

// This thread's device for as long as it lives; the one before it comes back.
class Selected {
 public:
  explicit Selected(int device) {
    error_ = cudaGetDevice(&before_);
    if (error_ == cudaSuccess && before_ != device) error_ = cudaSetDevice(device);
  }
  ~Selected() {
    if (before_ >= 0) cudaSetDevice(before_);
  }
  Selected(const Selected&) = delete;
  Selected& operator=(const Selected&) = delete;
  cudaError_t error() const { return error_; }

 private:
  int before_ = -1;
  cudaError_t error_;
};

// An error that we return is not left behind for the next call to find.
int returned(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return error;
}

int device_count(int* count) { return returned(cudaGetDeviceCount(count)); }

int device_facts(int device, DeviceFacts* facts) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) return returned(error);
  std::snprintf(facts->name, sizeof facts->name, "%s", properties.name);
  facts->major = properties.major;
  facts->minor = properties.minor;
  return 0;
}

int memory_of(const void* pointer, MemoryKind* kind, int* device) {
  cudaPointerAttributes attributes;
  const cudaError_t error = cudaPointerGetAttributes(&attributes, pointer);
  if (error != cudaSuccess) return returned(error);
  *kind = attributes.type == cudaMemoryTypeDevice    ? MemoryKind::device
          : attributes.type == cudaMemoryTypeManaged ? MemoryKind::managed
                                                     : MemoryKind::host;
  *device = attributes.device;
  return 0;
}

// On a stream of its own, so that nobody else's work is waited for.
cudaError_t copy_to(void* memory, const void* content, size_t size) {
  cudaStream_t stream;
  cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) return error;
  error = cudaMemcpyAsync(memory, content, size, cudaMemcpyHostToDevice, stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
  cudaStreamDestroy(stream);
  return error;
}

int upload(int device, const void* content, size_t size, void** memory) {
  const Selected selected(device);
  if (selected.error() != cudaSuccess) return returned(selected.error());
  cudaError_t error = cudaMalloc(memory, std::max<size_t>(size, 1));
  if (error != cudaSuccess) return returned(error);
  error = copy_to(*memory, content, size);
  if (error != cudaSuccess) cudaFree(*memory);
  return returned(error);
}

int release(int device, void* memory) {
  const Selected selected(device);
  return returned(selected.error() != cudaSuccess ? selected.error() : cudaFree(memory));
}

int download(int device, const void* memory, size_t size, void* content) {
  const Selected selected(device);
  if (selected.error() != cudaSuccess) return returned(selected.error());
  const cudaError_t error = cudaDeviceSynchronize();
  return returned(error != cudaSuccess ? error : cudaMemcpy(content, memory, size, cudaMemcpyDeviceToHost));
}

// Left as it is: it is somebody else's.
int earlier_error(int device) {
  const Selected selected(device);
  return cudaPeekAtLastError();
}

int launch(int device, void* stream, const Launch* launch, const void* arguments) {
  const Selected selected(device);
  if (selected.error() != cudaSuccess) return returned(selected.error());
  constexpr long long kMostBlocks = 0x7fffffff;
  const auto blocks = static_cast<unsigned>(std::min(launch->blocks, kMostBlocks));
  const auto queue = static_cast<cudaStream_t>(stream);
  if (launch->kind != KernelKind::attention) {
    queue_small(*launch, arguments, blocks, queue);
  } else if (launch->is_double != 0) {
    queue_double_attention(launch->use, *static_cast<const simt::Arguments*>(arguments), blocks, queue);
  } else {
    queue_float_attention(launch->use, *static_cast<const simt::Arguments*>(arguments), blocks, queue);
  }
  return cudaGetLastError();
}

Trouble describe(int code, const char** message) {
  const auto error = static_cast<cudaError_t>(code);
  *message = cudaGetErrorString(error);
  switch (error) {
    case cudaSuccess: return Trouble::none;
    case cudaErrorMemoryAllocation: return Trouble::no_memory;
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch: return Trouble::no_device;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorUnsupportedPtxVersion: return Trouble::no_kernel;
    default: return Trouble::other;
  }
}

constexpr Table kTable = {kTableVersion, CUDART_VERSION, device_count,  device_facts, memory_of, upload,
                          release,       download,       earlier_error, launch,       describe};

}  // namespace
}  // namespace nearfield::cuda

extern "C" __attribute__((visibility("default"))) const nearfield::cuda::Table* nearfield_cuda_table() {
  return &nearfield::cuda::kTable;
}
