#include "check/public_pattern.h"

namespace nearfield::core {
namespace {

nf_curve curve_of(const Pattern& pattern) {
  const OrderKey& key = pattern.order->key;
  const auto order = static_cast<int32_t>(key.kind);
  if (const auto* runs = std::get_if<RunsAxis>(&pattern.axes[0])) {
    nf_curve curve = nf_make_curve(key.rank, order, NF_CURVE_WINDOW, runs->kernel_size);
    curve.shift = runs->phase;
    curve.dilation = runs->dilation;
    curve.is_causal = runs->is_causal ? 1 : 0;
    return curve;
  }
  const auto& axis = std::get<NeighborhoodAxis>(pattern.axes[0]);
  const int32_t form = axis.boundary == Boundary::cut ? NF_CURVE_SLIDE : NF_CURVE_NEIGHBORHOOD;
  nf_curve curve = nf_make_curve(key.rank, order, form, axis.kernel_size);
  curve.stride = axis.stride;
  curve.dilation = axis.dilation;
  curve.is_causal = axis.is_causal ? 1 : 0;
  return curve;
}

nf_sphere sphere_of(const SphereKey& key) {
  const SphereGrid &queries = key.grids.query, &keys = key.grids.key;
  nf_sphere sphere = nf_make_sphere(queries.nlat, queries.nlon, keys.nlat, keys.nlon);
  sphere.query.latitudes = static_cast<int32_t>(queries.kind);
  sphere.key.latitudes = static_cast<int32_t>(keys.kind);
  sphere.has_cutoff = 1;
  sphere.cutoff = key.grids.cutoff;
  sphere.tolerance = key.grids.tolerance;
  sphere.is_global = key.is_global ? 1 : 0;
  return sphere;
}

nf_window window_of(const Pattern& pattern) {
  constexpr int64_t kUnset[kMaxGridRank] = {};
  nf_window window = nf_make_window(pattern.rank, kUnset);
  for (int a = 0; a < pattern.rank; ++a) {
    const auto& runs = std::get<RunsAxis>(pattern.axes[a]);
    window.size[a] = runs.kernel_size;
    window.shift[a] = runs.phase;
  }
  return window;
}

nf_neighborhood neighborhood_of(const Pattern& pattern) {
  constexpr int64_t kUnset[kMaxGridRank] = {};
  nf_neighborhood result = nf_make_neighborhood(pattern.rank, kUnset);
  for (int a = 0; a < pattern.rank; ++a) {
    const auto& axis = std::get<NeighborhoodAxis>(pattern.axes[a]);
    result.kernel_size[a] = axis.kernel_size;
    result.stride[a] = axis.stride;
    result.dilation[a] = axis.dilation;
    result.is_causal[a] = axis.is_causal ? 1 : 0;
    result.boundary[a] = static_cast<int32_t>(axis.boundary);
  }
  return result;
}

}  // namespace

PublicPattern public_pattern(const Pattern& pattern) {
  if (pattern.order) return curve_of(pattern);
  if (pattern.sphere) return sphere_of(pattern.sphere->key);
  if (std::holds_alternative<RunsAxis>(pattern.axes[0])) return window_of(pattern);
  return neighborhood_of(pattern);
}

}  // namespace nearfield::core
