#include "pattern/sphere_pattern.h"

#include "base/lru_cache.h"

namespace nearfield::core {
namespace {

// A global one reaches nothing by its cutoff; the whole sphere would cost memory for what needs no table.
SphereGrids checked(const SphereKey& key) {
  SphereGrids grids = key.grids;
  if (key.is_global) grids.cutoff = 1;
  check_sphere(grids);
  return grids;
}

}  // namespace

Sphere::Sphere(const SphereKey& given)
    : key(given),
      log_weights(sphere_log_weights(checked(given).key.kind, given.grids.key.nlat, given.grids.key.nlon)),
      reach(checked(given)) {
  if (given.is_global) {
    most_keys = given.grids.key.nlat * given.grids.key.nlon;
    return;
  }
  for (int64_t q = 0; q < reach.query_latitudes(); ++q) {
    int64_t keys = 0;
    for (const int32_t half_width : reach.half_widths(q)) {
      widest = max_of(widest, half_width);
      keys += reach.arc().longest_window(half_width);
    }
    most_keys = max_of(most_keys, keys);
  }
  const SphereReach transposed = reach.transposed();
  for (int64_t k = 0; k < reach.key_latitudes(); ++k) queries.push_back(transposed.keys_of(k));
}

std::shared_ptr<const Sphere> cached_sphere(const SphereKey& key) {
  // Never destroyed: threads of the host may still run while the process exits.
  static auto& cache = *new LruCache<SphereKey, Sphere>(16, size_t{64} << 20);
  return cache.get(key, [&] { return std::make_shared<const Sphere>(key); });
}

}  // namespace nearfield::core
