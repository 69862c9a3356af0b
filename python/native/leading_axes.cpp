#include "leading_axes.h"

#include <algorithm>
#include <cstddef>

namespace nearfield::jax {
namespace {

// Whether the innermost leading axis of an operand and its batch are one strided axis. size is not 1.
bool foldable(const Operand& operand) {
  const int64_t step = operand.steps.back();
  if (!operand.has_batch) return step == 0;
  const nf_tensor& tensor = operand.tensor;
  return tensor.sizes[0] == 1 || step == tensor.sizes[0] * tensor.strides[0];
}

void fold(Operand& operand, int64_t size) {
  nf_tensor& tensor = operand.tensor;
  if (operand.has_batch && size != 1) {
    if (tensor.sizes[0] == 1) tensor.strides[0] = operand.steps.back();
    tensor.sizes[0] *= size;  // at most the elements of the buffer, or of the result that is as large
  }
  operand.steps.pop_back();
}

}  // namespace

std::vector<int64_t> fold_into_batch(std::vector<int64_t> sizes, const std::vector<Operand*>& operands) {
  const auto all_foldable = [&] {
    return std::all_of(operands.begin(), operands.end(), [](const Operand* operand) { return foldable(*operand); });
  };
  while (!sizes.empty() && (sizes.back() == 1 || all_foldable())) {
    for (Operand* operand : operands) fold(*operand, sizes.back());
    sizes.pop_back();
  }
  return sizes;
}

void* address_of(const Operand& operand, const std::vector<int64_t>& sizes, int64_t index) {
  int64_t offset = 0;
  for (std::size_t axis = sizes.size(); axis-- > 0;) {
    offset += index % sizes[axis] * operand.steps[axis];
    index /= sizes[axis];
  }
  if (offset == 0) return operand.tensor.data;
  return static_cast<std::byte*>(operand.tensor.data) + offset * element_size(operand.tensor.dtype);
}

int64_t count_of(const std::vector<int64_t>& sizes) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return count;
}

int64_t element_size(int32_t dtype) {
  switch (dtype) {
    case NF_FLOAT64: return 8;
    case NF_FLOAT32: return 4;
    case NF_BFLOAT16:
    case NF_FLOAT16: return 2;
    case NF_BOOL: return 1;
    default: return 0;
  }
}

}  // namespace nearfield::jax
