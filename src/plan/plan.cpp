#include "plan/plan.h"

#include "base/checked.h"
#include "base/error.h"
#include "plan/arcs.h"
#include "plan/axis_table.h"

namespace nearfield::core {
namespace {

struct AxisOptions {
  int64_t near_extent, far_extent;
  bool transposed, keep_laps;
};

// The table of one class: `near` and `far` tokens of a residue class.
template <class Rule>
AxisTable tabulate(const Rule& rule, int64_t near, int64_t far, const AxisOptions& options) {
  AxisRequest request{{}, far, rule.wraps(), rule.phase, options.near_extent, options.far_extent, options.keep_laps};
  request.intervals.reserve(static_cast<size_t>(near));
  for (int64_t x = 0; x < near; ++x)
    request.intervals.push_back(options.transposed ? rule.queries_of(far, x) : rule.keys_of(far, x));
  return build_axis_table(std::move(request));
}

template <class Rule>
PlanAxis compile(const Rule& rule, const AxisOptions& options) {
  PlanAxis axis;
  axis.near = options.transposed ? rule.keys : rule.queries;
  axis.far = options.transposed ? rule.queries : rule.keys;
  axis.dilation = rule.dilation;
  axis.wraps = rule.wraps();
  if (axis.dilation > 1 && axis.near != axis.far)
    throw Error(Status::internal_error, concat("plan: ", axis.near, " and ", axis.far, " tokens with dilation"));
  axis.classes = min_of(axis.dilation, axis.near);
  const int64_t longer = axis.near % axis.dilation;  // classes with one token more than the others
  axis.long_classes = longer == 0 ? axis.classes : longer;
  if (axis.long_classes > 0)
    axis.tables[0] = tabulate(rule, ceil_div(axis.near, axis.dilation), ceil_div(axis.far, axis.dilation), options);
  if (axis.long_classes < axis.classes)
    axis.tables[1] = tabulate(rule, axis.near / axis.dilation, axis.far / axis.dilation, options);
  return axis;
}

std::span<const AxisRun> runs_of(const AxisTable& table, const AxisTile& tile) {
  return std::span(table.runs).subspan(static_cast<size_t>(tile.first_run), static_cast<size_t>(tile.runs));
}

// Sums over one axis. A plan is a product of its axes, and so are these.
struct AxisSums {
  int64_t tiles = 0, steps = 0, full_steps = 0, useful = 0, executed = 0, visited = 0, full_visited = 0;
};

AxisSums sums_of(const PlanAxis& axis) {
  constexpr const char* kWhat = "plan statistics of an axis";
  AxisSums sums;
  for (int i = 0; i < 2; ++i) {
    const AxisTable& table = axis.tables[i];
    const int64_t classes = i == 0 ? axis.long_classes : axis.classes - axis.long_classes;
    AxisSums once;
    for (const Interval interval : table.intervals) once.useful = checked_sum(once.useful, interval.length, kWhat);
    for (const AxisTile& tile : table.tiles) {
      once.steps = checked_sum(once.steps, tile.steps, kWhat);
      once.visited = checked_sum(once.visited, tile.visited, kWhat);
      once.executed = checked_sum(once.executed, checked_product(tile.size, tile.visited, kWhat), kWhat);
      for (const AxisRun& run : runs_of(table, tile)) {
        if (!run.full) continue;
        once.full_steps += run.count;  // no more than steps and visited
        once.full_visited += run.count * run.first.size;
      }
    }
    auto add = [&](int64_t& sum, int64_t value) {
      sum = checked_sum(sum, checked_product(classes, value, kWhat), kWhat);
    };
    add(sums.tiles, static_cast<int64_t>(table.tiles.size()));
    add(sums.steps, once.steps);
    add(sums.full_steps, once.full_steps);
    add(sums.useful, once.useful);
    add(sums.executed, once.executed);
    add(sums.visited, once.visited);
    add(sums.full_visited, once.full_visited);
  }
  return sums;
}

PlanStatistics statistics_of(const PlanAxis* axes, int rank) {
  AxisSums product{1, 1, 1, 1, 1, 1, 1};
  auto multiply = [](int64_t& by, int64_t value) { by = checked_product(by, value, "plan statistics"); };
  for (int a = 0; a < rank; ++a) {
    const AxisSums axis = sums_of(axes[a]);
    multiply(product.tiles, axis.tiles);
    multiply(product.steps, axis.steps);
    multiply(product.full_steps, axis.full_steps);
    multiply(product.useful, axis.useful);
    multiply(product.executed, axis.executed);
    multiply(product.visited, axis.visited);
    multiply(product.full_visited, axis.full_visited);
  }
  PlanStatistics statistics;
  statistics.tiles = product.tiles;
  statistics.full_steps = product.full_steps;
  statistics.masked_steps = product.steps - product.full_steps;
  statistics.useful_pairs = product.useful;
  statistics.executed_pairs = product.executed;
  statistics.visited_keys = product.visited;
  statistics.masked_keys = product.visited - product.full_visited;
  return statistics;
}

void check_shape(const Pattern& pattern, const TileShape& shape) {
  if (pattern.rank < 1 || pattern.rank > kMaxGridRank) invalid_argument("rank=", pattern.rank, ": must be 1, 2 or 3");
  for (int a = 0; a < pattern.rank; ++a) {
    if (shape.near[a] < 1) invalid_argument("tile.near[", a, "]=", shape.near[a], ": must be at least 1");
    if (shape.far[a] < 1) invalid_argument("tile.far[", a, "]=", shape.far[a], ": must be at least 1");
  }
}

size_t bytes_of(const AxisTable& table) {
  return table.intervals.capacity() * sizeof(Interval) + table.tiles.capacity() * sizeof(AxisTile) +
         table.runs.capacity() * sizeof(AxisRun) + table.spans.capacity() * sizeof(Span);
}

}  // namespace

int64_t PlanAxis::tiles() const {
  return long_classes * static_cast<int64_t>(tables[0].tiles.size()) +
         (classes - long_classes) * static_cast<int64_t>(tables[1].tiles.size());
}

Plan::Plan(const Pattern& pattern, const TileShape& shape, bool transposed, bool keep_laps)
    : rank_(pattern.rank), shape_(shape), transposed_(transposed), keep_laps_(keep_laps) {
  check_shape(pattern, shape);
  for (int a = 0; a < rank_; ++a) {
    const AxisOptions options{shape.near[a], shape.far[a], transposed, keep_laps};
    axes_[a] = std::visit([&](const auto& rule) { return compile(rule, options); }, pattern.axes[a]);
  }
  if (pattern.has_arcs()) {
    if (transposed || shape.near[0] != 1)
      throw Error(Status::internal_error, "plan: tiles on the sphere are of queries of one latitude");
    sphere_ = pattern.sphere;
    statistics_ = arc_statistics(*sphere_, shape.near[1], shape.far[1], 0, sphere_->reach.query_latitudes());
  } else {
    statistics_ = statistics_of(axes_, rank_);
  }
}

size_t Plan::bytes() const {
  size_t total = sizeof(Plan);
  for (int a = 0; a < rank_; ++a) total += bytes_of(axes_[a].tables[0]) + bytes_of(axes_[a].tables[1]);
  return total;
}

Tile Plan::tile(int64_t index) const {
  Tile tile;
  for (int a = rank_ - 1; a >= 0; --a) {
    const PlanAxis& axis = axes_[a];
    int64_t on_axis = index % axis.tiles();
    index /= axis.tiles();
    const int64_t in_long_class = static_cast<int64_t>(axis.tables[0].tiles.size());
    const int64_t in_long_classes = axis.long_classes * in_long_class;
    const bool is_long = on_axis < in_long_classes;
    if (!is_long) on_axis -= in_long_classes;
    const AxisTable& table = axis.tables[is_long ? 0 : 1];
    const int64_t in_class = static_cast<int64_t>(table.tiles.size());
    tile.residue[a] = on_axis / in_class + (is_long ? 0 : axis.long_classes);
    tile.tables[a] = &table;
    tile.axes[a] = &table.tiles[static_cast<size_t>(on_axis % in_class)];
  }
  return tile;
}

namespace {

// Goes through the pieces of a tile's runs on one axis, again and again.
class PieceCursor {
 public:
  PieceCursor() = default;
  PieceCursor(const AxisTable& table, const AxisTile& tile) : runs_(runs_of(table, tile)), spans_(table.spans.data()) {
    enter(runs_.data());
  }
  void write(int a, Step& step) const {
    step.pieces[a] = piece_;
    step.spans[a] = spans_ + run_->spans;
    step.axis_full[a] = run_->full;
    step.full = step.full && run_->full;
  }
  // False after the last piece; then it stands at the first one.
  bool next() {
    piece_.first += piece_.size;
    if (--left_ > 0) return true;
    const bool any = run_ + 1 != runs_.data() + runs_.size();
    enter(any ? run_ + 1 : runs_.data());
    return any;
  }

