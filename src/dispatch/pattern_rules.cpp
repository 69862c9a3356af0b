#include "dispatch/pattern_rules.h"

#include <algorithm>

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
void check_window(const char* field, int64_t value) {
  if (value < 1) invalid_argument(field, "=", value, ": must be at least 1");
  if (value > kMaxWindow) invalid_argument(field, "=", value, ": must be at most 2^40");
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

constexpr const char* kTooManyPairs = "smaller: a head must have at most 2^53 (query, key) pairs";

// Pairs so far, times those of an axis.
void count_pairs(const char* field, int axis, int64_t window, int64_t queries, int64_t longest, __int128& pairs) {
  pairs *= static_cast<__int128>(queries) * min_of(window, longest);
  if (pairs > kMaxPairs) invalid_axis(field, axis, window, kTooManyPairs);
}

Pattern on_axes(const nf_neighborhood& given, const Shape& shape) {
  Pattern pattern;
  pattern.rank = shape.rank;
  __int128 pairs = 1;
  for (int a = 0; a < shape.rank; ++a) {
    const NeighborhoodAxis axis = validate_axis(given, a, shape.grid[a]);
    count_pairs("kernel_size", a, axis.kernel_size, axis.queries, ceil_div(axis.keys, axis.dilation), pairs);
    pattern.axes[a] = axis;
  }
  return pattern;
}

Pattern on_axes(const nf_window& given, const Shape& shape) {
  Pattern pattern;
  pattern.rank = shape.rank;
  __int128 pairs = 1;
  for (int a = 0; a < shape.rank; ++a) {
    const int64_t size = given.size[a], shift = given.shift[a], tokens = shape.grid[a];
    check_window("size", a, size);
    if (shift < 0) invalid_axis("shift", a, shift, "at least 0");
    if (shift >= size) invalid_axis("shift", a, shift, "below size[", a, "]=", size);
    count_pairs("size", a, size, tokens, tokens, pairs);
    pattern.axes[a] = RunsAxis{.queries = tokens, .keys = tokens, .kernel_size = size, .phase = shift, .stride = size};
  }
  return pattern;
}

// ---- along an order ------------------------------------------------------------------------------------------------

void check_curve(const nf_curve& given) {
  validate_order("order", given.order);
  if (given.form < NF_CURVE_WINDOW || given.form > NF_CURVE_NEIGHBORHOOD)
    invalid_argument("form=", given.form, ": must be 1 (window), 2 (slide) or 3 (neighborhood)");
  check_window("size", given.size);
  if (given.form == NF_CURVE_WINDOW) {
    if (given.shift < 0) invalid_argument("shift=", given.shift, ": must be at least 0");
    if (given.shift >= given.size) invalid_argument("shift=", given.shift, ": must be below size=", given.size);
    if (given.stride != 1) invalid_argument("stride=", given.stride, ": must be 1 where form is window");
  } else {
    if (given.shift != 0) invalid_argument("shift=", given.shift, ": must be 0 where form is not window");
    if (given.stride < 1) invalid_argument("stride=", given.stride, ": must be at least 1");
    if (given.stride > given.size) invalid_argument("stride=", given.stride, ": must be at most size=", given.size);
  }
  check_window("dilation", given.dilation);
  if (given.is_causal != 0 && given.is_causal != 1) invalid_argument("is_causal=", given.is_causal, ": must be 0 or 1");
  if (given.reserved != 0) invalid_argument("reserved=", given.reserved, ": must be 0");
}

AxisRule rule_along(const nf_curve& given, int64_t tokens) {
  if (given.form == NF_CURVE_WINDOW)
    return RunsAxis{.queries = tokens,
                    .keys = tokens,
                    .kernel_size = given.size,
                    .phase = given.shift,
                    .stride = given.size,
                    .dilation = given.dilation,
                    .is_causal = given.is_causal == 1};
  const bool is_slide = given.form == NF_CURVE_SLIDE;
  return NeighborhoodAxis{.queries = tokens,
                          .keys = tokens,
                          .kernel_size = is_slide ? given.size / 2 * 2 + 1 : given.size,
                          .stride = given.stride,
                          .dilation = given.dilation,
                          .is_causal = given.is_causal == 1,
                          .boundary = is_slide ? Boundary::cut : Boundary::clamp};
}

Pattern along_order(const nf_curve& given, const Shape& shape) {
  check_curve(given);
  OrderKey key{static_cast<OrderKind>(given.order), shape.rank, {1, 1, 1}};
  check_order_grid(shape);
  std::copy_n(shape.grid, shape.rank, key.grid);
  const int64_t tokens = shape.tokens();
  const int64_t window = min_of(given.size, ceil_div(tokens, given.dilation));
  if (static_cast<__int128>(tokens) * window > kMaxPairs)
    invalid_argument("size=", given.size, ": must be ", kTooManyPairs);
  Pattern pattern;
  pattern.rank = 1;
  pattern.axes[0] = rule_along(given, tokens);
  pattern.order = cached_order(key);
  return pattern;
}

// ---- on the sphere -------------------------------------------------------------------------------------------------

void check_truth(const char* name, int32_t value) {
  if (value != 0 && value != 1) invalid_argument(name, "=", value, ": must be 0 or 1");
}

Pattern on_sphere(const nf_sphere& given, const Shape& shape) {
  if (given.pattern.rank != 2) invalid_argument("pattern.rank=", given.pattern.rank, ": must be 2 on the sphere");
  check_truth("has_cutoff", given.has_cutoff);
  check_truth("is_global", given.is_global);
  SphereKey key{{validate_sphere_grid("query", given.query), validate_sphere_grid("key", given.key)},
                given.is_global == 1};
  if (!key.is_global) {
    key.grids.cutoff = given.has_cutoff == 1 ? given.cutoff : default_sphere_cutoff(key.grids.query, key.grids.key);
    key.grids.tolerance = given.tolerance;
  }
  const int64_t nlat = given.query.nlat, nlon = given.query.nlon;
  Pattern pattern;
  pattern.sphere = cached_sphere(key);
  if (shape.grid[0] != nlat || shape.grid[1] != nlon)
    invalid_argument("query: has a grid of ", shape.grid[0], "x", shape.grid[1], ": must have the pattern's ", nlat,
                     "x", nlon);
  pattern.rank = 2;
  if (key.is_global) {
    const auto all = [](int64_t queries, int64_t keys) {
      return NeighborhoodAxis{.queries = queries, .keys = keys, .kernel_size = max_of(queries, keys)};
    };
    pattern.axes[0] = all(nlat, given.key.nlat);
    pattern.axes[1] = all(nlon, given.key.nlon);
  } else {
    pattern.axes[0] = LatitudeAxis{nlat, given.key.nlat, pattern.sphere.get()};
    pattern.axes[1] = LongitudeAxis{nlon, given.key.nlon, pattern.sphere->widest};
  }
  return pattern;
}

size_t size_of_kind(int32_t kind) {
  switch (kind) {
    case NF_NEIGHBORHOOD: return sizeof(nf_neighborhood);
    case NF_WINDOW: return sizeof(nf_window);
    case NF_CURVE: return sizeof(nf_curve);
    case NF_SPHERE: return sizeof(nf_sphere);
    default: invalid_argument("pattern.kind=", kind, ": must be 1 (neighborhood), 2 (window), 3 (curve) or 4 (sphere)");
  }
}

}  // namespace

