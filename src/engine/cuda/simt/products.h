// The arithmetic of a block: products of rows over channels, from shared memory. Include a device layer first.
#pragma once

#include "engine/cuda/simt/rows.h"

namespace nearfield::simt {

// Rows of a tensor, channels [first, first + kWidth): zeros beyond `channels` and for rows without a place. `at` holds
// the grid coordinates of row r at [3*r].
template <class A, int kRows, int kStride, int kWidth, class Target, class At>
__device__ inline void load_rows(const Tensor& tensor, Int batch, Int head, const At& at, int first, int channels,
                                 Target& target) {
  const int c = device::thread_index() % kWidth;
#pragma unroll 2
  for (int r = device::thread_index() / kWidth; r < kRows; r += kThreads / kWidth) {
    A value{0};
    if (first + c < channels && at.get(3 * r) != kNowhere) {
      const int place[3] = {at.get(3 * r), at.get(3 * r + 1), at.get(3 * r + 2)};
      value = load_channel<A>(tensor, element_at(tensor, batch, head, place) + first + c);
    }
    target.set(r * kStride + c, value);
  }
}

// scores[i][j] += near row (group + 8 i) . far row (column + 16 j), over `width` channels.
template <class S>
__device__ inline void add_products(const Memory<S>& memory, int width,
                                    typename S::A (&scores)[S::kRowsPerThread][kFar / kColumns]) {
  using A = typename S::A;
  const int group = device::thread_index() / kColumns, column = device::thread_index() % kColumns;
  for (int c = 0; c < width; c += S::kPack) {
    device::Pack<A> far[kFar / kColumns];
#pragma unroll
    for (int j = 0; j < kFar / kColumns; ++j) far[j] = memory.far.pack((column + kColumns * j) * S::kFarStride + c);
#pragma unroll
    for (int i = 0; i < S::kRowsPerThread; ++i) {
      const device::Pack<A> near = memory.near.pack((group + kRowGroups * i) * S::kNearStride + c);
#pragma unroll
      for (int j = 0; j < kFar / kColumns; ++j)
#pragma unroll
        for (int e = 0; e < S::kPack; ++e)
          scores[i][j] = device::multiply_add(near.values[e], far[j].values[e], scores[i][j]);
    }
  }
}

// sums[i][.] += weights of near row i times far rows, the thread's channels: packs at column + 16 j. A weight of 0
// where not everything is seen stands for a pair that does not exist: what its far row holds, NaN too, must not count.
template <class S, bool kAllSeen>
__device__ inline void add_weighted(const Memory<S>& memory,
                                    typename S::A (&sums)[S::kRowsPerThread][S::kChannelsPerThread]) {
  using A = typename S::A;
  constexpr int kPack = S::kPack;
  const int group = device::thread_index() / kColumns, column = device::thread_index() % kColumns;
  for (int k = 0; k < kFar; k += kPack) {
    device::Pack<A> weights[S::kRowsPerThread];
#pragma unroll
    for (int i = 0; i < S::kRowsPerThread; ++i)
      weights[i] = memory.weights.pack((group + kRowGroups * i) * S::kWeightStride + k);
#pragma unroll
    for (int e = 0; e < kPack; ++e)
#pragma unroll
      for (int j = 0; j < S::kChannelsPerThread / kPack; ++j) {
        const device::Pack<A> far = memory.far.pack((k + e) * S::kFarStride + (column + kColumns * j) * kPack);
#pragma unroll
        for (int i = 0; i < S::kRowsPerThread; ++i) {
          const A weight = weights[i].values[e];
          if (!kAllSeen && weight == A{0}) continue;
#pragma unroll
          for (int c = 0; c < kPack; ++c)
            sums[i][j * kPack + c] = device::multiply_add(weight, far.values[c], sums[i][j * kPack + c]);
        }
      }
  }
}

// Over the 16 threads that share a row.
template <class A>
__device__ inline A sum_of_row(A value) {
  for (int mask = kColumns / 2; mask > 0; mask /= 2) value += device::shuffle_xor(value, mask);
  return value;
}
template <class A>
__device__ inline A maximum_of_row(A value) {
  for (int mask = kColumns / 2; mask > 0; mask /= 2) value = device::max_of(value, device::shuffle_xor(value, mask));
  return value;
}

}  // namespace nearfield::simt
