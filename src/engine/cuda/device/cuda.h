// The words in which kernels are written, for the GPU. tests/cuda_emulator/device.h has the same words for a CPU, where
// every access is checked; docs/cuda.md says what each one checks. No standard headers, so that NVRTC takes it too.
//
//   thread_index(), block_index(), block_count()
//   synchronize()           all threads of the block
//   synchronize_and(x)      the same; whether x holds for all of them
//   all_of_warp(x)          whether x holds for all 32 lanes
//   shuffle_xor(v, mask)    v of the lane whose number differs in the mask's bits
//   load(p), store(p, v)    global memory
//   shared<S>()             the block's dynamic shared memory as an S, of SharedArrays
#pragma once

#include "engine/cuda/device/types.h"

namespace nearfield::device {

__device__ __forceinline__ int thread_index() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ long long block_index() { return blockIdx.x; }
__device__ __forceinline__ long long block_count() { return gridDim.x; }

__device__ __forceinline__ void synchronize() { __syncthreads(); }
__device__ __forceinline__ bool synchronize_and(bool x) { return __syncthreads_and(x) != 0; }
__device__ __forceinline__ bool all_of_warp(bool x) { return __all_sync(0xffffffffu, x) != 0; }
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

template <class T>
__device__ __forceinline__ T load(const T* pointer) {
  return __ldg(pointer);
}
// Of what this launch writes.
template <class T>
__device__ __forceinline__ void store(T* pointer, T value) {
  *pointer = value;
}

template <class T, int kCount>
struct alignas(16) SharedArray {
  T data[kCount];
  __device__ __forceinline__ T get(int i) const { return data[i]; }
  __device__ __forceinline__ void set(int i, T value) { data[i] = value; }
  // i: a multiple of what a pack holds.
  __device__ __forceinline__ Pack<T> pack(int i) const { return *reinterpret_cast<const Pack<T>*>(data + i); }
};

template <class S>
__device__ __forceinline__ S& shared() {
  extern __shared__ __align__(16) unsigned char memory[];
  return *reinterpret_cast<S*>(memory);
}

__device__ __forceinline__ float infinity(float) { return __int_as_float(0x7f800000); }
__device__ __forceinline__ double infinity(double) { return __longlong_as_double(0x7ff0000000000000); }
__device__ __forceinline__ float exp2_of(float x) { return exp2f(x); }
__device__ __forceinline__ double exp2_of(double x) { return exp2(x); }
__device__ __forceinline__ float log_of(float x) { return logf(x); }
__device__ __forceinline__ double log_of(double x) { return log(x); }
__device__ __forceinline__ double log2_of(double x) { return log2(x); }
__device__ __forceinline__ float tanh_of(float x) { return tanhf(x); }
__device__ __forceinline__ double tanh_of(double x) { return tanh(x); }
__device__ __forceinline__ float max_of(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ double max_of(double a, double b) { return fmax(a, b); }
__device__ __forceinline__ float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) { return __fma_rn(a, b, c); }

__device__ __forceinline__ float float_of_bits(unsigned bits) { return __uint_as_float(bits); }
__device__ __forceinline__ unsigned bits_of_float(float x) { return __float_as_uint(x); }
__device__ __forceinline__ float float_of_half(unsigned short bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}
__device__ __forceinline__ unsigned short half_of_float(float x) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}

}  // namespace nearfield::device
