// What the library needs of a GPU, as a table of functions: libnearfield_cuda.so has one over the CUDA runtime, the
// tests one over an emulator. Only plain data crosses it, so that the two libraries need not share a compiler's C++.
//
// Functions return 0 or an error's code, which `describe` explains.
#pragma once

#include <cstddef>

#include "engine/cuda/simt/arguments.h"

namespace nearfield::cuda {

inline constexpr int kTableVersion = 1;

enum class Trouble : int { none = 0, no_device = 1, no_memory = 2, no_kernel = 3, other = 4 };

enum class MemoryKind : int { host = 0, device = 1, managed = 2 };

struct DeviceFacts {
  char name[256];
  int major, minor;  // compute capability
};

enum class KernelKind : int { attention = 0, prepare_weights = 1, prepare_bias = 2, finish = 3, bias_gradient = 4 };

struct Launch {
  KernelKind kind;
  simt::Use use;     // of attention
  int is_double;     // sums are float64, else float32
  long long blocks;  // at least 1
};

struct Table {
  int version;          // kTableVersion
  int runtime_version;  // of CUDA, 1000*major + 10*minor: the driver must be as new
  int (*device_count)(int* count);
  int (*device_facts)(int device, DeviceFacts* facts);
  // Which memory a pointer is of, and of which device.
  int (*memory_of)(const void* pointer, MemoryKind* kind, int* device);
  // New memory of the device with this content, there when the function returns.
  int (*upload)(int device, const void* content, size_t size, void** memory);
  int (*release)(int device, void* memory);
  // Waits for the device, then copies; for tests.
  int (*download)(int device, const void* memory, size_t size, void* content);
  // An error that an earlier call has left behind, 0 if there is none.
  int (*earlier_error)(int device);
  // Queues a kernel. arguments: those of the kind (simt/arguments.h).
  int (*launch)(int device, void* stream, const Launch* launch, const void* arguments);
  Trouble (*describe)(int code, const char** message);
};

// Near rows of a block of the attention kernel.
constexpr int near_rows(bool is_double) { return is_double ? 32 : 64; }
// Channels of the output that it makes.
inline constexpr int kOutputChannels = 64;

}  // namespace nearfield::cuda