 private:
  void enter(const AxisRun* run) {
    run_ = run;
    piece_ = run->first;
    left_ = run->count;
  }

  std::span<const AxisRun> runs_;
  const Span* spans_ = nullptr;
  const AxisRun* run_ = nullptr;
  Piece piece_;
  int64_t left_ = 0;
};

}  // namespace

int64_t Plan::visited_keys(const Tile& tile) const {
  if (sphere_) return core::visited_keys(*sphere_, tile);
  int64_t keys = 1;
  for (int a = 0; a < rank_; ++a) keys *= tile.axes[a]->visited;
  return keys;
}

void Plan::expand(const Tile& tile, StepList& steps) const {
  if (sphere_) return expand_arcs(*sphere_, tile, shape_.far[1], steps);
  steps.clear();
  size_t count = 1;
  for (int a = 0; a < rank_; ++a) count *= static_cast<size_t>(tile.axes[a]->steps);
  if (count == 0) return;
  steps.reserve(count);
  PieceCursor cursors[kMaxGridRank];
  for (int a = 0; a < rank_; ++a) cursors[a] = PieceCursor(*tile.tables[a], *tile.axes[a]);
  for (size_t i = 0; i < count; ++i) {
    Step& step = steps.emplace_back();
    step.full = true;
    for (int a = 0; a < rank_; ++a) cursors[a].write(a, step);
    for (int a = rank_ - 1; a >= 0 && !cursors[a].next(); --a) {
    }
  }
}

int64_t Plan::useful_pairs(const Tile& tile, const Step& step) const {
  int64_t pairs = 1;
  for (int a = 0; a < rank_; ++a) {
    int64_t on_axis = 0;
    for (int64_t t = 0; t < tile.size(a); ++t) {
      const Span span = step.spans[a][t];
      on_axis += span.high - span.low + (span.low > span.high ? step.pieces[a].size : 0);
    }
    pairs *= on_axis;
  }
  return pairs;
}

}  // namespace nearfield::core
