#include "engine/cpu/first_sums.h"

#include <algorithm>
#include <span>

#include "plan/colouring.h"

namespace nearfield::core {
namespace {

Interval positions_of(const AxisTable& table, const AxisTile& strip) {
  const Interval& first = table.intervals[static_cast<size_t>(strip.begin)];
  const Interval& last = table.intervals[static_cast<size_t>(strip.begin + strip.size - 1)];
  return {first.start, last.end() - first.start};
}

bool can_store(const CpuPart& part) {
  return part.kernel == CpuKernel::band && part.heads_together * most_key_lines(*part.plan) <= kMostKeyLines &&
         FirstStrips(*part.plan).all();
}

}  // namespace

int64_t most_key_lines(const Plan& plan) {
  int64_t lines = 1;
  for (int a = 0; a + 1 < plan.rank(); ++a) lines *= plan.axis(a).table(0).far;
  return lines;
}

void share_first_sums(const Problem& problem, std::vector<CpuPart>& parts) {
  const auto adding = std::stable_partition(parts.begin(), parts.end(), can_store);
  int64_t taken = 0;  // key latitudes below have been written; those that store go from north to south
  for (CpuPart& part : std::span(parts.begin(), adding)) {
    if (!problem.pattern.has_arcs()) {
      part.first_rows = {0, INT64_MAX};
      return;
    }
    const SphereReach& reach = problem.pattern.sphere->reach;
    int64_t begin = INT64_MAX, end = 0;
    for (int64_t latitude = part.first; latitude < part.end; ++latitude) {
      const Interval seen = reach.keys_of(latitude);
      if (seen.length == 0) continue;
      begin = std::min(begin, seen.start);
      end = std::max(end, seen.end());
    }
    if (end <= taken) continue;
    begin = std::max(begin, taken);
    part.first_rows = {begin, end - begin};
    taken = end;
  }
}

FirstStrips::FirstStrips(const Plan& plan) {
  const PlanAxis& axis = plan.axis(plan.rank() - 1);
  first_ = &axis.tables[0];
  for (int kind = 0; kind < 2; ++kind) {
    const AxisTable& table = axis.tables[kind];
    Table& own = tables_[kind];
    own.strips = colour_tiles(table, axis.wraps);
    own.keys.assign(static_cast<size_t>(table.far), -1);
    for (size_t i = 0; i < table.tiles.size(); ++i) {
      const Interval positions = positions_of(table, table.tiles[i]);
      for (int64_t y = positions.start; y < positions.end(); ++y) {
        int32_t& first = own.keys[static_cast<size_t>(floor_mod(y, table.far))];
        first = first < 0 ? own.strips[i] : std::min(first, own.strips[i]);
      }
    }
  }
}

int32_t FirstStrips::colour_of(const Column& column) const {
  return table_of(column).strips[static_cast<size_t>(column.strip_index)];
}

bool FirstStrips::is_first(const Column& column, int64_t p) const {
  const AxisTable& table = *column.last.table;
  const int64_t y = floor_mod(positions_of(table, *column.strip).start + p, table.far);
  return p < table.far && table_of(column).keys[static_cast<size_t>(y)] == colour_of(column);
}

bool FirstStrips::all() const {
  return std::all_of(tables_, tables_ + 2, [](const Table& table) {
    return std::none_of(table.keys.begin(), table.keys.end(), [](int32_t first) { return first < 0; });
  });
}

}  // namespace nearfield::core
