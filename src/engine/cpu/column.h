// The units that the band kernel's work is cut into: a column is one strip of adjacent queries, on all lines of one
// dilation class.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/cpu/driver.h"
#include "plan/plan.h"

namespace nearfield::core {

// One outer axis of one class.
struct OuterAxis {
  const AxisTable* table = nullptr;  // null: absent, one line that sees itself
  int64_t residue = 0, dilation = 1;
  int64_t near() const { return table == nullptr ? 1 : table->near; }
  Interval seen(int64_t x) const {
    return table == nullptr ? Interval{0, 1} : table->intervals[static_cast<size_t>(x)];
  }
  int64_t near_token(int64_t x) const { return locate(x, residue, dilation); }
  int64_t far() const { return table == nullptr ? 1 : table->far; }
  int64_t far_index(int64_t unreduced) const { return floor_mod(unreduced, far()); }
  int64_t far_token(int64_t unreduced) const {
    return table == nullptr ? 0 : locate(far_index(unreduced), residue, dilation);
  }
};

struct Column {
  OuterAxis outer[2];  // planes, rows
  OuterAxis last;
  const AxisTile* strip = nullptr;
  int64_t strip_index = 0;  // within its class
  int64_t lines() const { return outer[0].near() * outer[1].near(); }
};

// Query lines [first, end) of a column are the part's own.
struct LineRange {
  int64_t first = 0, end = 0;
};
inline LineRange lines_of(const CpuPart& part, const Column& column) {
  return {part.first, std::min(part.end, column.lines())};
}

// Columns of one (batch, head), numbered: residues of the outer axes, then the last axis' strips over all its classes.
inline int64_t column_count(const Plan& plan) {
  int64_t count = plan.axis(plan.rank() - 1).tiles();
  for (int a = 0; a + 1 < plan.rank(); ++a) count *= plan.axis(a).classes;
  return count;
}

inline Column column_at(const Plan& plan, int64_t index) {
  const int last = plan.rank() - 1;
  const PlanAxis& axis = plan.axis(last);
  const auto outer_axis = [&](int a, int64_t residue) {
    return OuterAxis{&plan.axis(a).table(residue), residue, plan.axis(a).dilation};
  };
  Column column;
  int64_t strip = index % axis.tiles(), residue = 0;
  index /= axis.tiles();
  while (strip >= static_cast<int64_t>(axis.table(residue).tiles.size()))
    strip -= static_cast<int64_t>(axis.table(residue++).tiles.size());
  column.last = outer_axis(last, residue);
  column.strip_index = strip;
  column.strip = &column.last.table->tiles[static_cast<size_t>(strip)];
  for (int a = last - 1; a >= 0; --a) {
    column.outer[a + 2 - last] = outer_axis(a, index % plan.axis(a).classes);
    index /= plan.axis(a).classes;
  }
  return column;
}

// Where a tensor's lines lie. Along an order there is one, and its positions are all over the place.
class LinePlacement : public Placement {
 public:
  LinePlacement(const Pattern& pattern, const int64_t* strides) : Placement(pattern, strides) {
    if (pattern.rank == 3) plane_ = stride(0);
    if (pattern.rank >= 2) row_ = stride(pattern.rank - 2);
  }
  // Of a key line, by its un-reduced plane and row.
  int64_t key_line(const Column& column, int64_t z, int64_t y) const {
    return column.outer[0].far_token(z) * plane_ + column.outer[1].far_token(y) * row_;
  }

 private:
  int64_t plane_ = 0, row_ = 0;
};

}  // namespace nearfield::core
