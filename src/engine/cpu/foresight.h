// Along an order neighbours in the sequence are all over the memory, and no hardware foresees which rows come next: the
// drivers ask for them while they work on others.
#pragma once

#include <cstdint>

#include "engine/cpu/driver.h"

namespace nearfield::core {

// Rows of one (batch, head) of a tensor, at positions of one residue class of an order.
inline void foresee_rows(const HeadView& rows, int64_t residue, int64_t dilation, int64_t begin, int64_t end) {
  const int64_t bytes = rows.channels * size_of(rows.dtype);
  for (int64_t x = begin; x < end; ++x) {
    const std::byte* row = rows.at(rows.placement.along(locate(x, residue, dilation)));
    for (int64_t b = 0; b < bytes; b += static_cast<int64_t>(kCacheLine)) __builtin_prefetch(row + b);
  }
}

// What a tile of queries has that an earlier one had not: its own positions, and those of keys from the end of what the
// earlier one saw.
struct NextTile {
  int64_t residue = 0, dilation = 1;
  int64_t near_begin = 0, near_end = 0, far_begin = 0, far_end = 0;

  // now: the earlier tile, null if it has none of the same keys.
  NextTile(const AxisTable& table, const AxisTile* now, const AxisTile& next, int64_t residue_of_next, int64_t step)
      : residue(residue_of_next), dilation(step), near_begin(next.begin), near_end(next.begin + next.size) {
    const auto interval = [&](int64_t x) { return table.intervals[static_cast<size_t>(x)]; };
    far_begin = interval(near_begin).start;
    far_end = interval(near_end - 1).end();
    if (now != nullptr) far_begin = clamp_to(interval(now->begin + now->size - 1).end(), far_begin, far_end);
  }

  // Part `part` of `parts` of what is near and far.
  void foresee_near(const HeadView& rows, int64_t part = 0, int64_t parts = 1) const {
    foresee(rows, near_begin, near_end, part, parts);
  }
  void foresee_far(const HeadView& rows, int64_t part = 0, int64_t parts = 1) const {
    foresee(rows, far_begin, far_end, part, parts);
  }

 private:
  void foresee(const HeadView& rows, int64_t begin, int64_t end, int64_t part, int64_t parts) const {
    const int64_t count = end - begin;
    foresee_rows(rows, residue, dilation, begin + count * part / parts, begin + count * (part + 1) / parts);
  }
};

}  // namespace nearfield::core
