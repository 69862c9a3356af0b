#include "plan/cache.h"

#include <algorithm>
#include <iterator>

namespace nearfield::core {

std::shared_ptr<const Plan> PlanCache::get(const PlanKey& key) {
  {
    const std::lock_guard lock(mutex_);
    if (auto known = find_locked(key)) return known;
  }
  auto plan = std::make_shared<const Plan>(key.pattern, key.shape, key.transposed, key.keep_laps);
  if (max_entries_ == 0 || plan->bytes() > max_bytes_) return plan;

  std::list<Entry> dropped;  // outlives the lock: freeing tables may take long
  std::list<Entry> added{{key, plan}};
  const std::lock_guard lock(mutex_);
  if (auto known = find_locked(key)) return known;  // another thread was faster
  entries_.splice(entries_.begin(), added);
  bytes_ += plan->bytes();
  while (entries_.size() > max_entries_ || bytes_ > max_bytes_) {
    bytes_ -= entries_.back().plan->bytes();
    dropped.splice(dropped.begin(), entries_, std::prev(entries_.end()));
  }
  return plan;
}

std::shared_ptr<const Plan> PlanCache::find_locked(const PlanKey& key) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return found->plan;
}

size_t PlanCache::entries() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

size_t PlanCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::shared_ptr<const Plan> cached_plan(const Pattern& pattern, const TileShape& shape, bool transposed,
                                        bool keep_laps) {
  // Never destroyed: threads of the host may still run while the process exits.
  static PlanCache& cache = *new PlanCache(kPlanCacheEntries, kPlanCacheBytes);
  return cache.get({pattern, shape, transposed, keep_laps});
}

}  // namespace nearfield::core
