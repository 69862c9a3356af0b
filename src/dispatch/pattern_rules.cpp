#include "dispatch/pattern_rules.h"

#include "base/error.h"
#include "dispatch/validate.h"

namespace nearfield::core {
namespace {

// Fields of a pattern that hold one value per axis: "kernel_size[1]=0: must be ...".
template <class T, class... Parts>
[[noreturn]] void invalid_axis(const char* field, int axis, T value, const Parts&... rule) {
  invalid_argument(field, "[", axis, "]=", value, ": must be ", rule...);
}

void check_window(const char* field, int axis, int64_t value) {
  if (value < 1) invalid_axis(field, axis, value, "at least 1");
  if (value > kMaxWindow) invalid_axis(field, axis, value, "at most 2^40");
}

NeighborhoodAxis validate_axis(const nf_neighborhood& given, int axis, int64_t tokens) {
  const int64_t kernel_size = given.kernel_size[axis], stride = given.stride[axis], dilation = given.dilation[axis];
  check_window("kernel_size", axis, kernel_size);
  if (stride < 1) invalid_axis("stride", axis, stride, "at least 1");
  if (stride > kernel_size) invalid_axis("stride", axis, stride, "at most kernel_size[", axis, "]=", kernel_size);
  check_window("dilation", axis, dilation);
  const int32_t is_causal = given.is_causal[axis], boundary = given.boundary[axis];
  if (is_causal != 0 && is_causal != 1) invalid_axis("is_causal", axis, is_causal, "0 or 1");
  if (boundary < NF_CLAMP || boundary > NF_CUT)
    invalid_axis("boundary", axis, boundary, "0 (clamp), 1 (wrap) or 2 (cut)");
  if (boundary == NF_WRAP) {
    if (is_causal) invalid_axis("is_causal", axis, is_causal, "0 where boundary[", axis, "] is wrap");
    if (tokens % dilation != 0)
      invalid_axis("dilation", axis, dilation, "a divisor of the axis's ", tokens, " tokens where boundary[", axis,
                   "] is wrap");
  }
  return {.queries = tokens,
          .keys = tokens,
          .kernel_size = kernel_size,
          .stride = stride,
          .dilation = dilation,
          .is_causal = is_causal == 1,
          .boundary = static_cast<Boundary>(boundary)};
}

}  // namespace

const nf_neighborhood& check_pattern_head(const nf_pattern* pattern) {
  if (pattern == nullptr) invalid_argument("pattern: must not be NULL");
  const auto check_size = [&](size_t least) {
    if (pattern->struct_size < least)
      invalid_argument("pattern.struct_size=", pattern->struct_size, ": must be at least ", least);
  };
  check_size(sizeof(nf_pattern));
  if (pattern->kind != NF_NEIGHBORHOOD) invalid_argument("pattern.kind=", pattern->kind, ": must be 1 (neighborhood)");
  check_size(sizeof(nf_neighborhood));
  if (pattern->rank < 1 || pattern->rank > kMaxGridRank)
    invalid_argument("pattern.rank=", pattern->rank, ": must be 1, 2 or 3");
  return *reinterpret_cast<const nf_neighborhood*>(pattern);
}

Pattern validate_pattern(const nf_neighborhood& given, const Shape& shape) {
  Pattern pattern;
  pattern.rank = shape.rank;
  __int128 pairs = 1;
  for (int a = 0; a < shape.rank; ++a) {
    const NeighborhoodAxis axis = validate_axis(given, a, shape.grid[a]);
    pairs *= static_cast<__int128>(axis.queries) * min_of(axis.kernel_size, ceil_div(axis.keys, axis.dilation));
    if (pairs > kMaxPairs)
      invalid_axis("kernel_size", a, axis.kernel_size, "smaller: a head must have at most 2^53 (query, key) pairs");
    pattern.axes[a] = axis;
  }
  return pattern;
}

}  // namespace nearfield::core