const nf_pattern& check_pattern_head(const nf_pattern* pattern) {
  if (pattern == nullptr) invalid_argument("pattern: must not be NULL");
  const auto check_size = [&](size_t least) {
    if (pattern->struct_size < least)
      invalid_argument("pattern.struct_size=", pattern->struct_size, ": must be at least ", least);
  };
  check_size(sizeof(nf_pattern));
  check_size(size_of_kind(pattern->kind));
  if (pattern->rank < 1 || pattern->rank > kMaxGridRank)
    invalid_argument("pattern.rank=", pattern->rank, ": must be 1, 2 or 3");
  return *pattern;
}

void key_grid_of(const nf_pattern& given, const Shape& shape, int64_t (&grid)[kMaxGridRank]) {
  std::copy_n(shape.grid, kMaxGridRank, grid);
  if (given.kind != NF_SPHERE) return;
  const auto& sphere = reinterpret_cast<const nf_sphere&>(given);
  grid[0] = sphere.key.nlat;
  grid[1] = sphere.key.nlon;
}

OrderKind validate_order(const char* name, int32_t order) {
  if (order < NF_HILBERT || order > NF_ROW_MAJOR)
    invalid_argument(name, "=", order, ": must be 1 (hilbert), 2 (morton), 3 (serpentine) or 4 (row_major)");
  return static_cast<OrderKind>(order);
}

SphereGrid validate_sphere_grid(const char* side, const nf_sphere_grid& given) {
  if (given.latitudes < NF_EQUIANGULAR || given.latitudes > NF_EQUIANGULAR_TRAPEZOIDAL)
    invalid_argument(side, ".latitudes=", given.latitudes,
                     ": must be 0 (equiangular), 1 (legendre-gauss), 2 (lobatto) or 3 (equiangular-trapezoidal)");
  if (given.reserved != 0) invalid_argument(side, ".reserved=", given.reserved, ": must be 0");
  return {static_cast<SphereGridKind>(given.latitudes), given.nlat, given.nlon};
}

void check_order_grid(const Shape& shape) {
  __int128 tokens = 1;  // of at most three axes of 31 bits
  for (int a = 0; a < shape.rank; ++a) tokens *= shape.grid[a];
  if (tokens > kMaxAxis)
    invalid_argument("grid[", shape.rank - 1, "]=", shape.grid[shape.rank - 1],
                     ": must be smaller: an order must have at most ", kMaxAxis, " tokens");
}

Pattern validate_pattern(const nf_pattern& given, const Shape& shape) {
  switch (given.kind) {
    case NF_WINDOW: return on_axes(reinterpret_cast<const nf_window&>(given), shape);
    case NF_CURVE: return along_order(reinterpret_cast<const nf_curve&>(given), shape);
    case NF_SPHERE: return on_sphere(reinterpret_cast<const nf_sphere&>(given), shape);
    default: return on_axes(reinterpret_cast<const nf_neighborhood&>(given), shape);
  }
}

}  // namespace nearfield::core
