// Keys of one axis cut into a fixed tiling: key tile i holds keys [i * size, + size), the last may be ragged. So do
// kernels whose key tiles lie where the tensor's tiles lie, and the simulator of Hassani et al., "Generalized
// Neighborhood Attention" (2025). Plans cut otherwise: their steps begin at a tile's first key (axis_table.h).
//
// Key tiles have un-reduced numbers, as keys have: tile i + count() is tile i a lap later. So the tiles that an
// interval touches are a range.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pattern/interval.h"

namespace nearfield::core {

class KeyTiles {
 public:
  // keys >= 0, size >= 1.
  KeyTiles(int64_t keys, int64_t size) : keys_(keys), size_(size), count_(ceil_div(keys, size)) {}

  int64_t keys() const { return keys_; }
  int64_t count() const { return count_; }

  struct Count {
    int64_t tiles = 0, keys = 0;  // and the keys that they hold
  };
  struct Seen {
    Count any, full;  // tiles that some query sees a key of; that all queries see whole
  };
  // By queries whose intervals these are, un-reduced; starts and ends never decrease but in empty ones. wraps: an
  // interval may cross the seam. O(intervals).
  Seen seen_by(std::span<const Interval> intervals, bool wraps) const;

 private:
  struct Range {
    int64_t first = 0, last = 0;  // tiles, un-reduced, both included
  };
  int64_t tile_of(int64_t key) const { return floor_div(key, keys_) * count_ + floor_mod(key, keys_) / size_; }
  Count count_in(Range range) const;
  Count count_of_union(std::vector<Range>& ranges) const;
  Count all() const { return {count_, keys_}; }

  int64_t keys_, size_, count_;
};

}  // namespace nearfield::core
