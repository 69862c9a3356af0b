#include "plan/key_tiles.h"

#include <algorithm>

namespace nearfield::core {

// Of a range longer than a lap each tile counts once.
KeyTiles::Count KeyTiles::count_in(Range range) const {
  const int64_t tiles = min_of(range.last - range.first + 1, count_);
  if (tiles <= 0) return {};
  const bool has_last = floor_div(range.last + 1, count_) > floor_div(range.first, count_);
  return {tiles, tiles * size_ - (has_last ? count_ * size_ - keys_ : 0)};
}

// Ranges whose firsts and lasts never decrease; they are merged in place.
KeyTiles::Count KeyTiles::count_of_union(std::vector<Range>& ranges) const {
  size_t merged = 0;
  for (const Range range : ranges) {
    if (merged > 0 && range.first <= ranges[merged - 1].last + 1)
      ranges[merged - 1].last = max_of(ranges[merged - 1].last, range.last);
    else
      ranges[merged++] = range;
  }
  ranges.resize(merged);
  Count total;
  if (merged == 0) return total;
  const int64_t lap_end = ranges[0].first + count_;
  if (ranges.back().last >= lap_end) {  // what lies a lap after the first tile may be there already
    std::vector<Range> reduced;
    for (const Range range : ranges) {
      if (range.last - range.first + 1 >= count_) return all();
      if (range.first < lap_end) reduced.push_back({range.first, min_of(range.last, lap_end - 1)});
      if (range.last >= lap_end) reduced.push_back({max_of(range.first, lap_end) - count_, range.last - count_});
    }
    std::sort(reduced.begin(), reduced.end(), [](Range a, Range b) { return a.first < b.first; });
    return count_of_union(reduced);
  }
  for (const Range range : ranges) {
    const Count count = count_in(range);
    total.tiles += count.tiles;
    total.keys += count.keys;
  }
  return total;
}

KeyTiles::Seen KeyTiles::seen_by(std::span<const Interval> intervals, bool wraps) const {
  Seen seen;
  if (count_ == 0 || intervals.empty()) return seen;
  std::vector<Range> touched, missed;
  int64_t common_begin = 0, common_end = keys_;  // seen by all; of an axis that does not wrap
  for (const Interval interval : intervals) {
    if (interval.length > 0) touched.push_back({tile_of(interval.start), tile_of(interval.end() - 1)});
    if (wraps && interval.length < keys_)
      missed.push_back({tile_of(interval.end()), tile_of(interval.start + keys_ - 1)});
    common_begin = max_of(common_begin, interval.start);
    common_end = min_of(common_end, interval.end());
    if (interval.length == 0) common_end = common_begin;  // whose place means nothing
  }
  seen.any = count_of_union(touched);
  if (wraps) {
    const Count not_full = count_of_union(missed);
    seen.full = {count_ - not_full.tiles, keys_ - not_full.keys};
  } else if (common_begin < common_end) {
    seen.full = count_in({tile_of(common_begin - 1) + 1, tile_of(common_end) - 1});
  }
  return seen;
}

}  // namespace nearfield::core
