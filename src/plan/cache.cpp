#include "plan/cache.h"

namespace nearfield::core {

std::shared_ptr<const Plan> PlanCache::get(const PlanKey& key) {
  return cache_.get(
      key, [&] { return std::make_shared<const Plan>(key.pattern, key.shape, key.transposed, key.keep_laps); });
}

std::shared_ptr<const Plan> cached_plan(const Pattern& pattern, const TileShape& shape, bool transposed,
                                        bool keep_laps) {
  // Never destroyed: threads of the host may still run while the process exits.
  static PlanCache& cache = *new PlanCache(kPlanCacheEntries, kPlanCacheBytes);
  return cache.get({pattern.without_order(), shape, transposed, keep_laps});
}

}  // namespace nearfield::core
