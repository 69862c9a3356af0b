#include "dispatch/tensor_rules.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

#include "base/error.h"
#include "dispatch/overlap.h"
#include "dispatch/validate.h"

namespace nearfield::core {
namespace {

// "float16", or the number where it has no name.
std::string text_of(int32_t dtype) {
  const char* name = name_of(static_cast<DType>(dtype));
  return name != nullptr ? name : std::to_string(dtype);
}

std::string list_of(const DimRules& rules) {
  std::ostringstream text;
  for (int d = 0; d < rules.count; ++d) text << (d == 0 ? "(" : ", ") << rules.dims[d].name;
  text << ")";
  return text.str();
}

void check_dtype(const char* name, int32_t dtype, const DTypeRule& rule) {
  const DType given = static_cast<DType>(dtype);
  if (rule.count == 0) {
    if (name_of(given) == nullptr || !is_floating(given))
      invalid_argument(name, ".dtype=", text_of(dtype),
                       ": must be float64 (0), float32 (1), bfloat16 (2) or float16 (3)");
    return;
  }
  for (int i = 0; i < rule.count; ++i)
    if (rule.allowed[i] == given) return;
  const bool two = rule.count == 2;
  invalid_argument(name, ".dtype=", text_of(dtype), ": must be ", name_of(rule.allowed[0]), two ? " or " : "",
                   two ? name_of(rule.allowed[1]) : "", rule.because);
}

void check_sizes(const char* name, const nf_tensor& tensor, const DimRules& rules) {
  if (tensor.rank != rules.count)
    invalid_argument(name, ".rank=", tensor.rank, ": must be ", rules.count, " ", list_of(rules));
  for (int d = 0; d < rules.count; ++d) {
    const DimRule& rule = rules.dims[d];
    const int64_t size = tensor.sizes[d];
    const auto fail = [&](auto... text) {
      invalid_argument(name, ".sizes[", d, "]=", size, " (", rule.name, "): must be ", text...);
    };
    if (rule.exactly >= 0) {
      if (size != rule.exactly) fail(rule.exactly, ", ", rule.because);
      continue;
    }
    if (size < rule.least) fail("at least ", rule.least);
    if (size > rule.most) fail("at most ", rule.most);
  }
}

// The number of elements. Only what lies between the view's first and last byte counts, not the allocation around it.
int64_t check_extent(const char* name, const nf_tensor& tensor) {
  int64_t count = 1;
  for (int d = 0; d < tensor.rank; ++d)
    if (tensor.sizes[d] == 0) return 0;
  __int128 reach = static_cast<__int128>(size_of(static_cast<DType>(tensor.dtype)));
  const __int128 element = reach;
  for (int d = 0; d < tensor.rank; ++d) {
    if (tensor.sizes[d] > kMaxSpan / count)
      invalid_argument(name, ".sizes[", d, "]=", tensor.sizes[d], ": the tensor must have at most 2^60 elements");
    count *= tensor.sizes[d];
    const __int128 stride = tensor.strides[d];
    reach += (stride < 0 ? -stride : stride) * (tensor.sizes[d] - 1) * element;
    if (reach > kMaxSpan)
      invalid_argument(name, ".strides[", d, "]=", tensor.strides[d], ": the tensor must span at most 2^60 bytes");
  }
  return count;
}

// Never read: stands for memory that a dry run does not have.
constexpr std::byte kNoMemory{};

}  // namespace

TensorView take_tensor(const char* name, const nf_tensor* tensor, const DimRules& dims, const DTypeRule& dtype,
                       Layout layout, Memory memory) {
  if (tensor == nullptr) invalid_argument(name, ": must not be NULL");
  check_sizes(name, *tensor, dims);
  check_dtype(name, tensor->dtype, dtype);
  const int last = tensor->rank - 1;
  if (layout == Layout::contiguous_channels && tensor->sizes[last] > 1 && tensor->strides[last] != 1)
    invalid_argument(name, ".strides[", last, "]=", tensor->strides[last], " (", dims.dims[last].name, "): must be 1");
  const int64_t count = check_extent(name, *tensor);
  if (count > 0 && tensor->data == nullptr && memory != Memory::ignored)
    invalid_argument(name, ".data: must not be NULL");

  TensorView view;
  view.dtype = static_cast<DType>(tensor->dtype);
  view.rank = tensor->rank;
  if (count > 0)
    view.data = tensor->data != nullptr ? static_cast<std::byte*>(tensor->data) : const_cast<std::byte*>(&kNoMemory);
  for (int d = 0; d < view.rank; ++d) {
    view.sizes[d] = tensor->sizes[d];
    view.strides[d] = view.sizes[d] > 1 ? tensor->strides[d] : 0;
  }
  if (layout == Layout::contiguous_channels) view.strides[last] = 1;
  return view;
}

void check_outputs(const NamedView* inputs, int input_count, const NamedView* outputs, int output_count) {
  for (int i = 0; i < output_count; ++i) {
    const NamedView& output = outputs[i];
    if (!output.view) continue;
    if (overlaps_itself(output.view))
      invalid_argument(output.name, ": overlaps itself: each element of an output needs memory of its own");
    const auto check_against = [&](const NamedView& other) {
      if (other.view && may_overlap(output.view, other.view))
        invalid_argument(output.name, ": overlaps ", other.name,
                         ": an output must not share memory with an input or another output");
    };
    for (int j = 0; j < input_count; ++j) check_against(inputs[j]);
    for (int j = 0; j < i; ++j) check_against(outputs[j]);
  }
}

void check_workspace(const void* workspace, size_t size, const NamedView* views, int count) {
  if (workspace == nullptr || size == 0) return;
  TensorView bytes;
  bytes.data = static_cast<std::byte*>(const_cast<void*>(workspace));
  bytes.dtype = DType::boolean;  // of one byte
  bytes.rank = 1;
  bytes.sizes[0] = static_cast<int64_t>(std::min(size, static_cast<size_t>(kMaxSpan)));  // beyond it lies nothing
  bytes.strides[0] = 1;
  for (int i = 0; i < count; ++i)
    if (views[i].view && may_overlap(bytes, views[i].view))
      invalid_argument("workspace: overlaps ", views[i].name,
                       ": the workspace must not share memory with an input or an output");
}

void check_weights(const char* name, const TensorView& weights) {
  if (!weights) return;
  int64_t index[kMaxDims] = {};
  int64_t element = 0;
  while (true) {
    const double weight = load_double(weights.at(element), weights.dtype);
    if (!(weight >= 0 && std::isfinite(weight))) {
      std::ostringstream where;
      for (int d = 0; d < weights.rank; ++d) where << "[" << index[d] << "]";
      invalid_argument(name, where.str(), "=", weight, ": must be finite and at least 0");
    }
    int d = weights.rank - 1;
    for (; d >= 0; --d) {
      // What a stride of 0 repeats has been seen.
      if (weights.strides[d] != 0 && ++index[d] < weights.sizes[d]) break;
      element -= (weights.strides[d] != 0 ? index[d] - 1 : 0) * weights.strides[d];
      index[d] = 0;
    }
    if (d < 0) return;
    element += weights.strides[d];
  }
}

}  // namespace nearfield::core
