#include "plan/slots.h"

#include <variant>

#include "pattern/windows.h"

namespace nearfield::core {

void slots_of(const Pattern& pattern, bool tight, int64_t (&slots)[kMaxGridRank]) {
  tight ? window_slots(pattern, slots) : weight_slots(pattern, slots);
}

int spans_seen(const AxisRule& rule, int64_t query, SlotSpan (&spans)[2]) {
  return std::visit(
      [&](const auto& axis) {
        const int64_t residue = query % axis.dilation, x = query / axis.dilation;
        const int64_t n = ceil_div(axis.keys - residue, axis.dilation);
        const Interval window = axis.keys_of(n, x);
        if (window.length <= 0) return 0;
        const int64_t to_bias = axis.kernel_size - 1 - x;
        const auto span = [&](int64_t slot, int64_t y, int64_t unreduced, int64_t count) {
          return SlotSpan{slot, y * axis.dilation + residue, unreduced + to_bias, count};
        };
        if (window.start >= 0 && window.end() <= n) {
          spans[0] = span(0, window.start, window.start, window.length);
          return 1;
        }
        // Beyond the seam are as many keys as `over`. A whole class begins with its key 0, elsewhere than the window.
        const int64_t first = floor_mod(window.start, n), before = min_of(n - first, window.length);
        const int64_t over = window.length - before;
        if (window.length == n) {
          spans[0] = span(0, 0, window.start + before, over);
          spans[1] = span(over, over, window.start, before);
          if (over > 0) return 2;
          spans[0] = spans[1];
          return 1;
        }
        spans[0] = span(0, first, window.start, before);
        spans[1] = span(before, 0, window.start + before, over);
        return over > 0 ? 2 : 1;
      },
      rule);
}

int64_t dilation_of(const AxisRule& rule) {
  return std::visit([](const auto& axis) { return axis.dilation; }, rule);
}

void keys_seen(const AxisRule& rule, int64_t query, std::vector<SlotKey>& keys) {
  SlotSpan spans[2];
  const int count = spans_seen(rule, query, spans);
  const int64_t dilation = dilation_of(rule);
  keys.clear();
  for (int i = 0; i < count; ++i)
    for (int64_t j = 0; j < spans[i].count; ++j)
      keys.push_back({spans[i].slot + j, spans[i].key + j * dilation, spans[i].bias + j});
}

void queries_that_see(const AxisRule& rule, int64_t key, std::vector<SlotQuery>& queries) {
  queries.clear();
  std::visit(
      [&](const auto& axis) {
        const int64_t residue = key % axis.dilation, y = key / axis.dilation;
        const int64_t n = ceil_div(axis.keys - residue, axis.dilation);
        const Interval seers = axis.queries_of(n, y);
        int64_t x = seers.length > 0 ? floor_mod(seers.start, n) : 0;
        for (int64_t i = 0; i < seers.length; ++i) {
          queries.push_back({slot_in(axis.keys_of(n, x), n, y), x * axis.dilation + residue});
          if (++x == n) x = 0;
        }
      },
      rule);
}

SlotRuns::SlotRuns(const Plan& plan, const int64_t (&slots)[kMaxGridRank]) : plan_(plan) {
  for (int a = 0; a < kMaxGridRank; ++a) slots_[a] = slots[a];
}

// The runs of each of the tile's tokens on an axis: at most two, where a hull is clipped to one lap.
void SlotRuns::find(const Tile& tile, const Step& step, StepSlots& found) const {
  for (int axis = 0; axis < kMaxGridRank; ++axis) {
    std::vector<StepSlots::Run>& runs = found.runs[axis];
    std::vector<int64_t>& first = found.first[axis];
    runs.clear();
    first.assign(1, 0);
    if (axis >= plan_.rank()) {  // one token that sees itself
      found.keys[axis] = found.tokens[axis] = 1;
      runs.push_back({0, 0, 1});
      first.push_back(1);
      continue;
    }
    const AxisTable& table = *tile.tables[axis];
    const Piece& piece = step.pieces[axis];
    found.keys[axis] = piece.size;
    found.tokens[axis] = tile.size(axis);
    for (int64_t t = 0; t < tile.size(axis); ++t) {
      const Interval& window = table.intervals[static_cast<size_t>(tile.begin(axis) + t)];
      const Span span = step.spans[axis][t];
      const auto add = [&](int64_t low, int64_t high) {
        if (low < high) runs.push_back({low, slot_in(window, table.far, piece.first + low), high - low});
      };
      if (span.low <= span.high) {
        add(span.low, span.high);
      } else {
        add(0, span.high);
        add(span.low, piece.size);
      }
      first.push_back(static_cast<int64_t>(runs.size()));
    }
  }
}

void SlotRuns::add(const StepSlots& found, std::vector<SlotRun>& runs) const {
  const int last = plan_.rank() - 1;
  const size_t begin = runs.size();
  int64_t query = 0;
  // Axes beyond the rank come first here, so that the last axis is innermost.
  const int outer = (last + 1) % 3, middle = (last + 2) % 3;
  const auto each = [&](int a, int64_t token, auto visit) {
    const auto t = static_cast<size_t>(token);
    for (int64_t i = found.first[a][t]; i < found.first[a][t + 1]; ++i) visit(found.runs[a][static_cast<size_t>(i)]);
  };
  using Run = StepSlots::Run;
  for (int64_t t0 = 0; t0 < found.tokens[outer]; ++t0)
    for (int64_t t1 = 0; t1 < found.tokens[middle]; ++t1)
      for (int64_t t2 = 0; t2 < found.tokens[last]; ++t2, ++query)
        each(outer, t0, [&](const Run& o) {
          for (int64_t i = 0; i < o.count; ++i)
            each(middle, t1, [&](const Run& m) {
              for (int64_t j = 0; j < m.count; ++j)
                each(last, t2, [&](const Run& r) {
                  const int64_t key = ((o.key + i) * found.keys[middle] + m.key + j) * found.keys[last] + r.key;
                  const int64_t slot = ((o.slot + i) * slots_[middle] + m.slot + j) * slots_[last] + r.slot;
                  SlotRun* previous = runs.size() == begin ? nullptr : &runs.back();
                  if (previous != nullptr && previous->query == query && previous->key + previous->count == key &&
                      previous->slot + previous->count == slot) {
                    previous->count += r.count;
                  } else {
                    runs.push_back({query, key, slot, r.count});
                  }
                });
            });
        });
}

bool SlotRuns::is_whole(const Tile& tile, int64_t query) const {
  for (int a = plan_.rank() - 1; a >= 0; --a) {
    const int64_t t = query % tile.size(a);
    query /= tile.size(a);
    if (tile.tables[a]->intervals[static_cast<size_t>(tile.begin(a) + t)].length < slots_[a]) return false;
  }
  return true;
}

}  // namespace nearfield::core
