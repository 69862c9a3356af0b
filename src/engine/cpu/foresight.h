// Along an order neighbours in the sequence are all over the memory, and no hardware foresees which rows come next: the
// drivers list them, and the kernels fetch them a few at a time. (In one burst they would hold up the loads behind it:
// 16 queries' worth of rows cost a tenth of the tile's time.)
#pragma once

#include <cstdint>

#include "engine/cpu/driver.h"

namespace nearfield::core {

// Rows to fetch, in memory that holds `most` of them; further ones are dropped.
class UpcomingRows {
 public:
  UpcomingRows(Upcoming* list, int64_t most) : list_(list), most_(most) {}

  // Of one (batch, head) of a tensor, at positions [begin, end) of a residue class of an order.
  void add(const HeadView& rows, int64_t residue, int64_t dilation, int64_t begin, int64_t end) {
    constexpr auto kLine = static_cast<int64_t>(kCacheLine);
    const int64_t cache_lines = (rows.channels * size_of(rows.dtype) + kLine - 1) / kLine;
    for (int64_t x = begin; x < end && count_ < most_; ++x)
      list_[count_++] = {rows.at(rows.placement.along(locate(x, residue, dilation))), 0, 1, cache_lines};
  }
  int64_t count() const { return count_; }

 private:
  Upcoming* list_;
  int64_t most_, count_ = 0;
};

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
  void add_near(const HeadView& rows, UpcomingRows& upcoming, int64_t part = 0, int64_t parts = 1) const {
    add(rows, upcoming, near_begin, near_end - near_begin, part, parts);
  }
  void add_far(const HeadView& rows, UpcomingRows& upcoming, int64_t part = 0, int64_t parts = 1) const {
    add(rows, upcoming, far_begin, far_end - far_begin, part, parts);
  }

 private:
  void add(const HeadView& rows, UpcomingRows& upcoming, int64_t begin, int64_t count, int64_t part,
           int64_t parts) const {
    upcoming.add(rows, residue, dilation, begin + count * part / parts, begin + count * (part + 1) / parts);
  }
};

}  // namespace nearfield::core
