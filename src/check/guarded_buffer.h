// Memory for test tensors of any layout and alignment that can prove that nothing but the elements of its tensors was
// written.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/tensor_view.h"
#include "check/random.h"

namespace nearfield::core {

using ElementIndex = std::array<int64_t, kMaxDims>;

// Calls body(index, element) for every element in row-major order; `element` counts from the view's data.
template <class Body>
void for_each_element(const TensorView& view, Body&& body) {
  int64_t count = 1;
  for (int a = 0; a < view.rank; ++a) count *= view.sizes[a];
  ElementIndex index{};
  for (int64_t n = 0; n < count; ++n) {
    int64_t element = 0;
    for (int a = 0; a < view.rank; ++a) element += index[static_cast<size_t>(a)] * view.strides[a];
    body(index, element);
    for (int a = view.rank - 1; a >= 0; --a) {
      if (++index[static_cast<size_t>(a)] < view.sizes[a]) break;
      index[static_cast<size_t>(a)] = 0;
    }
  }
}

// Where a tensor lies in a buffer. Strides in elements, `offset` in bytes to the element of index 0.
struct Layout {
  DType dtype = DType::float32;
  int rank = 0;
  int64_t sizes[kMaxDims] = {};
  int64_t strides[kMaxDims] = {};
  int64_t offset = 0;
  int64_t bytes = 0;  // of a buffer that holds it, guards included
};

// What random_layout may do. For inputs, `broadcast` lets dimension 0 have stride 0.
struct LayoutFreedom {
  bool keep_last = true;  // the last dimension is contiguous
  bool broadcast = false;
};

// Contiguous, heads-first (the dimension before the last, or the last one where keep_last is off, moved behind the
// first), or any order of dimensions; padded or not; some dimensions backwards; any byte alignment.
Layout random_layout(Random& random, DType dtype, const std::vector<int64_t>& sizes, const LayoutFreedom& freedom);

// "strides 96,8,1 misaligned by 3": for reproducers.
std::string describe_layout(const TensorView& view);

class GuardedBuffer {
 public:
  // Zero bytes are allowed; data() is never null.
  explicit GuardedBuffer(int64_t bytes);

  std::byte* data() { return bytes_.data(); }
  TensorView view(const Layout& layout);

  // Elements that the code under test may write. Two tensors can share a buffer, not an element: an Error says so.
  void claim(const TensorView& view);
  // Claimed bytes become NaN in every floating type, all others a pattern to be recognised. For outputs.
  void poison();
  // Takes the present contents as what must stay. For inputs.
  void remember();
  // "" or what happened to the first byte that changed without being claimed.
  std::string damage() const;

 private:
  std::vector<std::byte> bytes_, expected_;
  std::vector<bool> claimed_;
};

}  // namespace nearfield::core
