// Plans are immutable and shared between threads; the most recently used ones are kept.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>

#include "plan/plan.h"

namespace nearfield::core {

// Builds the plan or returns the one built before. Keeps at most kPlanCacheEntries plans and kPlanCacheBytes bytes,
// dropping the least recently used; a plan in use outlives its eviction.
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

// What cached_plan keeps, once per process. Thread-safe. Builds outside its lock, so two threads may build the same
// plan at once; the one kept first is then returned to both.
class PlanCache {
 public:
  PlanCache(size_t max_entries, size_t max_bytes) : max_entries_(max_entries), max_bytes_(max_bytes) {}
  // Errors: those of Plan; nothing is kept then. A plan larger than the cache is returned but not kept.
  std::shared_ptr<const Plan> get(const PlanKey& key);
  size_t entries() const;
  size_t bytes() const;

 private:
  struct Entry {
    PlanKey key;
    std::shared_ptr<const Plan> plan;
  };
  std::shared_ptr<const Plan> find_locked(const PlanKey& key);  // and makes it the most recently used

  const size_t max_entries_, max_bytes_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first; few enough to search one by one
  size_t bytes_ = 0;
};

}  // namespace nearfield::core
