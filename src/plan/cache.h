// Plans are immutable and shared between threads; the most recently used ones are kept.
#pragma once

#include <memory>

#include "plan/plan.h"

namespace nearfield::core {

// Builds the plan or returns the one built before. Keeps at most kPlanCacheEntries plans and kPlanCacheBytes bytes,
// dropping the least recently used; a plan in use outlives its eviction.
inline constexpr size_t kPlanCacheEntries = 64;
inline constexpr size_t kPlanCacheBytes = size_t{64} << 20;
std::shared_ptr<const Plan> cached_plan(const Pattern& pattern, const TileShape& shape, bool transposed = false,
                                        bool keep_laps = false);

}  // namespace nearfield::core
