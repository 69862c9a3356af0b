// In which order the tile kernel takes a plan's tiles, and which of them go together: neighbours along that axis on
// which they share most of their keys. A stride may leave windows disjoint on one axis and equal on another.
#pragma once

#include <algorithm>
#include <cstdint>

#include "plan/plan.h"

namespace nearfield::core {

class TileOrder {
 public:
  // most: tiles that may go together.
  TileOrder(const Plan& plan, int64_t most) : most_(most) {
    const int last = plan.rank() - 1;
    double least = 2;
    // On the sphere latitudes have rules of their own, and parts of them.
    for (int a = last; a >= (plan.has_arcs() || most == 1 ? last : 0); --a) {
      const double share = together_over_alone(plan.axis(a).tables[0]);
      if (share < least) axis_ = a, least = share;
    }
    length_ = std::max<int64_t>(plan.axis(axis_).tiles(), 1);
    for (int a = axis_ + 1; a <= last; ++a) inner_ *= plan.axis(a).tiles();
    size_ = even_size(length_);
  }

  // The plan's number of the tile at a place.
  int64_t operator[](int64_t place) const {
    const int64_t on_axis = place % length_, line = place / length_;
    return (line / inner_ * length_ + on_axis) * inner_ + line % inner_;
  }
  // How many tiles go together from a place on, before `end`.
  int64_t together(int64_t place, int64_t end) const {
    const int64_t on_axis = place % length_;
    return std::min({size_ - on_axis % size_, length_ - on_axis, end - place});
  }

 private:
  // Groups of about equal size.
  int64_t even_size(int64_t tiles) const { return std::max<int64_t>(1, ceil_div(tiles, ceil_div(tiles, most_))); }

  // Keys on the axis that groups of tiles see, over what the tiles see each for itself.
  double together_over_alone(const AxisTable& table) const {
    const auto tiles = static_cast<int64_t>(table.tiles.size()), size = even_size(tiles);
    int64_t together = 0, alone = 0;
    const auto hull = [&](int64_t first, int64_t last) {
      const AxisTile &from = table.tiles[static_cast<size_t>(first)], &to = table.tiles[static_cast<size_t>(last)];
      const Interval &start = table.intervals[static_cast<size_t>(from.begin)],
                     &end = table.intervals[static_cast<size_t>(to.begin + to.size - 1)];
      return std::min(table.far, end.end() - start.start);
    };
    for (int64_t i = 0; i < tiles; ++i) {
      alone += hull(i, i);
      if (i % size == 0) together += hull(i, std::min(i + size, tiles) - 1);
    }
    return alone > 0 ? static_cast<double>(together) / static_cast<double>(alone) : 1;
  }

  int64_t most_;
  int axis_ = 0;
  int64_t length_ = 1, inner_ = 1, size_ = 1;  // tiles on the axis, on those after it together, of a group
};

}  // namespace nearfield::core
