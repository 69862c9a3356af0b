// Elements of any type in global memory, and where they lie. Include a device layer first.
#pragma once

#include "engine/cuda/simt/arguments.h"

namespace nearfield::simt {

struct Bfloat16 {
  unsigned short bits;
};
struct Float16 {
  unsigned short bits;
};

__device__ inline float number_of(Bfloat16 x) { return device::float_of_bits(static_cast<unsigned>(x.bits) << 16); }
__device__ inline float number_of(Float16 x) { return device::float_of_half(x.bits); }
__device__ inline float number_of(float x) { return x; }
__device__ inline double number_of(double x) { return x; }

// Round to nearest even; NaN stays NaN.
__device__ inline unsigned short bfloat16_bits(float x) {
  const unsigned bits = device::bits_of_float(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<unsigned short>((bits | 0x400000u) >> 16);
  return static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <class A, class E>
__device__ inline A load_as(const Tensor& tensor, Int element) {
  const E* const at = reinterpret_cast<const E*>(tensor.data) + element;
  if constexpr (sizeof(E) == 2) {
    return static_cast<A>(number_of(E{device::load(reinterpret_cast<const unsigned short*>(at))}));
  } else {
    return static_cast<A>(device::load(at));
  }
}

template <class A>
__device__ inline A load_number(const Tensor& tensor, Int element) {
  switch (tensor.type) {
    case Element::float64: return load_as<A, double>(tensor, element);
    case Element::float32: return load_as<A, float>(tensor, element);
    case Element::bfloat16: return load_as<A, Bfloat16>(tensor, element);
    case Element::float16: return load_as<A, Float16>(tensor, element);
    case Element::boolean:
      return device::load(reinterpret_cast<const unsigned char*>(tensor.data) + element) != 0 ? A{1} : A{0};
  }
  return A{0};
}

// Of a tensor with channels: its type is float64 where sums are, else one of the others.
template <class A>
__device__ inline A load_channel(const Tensor& tensor, Int element) {
  if constexpr (sizeof(A) == 8) {
    return load_as<A, double>(tensor, element);
  } else {
    if (tensor.type == Element::float32) return load_as<A, float>(tensor, element);
    const unsigned short bits = device::load(reinterpret_cast<const unsigned short*>(tensor.data) + element);
    return tensor.type == Element::bfloat16 ? number_of(Bfloat16{bits}) : number_of(Float16{bits});
  }
}

template <class A>
__device__ inline void store_number(const Tensor& tensor, Int element, A value) {
  switch (tensor.type) {
    case Element::float64:
      device::store(reinterpret_cast<double*>(tensor.data) + element, static_cast<double>(value));
      break;
    case Element::float32:
      device::store(reinterpret_cast<float*>(tensor.data) + element, static_cast<float>(value));
      break;
    case Element::bfloat16:
      device::store(reinterpret_cast<unsigned short*>(tensor.data) + element, bfloat16_bits(static_cast<float>(value)));
      break;
    case Element::float16:
      device::store(reinterpret_cast<unsigned short*>(tensor.data) + element,
                    device::half_of_float(static_cast<float>(value)));
      break;
    case Element::boolean: break;  // never an output
  }
}

// The element of a (batch, grid, head) at grid coordinates.
__device__ inline Int element_at(const Tensor& tensor, Int batch, Int head, const int (&at)[3]) {
  return batch * tensor.batch + head * tensor.head + at[0] * tensor.axes[0] + at[1] * tensor.axes[1] +
         at[2] * tensor.axes[2];
}

__device__ inline Int row_major(const int (&grid)[3], const int (&at)[3]) {
  return (static_cast<Int>(at[0]) * grid[1] + at[1]) * grid[2] + at[2];
}
__device__ inline void from_row_major(const int (&grid)[3], Int token, int (&at)[3]) {
  at[2] = static_cast<int>(token % grid[2]);
  token /= grid[2];
  at[1] = static_cast<int>(token % grid[1]);
  at[0] = static_cast<int>(token / grid[1]);
}

}  // namespace nearfield::simt
