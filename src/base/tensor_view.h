// A strided view of memory that somebody else owns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace nearfield::core {

inline constexpr int kMaxDims = 6;

struct TensorView {
  std::byte* data = nullptr;
  DType dtype = DType::float32;
  int rank = 0;
  int64_t sizes[kMaxDims] = {};
  int64_t strides[kMaxDims] = {};  // in elements; negative allowed

  explicit operator bool() const { return data != nullptr; }
  // `element` counts elements from data, not bytes.
  std::byte* at(int64_t element) const { return data + element * size_of(dtype); }
};

}  // namespace nearfield::core
