// Tiles that may run at the same time although they add to keys that their neighbours see too: tiles of one colour have
// no key in common. Colours run one after another, so every key gets its terms in one order for any number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan.h"

namespace nearfield::core {

// The colour of each group of `group` adjacent tiles of one axis, from 0 on. `wraps`: the hulls of the first and the
// last tiles may meet across the seam. O(groups * colours).
std::vector<int32_t> colour_tiles(const AxisTable& table, bool wraps, int64_t group = 1);

}  // namespace nearfield::core
