#include "pattern/curve.h"

#include <deque>
#include <variant>
#include <vector>

#include "base/lru_cache.h"

namespace nearfield::core {
namespace {

struct CurveKey {
  OrderKey order;
  AxisRule rule;
  bool operator==(const CurveKey&) const = default;
};

struct CurveShape {
  int64_t extents[kMaxGridRank] = {1, 1, 1};
  int64_t box[kMaxGridRank] = {};  // of every run; 0: they are not all boxes
  size_t bytes() const { return sizeof *this; }
};

// A key in the window of the query at hand.
struct Candidate {
  int64_t key, coordinate;
};

// The largest |key - query| on one axis of the grid, in one residue class of positions. Starts and ends of windows
// never decrease, so the window's largest and smallest coordinates are found in passing.
template <class Rule>
int64_t widest_distance(const Rule& rule, const std::vector<int64_t>& coordinates) {
  const auto n = static_cast<int64_t>(coordinates.size());
  std::deque<Candidate> highest, lowest;
  int64_t widest = 0, taken = 0;
  for (int64_t x = 0; x < n; ++x) {
    const Interval window = rule.keys_of(n, x);
    for (; taken < window.end(); ++taken) {
      const int64_t c = coordinates[static_cast<size_t>(taken)];
      while (!highest.empty() && highest.back().coordinate <= c) highest.pop_back();
      while (!lowest.empty() && lowest.back().coordinate >= c) lowest.pop_back();
      highest.push_back({taken, c});
      lowest.push_back({taken, c});
    }
    while (!highest.empty() && highest.front().key < window.start) highest.pop_front();
    while (!lowest.empty() && lowest.front().key < window.start) lowest.pop_front();
    if (highest.empty()) continue;
    const int64_t own = coordinates[static_cast<size_t>(x)];
    widest = max_of(widest, max_of(highest.front().coordinate - own, own - lowest.front().coordinate));
  }
  return widest;
}

template <class Rule>
void measure_extents(const TokenOrder& order, const Rule& rule, int64_t (&extents)[kMaxGridRank]) {
  std::vector<int64_t> coordinates[kMaxGridRank];
  for (int64_t residue = 0; residue < min_of(rule.dilation, order.size()); ++residue) {
    for (auto& each : coordinates) each.clear();
    for (int64_t p = residue; p < order.size(); p += rule.dilation) {
      int64_t cell[kMaxGridRank];
      order.coordinates_of(order.token_at(p), cell);
      for (int a = 0; a < order.key.rank; ++a) coordinates[a].push_back(cell[a]);
    }
    for (int a = 0; a < order.key.rank; ++a) extents[a] = max_of(extents[a], 1 + widest_distance(rule, coordinates[a]));
  }
}

struct Box {
  int64_t low[kMaxGridRank] = {}, size[kMaxGridRank] = {};
  int64_t cells() const { return size[0] * size[1] * size[2]; }
};

// The smallest box around the tokens at positions [first, end).
Box box_around(const TokenOrder& order, int64_t first, int64_t end) {
  Box box;
  int64_t high[kMaxGridRank] = {};
  for (int64_t p = first; p < end; ++p) {
    int64_t cell[kMaxGridRank];
    order.coordinates_of(order.token_at(p), cell);
    for (int a = 0; a < kMaxGridRank; ++a) {
      box.low[a] = p == first ? cell[a] : min_of(box.low[a], cell[a]);
      high[a] = p == first ? cell[a] : max_of(high[a], cell[a]);
    }
  }
  for (int a = 0; a < kMaxGridRank; ++a) box.size[a] = high[a] - box.low[a] + 1;
  return box;
}

// Runs are boxes of a lattice if each fills its box, and each begins at multiples of the same sides.
void find_boxes(const TokenOrder& order, const RunsAxis& rule, int64_t (&sides)[kMaxGridRank]) {
  const int64_t tokens = order.size(), size = min_of(rule.kernel_size, tokens);
  const bool is_plain = rule.phase == 0 && rule.dilation == 1 && !rule.is_causal;
  if (!is_plain || tokens == 0 || tokens % size != 0) return;
  const Box first = box_around(order, 0, size);
  for (int64_t begin = 0; begin < tokens; begin += size) {
    const Box box = box_around(order, begin, begin + size);
    if (box.cells() != size) return;
    for (int a = 0; a < kMaxGridRank; ++a)
      if (box.size[a] != first.size[a] || box.low[a] % first.size[a] != 0) return;
  }
  for (int a = 0; a < kMaxGridRank; ++a) sides[a] = first.size[a];
}

std::shared_ptr<const CurveShape> shape_of(const Pattern& pattern) {
  static auto& cache = *new LruCache<CurveKey, CurveShape>(64, size_t{1} << 20);
  return cache.get({pattern.order->key, pattern.axes[0]}, [&] {
    auto shape = std::make_shared<CurveShape>();
    std::visit([&](const auto& rule) { measure_extents(*pattern.order, rule, shape->extents); }, pattern.axes[0]);
    if (const auto* runs = std::get_if<RunsAxis>(&pattern.axes[0])) find_boxes(*pattern.order, *runs, shape->box);
    return shape;
  });
}

}  // namespace

void bias_extents(const Pattern& pattern, int64_t (&extents)[kMaxGridRank]) {
  if (pattern.order) {
    std::copy_n(shape_of(pattern)->extents, kMaxGridRank, extents);
    return;
  }
  for (int a = 0; a < kMaxGridRank; ++a)
    extents[a] = a < pattern.rank ? std::visit([](const auto& rule) { return rule.kernel_size; }, pattern.axes[a]) : 1;
}

Pattern without_needless_order(const Pattern& pattern) {
  if (!pattern.order || !std::holds_alternative<RunsAxis>(pattern.axes[0])) return pattern;
  const std::shared_ptr<const CurveShape> shape = shape_of(pattern);
  if (shape->box[0] == 0) return pattern;
  Pattern boxes;
  boxes.rank = pattern.order->key.rank;
  for (int a = 0; a < boxes.rank; ++a) {
    const int64_t length = pattern.order->key.grid[a], side = shape->box[a];
    boxes.axes[a] = RunsAxis{.queries = length, .keys = length, .kernel_size = side, .stride = side};
  }
  return boxes;
}

}  // namespace nearfield::core
