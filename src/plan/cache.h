// Plans are immutable and shared between threads; the most recently used ones are kept.
#pragma once

#include <cstddef>
#include <memory>

#include "base/lru_cache.h"
#include "plan/plan.h"

namespace nearfield::core {

// Builds the plan or returns the one built before. Keeps at most kPlanCacheEntries plans and kPlanCacheBytes bytes,
// dropping the least recently used; a plan in use outlives its eviction. Of a pattern along an order, a plan knows the
// positions only: all orders of as many tokens share it.
inline constexpr size_t kPlanCacheEntries = 64;
inline constexpr size_t kPlanCacheBytes = size_t{64} << 20;
std::shared_ptr<const Plan> cached_plan(const Pattern& pattern, const TileShape& shape, bool transposed = false,
                                        bool keep_laps = false);

struct PlanKey {
  Pattern pattern;
  TileShape shape;
  bool transposed = false;
  bool keep_laps = false;
  bool operator==(const PlanKey&) const = default;
};

// What cached_plan keeps, once per process. Thread-safe.
class PlanCache {
 public:
  PlanCache(size_t max_entries, size_t max_bytes) : cache_(max_entries, max_bytes) {}
  // Errors: those of Plan.
  std::shared_ptr<const Plan> get(const PlanKey& key);
  size_t entries() const { return cache_.entries(); }
  size_t bytes() const { return cache_.bytes(); }

 private:
  LruCache<PlanKey, Plan> cache_;
};

}  // namespace nearfield::core
