// What every call of nearfield.hpp is written with: Tensor, lists of numbers, and the exception. Include nearfield.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "nearfield/nearfield.h"

namespace nearfield {

class Error : public std::runtime_error {
 public:
  Error(nf_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  nf_status status() const noexcept { return status_; }

 private:
  nf_status status_;
};

// Numbers for the duration of a call; it owns nothing.
template <class T>
class ListOf : public std::span<const T> {
 public:
  ListOf(std::initializer_list<T> values) : std::span<const T>(values.begin(), values.size()) {}
  template <std::ranges::contiguous_range Range>
  requires std::is_convertible_v<const Range&, std::span<const T>> ListOf(const Range& values)
      : std::span<const T>(values) {}
};

namespace detail {

inline void check(nf_status status) {
  if (status != NF_OK) throw Error(status, nf_last_error());
}
[[noreturn]] inline void refuse(const std::string& message) { throw Error(NF_INVALID_ARGUMENT, message); }

template <class T>
constexpr nf_dtype dtype_of() {
  constexpr bool is_mask = std::is_same_v<T, bool> || std::is_same_v<T, unsigned char>;
  static_assert(std::is_same_v<T, double> || std::is_same_v<T, float> || is_mask,
                "Tensor::of takes double, float, bool and unsigned char; give other memory's dtype: Tensor(memory, "
                "NF_BFLOAT16, shape)");
  return is_mask ? NF_BOOL : std::is_same_v<T, double> ? NF_FLOAT64 : NF_FLOAT32;
}

}  // namespace detail

// A strided view of memory that the caller owns. The memory of outputs is written to, be it const or not.
struct Tensor : nf_tensor {
  // Row-major.
  Tensor(const void* memory, nf_dtype type, ListOf<int64_t> shape) : nf_tensor{} {
    set_shape(memory, type, shape);
    uint64_t stride = 1;  // unsigned: the call that uses the view refuses sizes that overflow
    for (int i = this->rank - 1; i >= 0; --i) {
      strides[i] = static_cast<int64_t>(stride);
      stride *= static_cast<uint64_t>(sizes[i]);
    }
  }
  // Strides in elements.
  Tensor(const void* memory, nf_dtype type, ListOf<int64_t> shape, ListOf<int64_t> steps) : nf_tensor{} {
    set_shape(memory, type, shape);
    if (steps.size() != shape.size())
      detail::refuse("strides: has " + std::to_string(steps.size()) + " values: must have one for each of the " +
                     std::to_string(shape.size()) + " dimensions");
    for (size_t i = 0; i < steps.size(); ++i) strides[i] = steps[i];
  }
  // Row-major, of a pointer. Masks are bool or unsigned char.
  template <class T>
  static Tensor of(T* memory, ListOf<int64_t> shape) {
    return Tensor(memory, detail::dtype_of<std::remove_cv_t<T>>(), shape);
  }
  // Row-major, of a vector, array or span, which the shape must fill exactly.
  template <std::ranges::contiguous_range Range>
  requires std::ranges::borrowed_range<Range>
  static Tensor of(Range&& memory, ListOf<int64_t> shape) {
    const Tensor tensor = of(std::ranges::data(memory), shape);
    uint64_t elements = 1;
    for (int64_t size : shape) elements *= static_cast<uint64_t>(size);
    if (elements != std::ranges::size(memory))
      detail::refuse("shape: has " + std::to_string(elements) + " elements: must have the " +
                     std::to_string(std::ranges::size(memory)) + " of its memory");
    return tensor;
  }
  // The same memory with dimension order[i] as its i-th: (batch, heads, *grid, head_dim) memory becomes the
  // (batch, *grid, heads, head_dim) that functions take by permuted({0, 2, 3, 1, 4}), without a copy.
  Tensor permuted(ListOf<int> order) const {
    Tensor result = *this;
    const std::string rule = ": must name each of the " + std::to_string(rank) + " dimensions once";
    uint32_t seen = 0;
    if (order.size() != static_cast<size_t>(rank)) detail::refuse("order" + rule);
    for (size_t i = 0; i < order.size(); ++i) {
      if (order[i] < 0 || order[i] >= rank || (seen >> order[i] & 1U) != 0)
        detail::refuse("order[" + std::to_string(i) + "]=" + std::to_string(order[i]) + rule);
      seen |= 1U << order[i];
      result.sizes[i] = sizes[order[i]];
      result.strides[i] = strides[order[i]];
    }
    return result;
  }

 private:
  void set_shape(const void* memory, nf_dtype type, ListOf<int64_t> shape) {
    if (shape.size() > NF_MAX_DIMS)
      detail::refuse("shape: has " + std::to_string(shape.size()) + " dimensions: must have at most 6");
    data = const_cast<void*>(memory);
    dtype = type;
    rank = static_cast<int32_t>(shape.size());
    for (size_t i = 0; i < shape.size(); ++i) sizes[i] = shape[i];
  }
};

}  // namespace nearfield
