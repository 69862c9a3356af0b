// A tensor that owns its memory, as tensor files hold it, and the layouts that files know.
//
// Sizes are >= 0, strides are in elements; 0-d tensors have one element, tensors with a size 0 none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nearfield/nearfield.hpp"

namespace nearfield::cli {

size_t size_of(nf_dtype dtype);  // bytes of an element

// Product of the sizes, or nothing if it, or the bytes of `dtype`, or a stride exceeds 64 bits. Sizes must be >= 0.
std::optional<int64_t> element_count(std::span<const int64_t> sizes, nf_dtype dtype);

// The last axis fastest (C), the first axis fastest (Fortran). Sizes must have passed element_count.
std::vector<int64_t> c_strides(std::span<const int64_t> sizes);
std::vector<int64_t> fortran_strides(std::span<const int64_t> sizes);

struct OwnedTensor {
  nf_dtype dtype = NF_FLOAT32;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
  std::vector<std::byte> bytes;

  int64_t elements() const;
  // Axes of size 1 and empty tensors fit every order.
  bool is_c_order() const;
  bool is_fortran_order() const;
  // The same elements with the last axis fastest.
  OwnedTensor in_c_order() const;
  // A nearfield::Error if the rank exceeds NF_MAX_DIMS.
  Tensor view() const;
};

using TensorMap = std::map<std::string, OwnedTensor>;

// Zeros, in C order. std::length_error if the sizes are negative or exceed 64 bits.
OwnedTensor make_tensor(nf_dtype dtype, std::vector<int64_t> sizes);

}  // namespace nearfield::cli
