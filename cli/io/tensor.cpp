#include "io/tensor.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace nearfield::cli {
namespace {

// Whether `actual` addresses like `wanted`: an axis of size 1 never uses its stride.
bool same_layout(const OwnedTensor& tensor, const std::vector<int64_t>& wanted) {
  if (tensor.elements() == 0) return true;
  for (size_t axis = 0; axis < tensor.sizes.size(); ++axis)
    if (tensor.sizes[axis] != 1 && tensor.strides[axis] != wanted[axis]) return false;
  return true;
}

// Adds 1 to a multi-index over all axes but the last; false after the last one.
bool advance(std::vector<int64_t>& index, const std::vector<int64_t>& sizes) {
  for (size_t axis = index.size(); axis-- > 0;) {
    if (++index[axis] < sizes[axis]) return true;
    index[axis] = 0;
  }
  return false;
}

}  // namespace

size_t size_of(nf_dtype dtype) {
  switch (dtype) {
    case NF_FLOAT64: return 8;
    case NF_FLOAT32: return 4;
    case NF_BFLOAT16:
    case NF_FLOAT16: return 2;
    case NF_BOOL: return 1;
  }
  throw std::invalid_argument("dtype=" + std::to_string(static_cast<int>(dtype)) + ": is no dtype");
}

std::optional<int64_t> element_count(std::span<const int64_t> sizes, nf_dtype dtype) {
  int64_t product = static_cast<int64_t>(size_of(dtype));
  bool empty = false;
  for (const int64_t size : sizes) {
    empty |= size == 0;
    // Zero counts as one: the strides of an empty tensor must fit too.
    if (__builtin_mul_overflow(product, std::max<int64_t>(size, 1), &product)) return std::nullopt;
  }
  return empty ? 0 : product / static_cast<int64_t>(size_of(dtype));
}

std::vector<int64_t> c_strides(std::span<const int64_t> sizes) {
  std::vector<int64_t> strides(sizes.size());
  int64_t stride = 1;
  for (size_t axis = sizes.size(); axis-- > 0; stride *= std::max<int64_t>(sizes[axis], 1)) strides[axis] = stride;
  return strides;
}

std::vector<int64_t> fortran_strides(std::span<const int64_t> sizes) {
  std::vector<int64_t> strides(sizes.size());
  int64_t stride = 1;
  for (size_t axis = 0; axis < sizes.size(); stride *= std::max<int64_t>(sizes[axis++], 1)) strides[axis] = stride;
  return strides;
}

int64_t OwnedTensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : sizes)
    if (size == 0) return 0;
  for (const int64_t size : sizes) count *= size;
  return count;
}

bool OwnedTensor::is_c_order() const { return same_layout(*this, c_strides(sizes)); }
bool OwnedTensor::is_fortran_order() const { return same_layout(*this, fortran_strides(sizes)); }

OwnedTensor OwnedTensor::in_c_order() const {
  OwnedTensor copy = make_tensor(dtype, sizes);
  if (elements() == 0) return copy;
  const size_t width = size_of(dtype);
  const size_t outer = sizes.empty() ? 0 : sizes.size() - 1;
  const int64_t count = sizes.empty() ? 1 : sizes.back(), step = sizes.empty() ? 1 : strides.back();
  std::vector<int64_t> index(outer, 0);
  std::byte* to = copy.bytes.data();
  do {
    int64_t offset = 0;
    for (size_t axis = 0; axis < outer; ++axis) offset += index[axis] * strides[axis];
    for (int64_t i = 0; i < count; ++i, to += width)
      std::memcpy(to, bytes.data() + static_cast<size_t>(offset + i * step) * width, width);
  } while (advance(index, sizes));
  return copy;
}

Tensor OwnedTensor::view() const { return Tensor(bytes.data(), dtype, std::span(sizes), std::span(strides)); }

OwnedTensor make_tensor(nf_dtype dtype, std::vector<int64_t> sizes) {
  for (const int64_t size : sizes)
    if (size < 0) throw std::length_error("make_tensor: a size is negative");
  const std::optional<int64_t> count = element_count(sizes, dtype);
  if (!count) throw std::length_error("make_tensor: the sizes exceed 64 bits");
  OwnedTensor tensor;
  tensor.dtype = dtype;
  tensor.strides = c_strides(sizes);
  tensor.sizes = std::move(sizes);
  tensor.bytes.resize(static_cast<size_t>(*count) * size_of(dtype));
  return tensor;
}

}  // namespace nearfield::cli
