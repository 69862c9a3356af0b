// Drives the band kernel: a strip of adjacent queries walks over the lines of the grid, and every key line that it
// meets is packed once, into a ring of lines in the kernel's type. The plan gives, per axis, the key lines of a query
// line and one interval per query, both un-reduced on a wrapped axis: the ring is indexed by those, so that a window
// across the seam is as contiguous as any other.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/cpu/driver.h"
#include "engine/cpu/rates.h"
#include "plan/cache.h"

namespace nearfield::core {
namespace {

constexpr double kLog2e = 1.44269504088896340736;
// A slot's memory: the ring should stay in the L2 cache, the scores of one run of queries in L1.
constexpr int64_t kMostRingBytes = 640 * 1024;
constexpr int64_t kMostScoreBytes = 64 * 1024;
// 1-D windows have no line to walk to: a longer strip shares more of what it packs.
constexpr int64_t kStrip1d = 64;

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// The largest of everything over all classes: what scratch memory must hold.
struct BandExtent {
  int64_t ring[kMaxGridRank] = {1, 1, 1};  // key lines at once, per outer axis
  int64_t lines = 1;                       // their product
  int64_t positions = 0;                   // of a packed line: the hull of a strip's windows
  int64_t longest = 0;                     // window on the last axis
  int64_t strip = 0;

  explicit BandExtent(const Plan& plan) {
    const int last = plan.rank() - 1;
    for (int a = 0; a < plan.rank(); ++a)
      for (const AxisTable& table : plan.axis(a).tables)
        for (const Interval& interval : table.intervals)
          (a == last ? longest : ring[a]) = std::max(a == last ? longest : ring[a], interval.length);
    for (int a = 0; a < last; ++a) lines *= ring[a];
    for (const AxisTable& table : plan.axis(last).tables)
      for (const AxisTile& tile : table.tiles) {
        const Interval& first = table.intervals[static_cast<size_t>(tile.begin)];
        const Interval& end = table.intervals[static_cast<size_t>(tile.begin + tile.size - 1)];
        positions = std::max(positions, end.end() - first.start);
        strip = std::max(strip, tile.size);
      }
  }
};

template <class T>
struct Workspace {
  int64_t key_stride, value_stride, width, slot_size;
  T *ring, *query, *out, *scores, *logsumexp;
  const T **keys, **values;
  int64_t (*tags)[kMaxGridRank];
  int32_t *begin, *end;
  int64_t *key_offsets, *value_offsets, *query_offsets, *out_offsets;

  Workspace(Arena& arena, const Problem& problem, const KernelTable<T>& kernels, const BandExtent& extent) {
    const int64_t lanes = kernels.lanes;
    key_stride = round_up(problem.shape.head_dim, lanes);
    value_stride = round_up(problem.shape.head_dim_v, lanes);
    width = round_up(extent.longest, lanes);
    slot_size = extent.positions * (key_stride + value_stride);
    ring = arena.take<T>(extent.lines * slot_size);
    query = arena.take<T>(lanes * key_stride);
    out = arena.take<T>(lanes * value_stride);
    scores = arena.take<T>(lanes * extent.lines * width);
    logsumexp = arena.take<T>(lanes);
    keys = arena.take<const T*>(extent.lines);
    values = arena.take<const T*>(extent.lines);
    tags = arena.take<int64_t[kMaxGridRank]>(extent.lines);
    begin = arena.take<int32_t>(extent.strip);
    end = arena.take<int32_t>(extent.strip);
    key_offsets = arena.take<int64_t>(extent.positions);
    value_offsets = arena.take<int64_t>(extent.positions);
    query_offsets = arena.take<int64_t>(lanes);
    out_offsets = arena.take<int64_t>(lanes);
  }
};

// One strip of one class: the unit that tasks are made of.
struct Column {
  int64_t residue[kMaxGridRank] = {};
  const AxisTable* tables[kMaxGridRank] = {};
  const AxisTile* strip = nullptr;
};

template <class T>
class BandForward {
 public:
  BandForward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, void* memory)
      : problem_(problem),
        outputs_(outputs),
        plan_(*choice.plan),
        outer_(choice.plan->rank() - 1),
        kernels_(kernels_of<T>(choice.isa)),
        extent_(*choice.plan),
        arena_(memory),
        ws_(arena_, problem, kernels_, extent_) {}

  // Query lines [first, end) of the column, numbered over the outer axes with the last of them fastest.
  void run(const Column& column, int64_t batch, int64_t kv_head, int64_t first, int64_t end) {
    const int rank = plan_.rank();
    const HeadView key(problem_.key, rank, batch, kv_head), value(problem_.value, rank, batch, kv_head);
    start_column(column, key, value);
    const int64_t group = problem_.shape.heads / problem_.shape.heads_kv;
    for (int64_t line = first; line < end; ++line) {
      int64_t at[kMaxGridRank] = {};
      for (int64_t a = outer_ - 1, rest = line; a >= 0; --a) {
        at[a] = rest % column.tables[a]->near;
        rest /= column.tables[a]->near;
      }
      const int64_t lines = gather_lines(column, at, key, value);
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
        for (int64_t t = 0; t < column.strip->size; t += kernels_.lanes) run_queries(column, at, batch, head, t, lines);
    }
  }

 private:
  static int64_t memory_line(const Plan& plan, const Column& column, const int64_t (&at)[kMaxGridRank], int axes,
                             const int64_t (&strides)[kMaxGridRank]) {
    int64_t offset = 0;
    for (int a = 0; a < axes; ++a) offset += locate(at[a], column.residue[a], plan.axis(a).dilation) * strides[a];
    return offset;
  }

  void start_column(const Column& column, const HeadView& key, const HeadView& value) {
    const AxisTable& last = *column.tables[outer_];
    const int64_t dilation = plan_.axis(outer_).dilation, residue = column.residue[outer_];
    const Interval* intervals = last.intervals.data() + column.strip->begin;
    const int64_t origin = intervals[0].start;
    positions_ = intervals[column.strip->size - 1].end() - origin;
    for (int64_t t = 0; t < column.strip->size; ++t) {
      ws_.begin[t] = static_cast<int32_t>(intervals[t].start - origin);
      ws_.end[t] = static_cast<int32_t>(intervals[t].end() - origin);
    }
    for (int64_t p = 0; p < positions_; ++p) {
      const int64_t token = locate(floor_mod(origin + p, last.far), residue, dilation);
      ws_.key_offsets[p] = token * key.strides[outer_];
      ws_.value_offsets[p] = token * value.strides[outer_];
    }
    for (int64_t slot = 0; slot < extent_.lines; ++slot)
      std::fill_n(ws_.tags[slot], kMaxGridRank, INT64_MIN);  // nothing packed
  }

  // The key lines that the query line at `at` sees, packed; ws_.keys and ws_.values point at them.
  int64_t gather_lines(const Column& column, const int64_t (&at)[kMaxGridRank], const HeadView& key,
                       const HeadView& value) {
    Interval box[kMaxGridRank];
    int64_t lines = 1;
    for (int a = 0; a < outer_; ++a) {
      box[a] = column.tables[a]->intervals[static_cast<size_t>(at[a])];
      lines *= box[a].length;
    }
    int64_t count = 0;
    for (int64_t i = 0; i < lines; ++i) {
      int64_t y[kMaxGridRank] = {}, slot = 0;
      for (int64_t a = outer_ - 1, rest = i; a >= 0; --a) {
        y[a] = box[a].start + rest % box[a].length;
        rest /= box[a].length;
      }
      for (int a = 0; a < outer_; ++a) slot = slot * extent_.ring[a] + floor_mod(y[a], extent_.ring[a]);
      T* packed = ws_.ring + slot * ws_.slot_size;
      if (!std::equal(y, y + kMaxGridRank, ws_.tags[slot])) {
        std::copy_n(y, kMaxGridRank, ws_.tags[slot]);
        pack(column, y, key, value, packed);
      }
      ws_.keys[count] = packed;
      ws_.values[count++] = packed + positions_ * ws_.key_stride;
    }
    return count;
  }

  void pack(const Column& column, const int64_t (&unreduced)[kMaxGridRank], const HeadView& key, const HeadView& value,
            T* packed) {
    int64_t y[kMaxGridRank] = {};
    for (int a = 0; a < outer_; ++a) y[a] = floor_mod(unreduced[a], column.tables[a]->far);
    kernels_.load_rows(key.at(memory_line(plan_, column, y, outer_, key.strides)), key.dtype, ws_.key_offsets,
                       positions_, key.channels, T{1}, packed, ws_.key_stride);
    kernels_.load_rows(value.at(memory_line(plan_, column, y, outer_, value.strides)), value.dtype, ws_.value_offsets,
                       positions_, value.channels, T{1}, packed + positions_ * ws_.key_stride, ws_.value_stride);
  }

  // Queries t .. t + lanes of the strip, on the line at `at`.
  void run_queries(const Column& column, const int64_t (&at)[kMaxGridRank], int64_t batch, int64_t head, int64_t t,
                   int64_t lines) {
    const HeadView query(problem_.query, plan_.rank(), batch, head), out(outputs_.out, plan_.rank(), batch, head);
    const int64_t queries = std::min(kernels_.lanes, column.strip->size - t);
    const int64_t dilation = plan_.axis(outer_).dilation, residue = column.residue[outer_];
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t token = locate(column.strip->begin + t + i, residue, dilation);
      ws_.query_offsets[i] = token * query.strides[outer_];
      ws_.out_offsets[i] = token * out.strides[outer_];
    }
    kernels_.load_rows(query.at(memory_line(plan_, column, at, outer_, query.strides)), query.dtype, ws_.query_offsets,
                       queries, query.channels, static_cast<T>(problem_.scale * kLog2e), ws_.query, ws_.key_stride);
    kernels_.band_tile({.queries = queries,
                        .lines = lines,
                        .query = ws_.query,
                        .keys = ws_.keys,
                        .values = ws_.values,
                        .begin = ws_.begin + t,
                        .end = ws_.end + t,
                        .key_stride = ws_.key_stride,
                        .value_stride = ws_.value_stride,
                        .width = ws_.width,
                        .scores = ws_.scores,
                        .out = ws_.out,
                        .logsumexp = outputs_.logsumexp ? ws_.logsumexp : nullptr});
    kernels_.store_rows(ws_.out, ws_.value_stride, queries, out.channels,
                        out.at(memory_line(plan_, column, at, outer_, out.strides)), out.dtype, ws_.out_offsets);
    if (outputs_.logsumexp) store_logsumexp(column, at, batch, head, t, queries);
  }

  void store_logsumexp(const Column& column, const int64_t (&at)[kMaxGridRank], int64_t batch, int64_t head, int64_t t,
                       int64_t queries) {
    const TensorView& lse = outputs_.logsumexp;
    int64_t strides[kMaxGridRank] = {};
    for (int a = 0; a < plan_.rank(); ++a) strides[a] = lse.strides[1 + a];
    const int64_t base =
        batch * lse.strides[0] + head * lse.strides[plan_.rank() + 1] + memory_line(plan_, column, at, outer_, strides);
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t token = locate(column.strip->begin + t + i, column.residue[outer_], plan_.axis(outer_).dilation);
      std::memcpy(lse.at(base + token * strides[outer_]), ws_.logsumexp + i, sizeof(T));
    }
  }

  const Problem& problem_;
  const ForwardOutputs& outputs_;
  const Plan& plan_;
  const int outer_;  // number of outer axes, and the index of the last one
  const KernelTable<T>& kernels_;
  const BandExtent extent_;
  Arena arena_;
  Workspace<T> ws_;
  int64_t positions_ = 0;
};

// Columns of one (batch, head), numbered: residues of the outer axes, then the last axis' strips over all its classes.
int64_t column_count(const Plan& plan) {
  int64_t count = plan.axis(plan.rank() - 1).tiles();
  for (int a = 0; a + 1 < plan.rank(); ++a) count *= plan.axis(a).classes;
  return count;
}

Column column_at(const Plan& plan, int64_t index) {
  Column column;
  const int last = plan.rank() - 1;
  const PlanAxis& axis = plan.axis(last);
  int64_t strip = index % axis.tiles();
  index /= axis.tiles();
  while (strip >= static_cast<int64_t>(axis.table(column.residue[last]).tiles.size()))
    strip -= static_cast<int64_t>(axis.table(column.residue[last]++).tiles.size());
  column.tables[last] = &axis.table(column.residue[last]);
  column.strip = &column.tables[last]->tiles[static_cast<size_t>(strip)];
  for (int a = last - 1; a >= 0; --a) {
    column.residue[a] = index % plan.axis(a).classes;
    index /= plan.axis(a).classes;
    column.tables[a] = &plan.axis(a).table(column.residue[a]);
  }
  return column;
}

// Work on each query line of a column.
std::vector<double> line_costs(const Column& column, int outer) {
  std::vector<double> costs = {1};
  for (int a = 0; a < outer; ++a) {
    std::vector<double> next;
    for (double cost : costs)
      for (const Interval& interval : column.tables[a]->intervals)
        next.push_back(cost * static_cast<double>(interval.length));
    costs = std::move(next);
  }
  return costs;
}

template <class T>
void run_bands(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, std::byte* workspace) {
  const Plan& plan = *choice.plan;
  const int64_t columns = column_count(plan), kv_heads = problem.shape.heads_kv;
  const int64_t units = problem.shape.batch * kv_heads * columns;
  // A task that begins in the middle of a column packs its first lines again: no more pieces than threads need.
  const int64_t pieces = choice.slots == 1 ? 1 : std::clamp<int64_t>(choice.slots * kTasksPerThread / units, 1, 64);
  TaskQueue queue(units * pieces);
  parallel_for(problem.threading, choice.slots, [&](int64_t slot) {
    BandForward<T> forward(problem, outputs, choice, workspace + static_cast<size_t>(slot) * choice.workspace_per_slot);
    for (int64_t task = 0; queue.next(task);) {
      const int64_t piece = task % pieces, unit = task / pieces, head = unit / columns;
      const Column column = column_at(plan, unit % columns);
      const auto costs = line_costs(column, plan.rank() - 1);
      const auto cuts = cut_by_cost(costs, pieces);
      if (piece + 1 >= static_cast<int64_t>(cuts.size())) continue;
      forward.run(column, head / kv_heads, head % kv_heads, cuts[static_cast<size_t>(piece)],
                  cuts[static_cast<size_t>(piece) + 1]);
    }
  });
}

// Strips of about equal length, so that the last one of a class is not a remnant.
int64_t strip_length(const Problem& problem, int64_t lanes) {
  const int last = problem.shape.rank - 1;
  const int64_t dilation = std::visit([](const auto& axis) { return axis.dilation; }, problem.pattern.axes[last]);
  const int64_t length = std::max<int64_t>(1, ceil_div(problem.shape.grid[last], dilation));
  const int64_t longest = last == 0 ? std::max(kStrip1d, lanes) : lanes;
  const int64_t strips = ceil_div(length, longest);
  return last == 0 ? std::min(length, longest) : ceil_div(length, strips);
}

// Sums over everything that the kernel does for one (batch, head).
struct BandWork {
  double lines = 1;  // (query line, key line) pairs
  double query_lines = 1;
  double last_pairs = 0, last_padded = 0;  // on the last axis
  double packed = 0;                       // positions of a line, over all strips
  int64_t runs = 0;

  BandWork(const Plan& plan, int64_t lanes) {
    const int last = plan.rank() - 1;
    for (int a = 0; a <= last; ++a) {
      double length = 0, near = 0;
      const PlanAxis& axis = plan.axis(a);
      for (int kind = 0; kind < 2; ++kind) {
        const auto classes = static_cast<double>(kind == 0 ? axis.long_classes : axis.classes - axis.long_classes);
        const AxisTable& table = axis.tables[kind];
        if (classes == 0) continue;
        for (const Interval& interval : table.intervals) {
          length += classes * static_cast<double>(interval.length);
          if (a == last) last_padded += classes * static_cast<double>(round_up(interval.length, lanes));
        }
        near += classes * static_cast<double>(table.near);
        if (a == last) add_strips(table, classes, lanes);
      }
      if (a < last) {
        lines *= length;
        query_lines *= near;
      } else {
        last_pairs = length;
      }
    }
  }

 private:
  void add_strips(const AxisTable& table, double classes, int64_t lanes) {
    for (const AxisTile& tile : table.tiles) {
      const Interval& first = table.intervals[static_cast<size_t>(tile.begin)];
      const Interval& end = table.intervals[static_cast<size_t>(tile.begin + tile.size - 1)];
      packed += classes * static_cast<double>(end.end() - first.start);
      runs += static_cast<int64_t>(classes) * ceil_div(tile.size, lanes);
    }
  }
};

template <class T>
bool choose(const Problem& problem, CpuChoice& choice) {
  const KernelTable<T>& kernels = kernels_of<T>(choice.isa);
  const CpuRates& rates = cpu_rates(choice.isa);
  TileShape shape;
  const int last = problem.shape.rank - 1;
  shape.near[last] = strip_length(problem, kernels.lanes);
  for (int a = 0; a <= last; ++a) shape.far[a] = std::max<int64_t>(1, problem.shape.grid[a]);
  choice.plan = cached_plan(problem.pattern, shape);
  const BandExtent extent(*choice.plan);
  Arena arena(nullptr);
  const Workspace<T> ws(arena, problem, kernels, extent);
  constexpr auto kSize = static_cast<int64_t>(sizeof(T));
  if (extent.lines * ws.slot_size * kSize > kMostRingBytes) return false;
  if (extent.lines * ws.width * kernels.lanes * kSize > kMostScoreBytes) return false;
  choice.workspace_per_slot = arena.used();

  const BandWork work(*choice.plan, kernels.lanes);
  const double vectors = static_cast<double>(ws.key_stride + ws.value_stride) / static_cast<double>(kernels.lanes);
  const double useful = work.lines * work.last_pairs, padded = work.lines * work.last_padded;
  // Walking to the next query line brings in one key line for each combination of the other outer axes.
  double fresh = work.query_lines;
  for (int a = 0; a + 1 < last; ++a) fresh *= static_cast<double>(extent.ring[a]);
  const double seconds = rates.multiply_add * (useful * (vectors * rates.band_product + 1) +
                                               padded * rates.band_softmax * (sizeof(T) / 4.0) +
                                               fresh * work.packed * vectors * rates.pack_vector);
  const auto heads = static_cast<double>(problem.shape.batch * problem.shape.heads);
  choice.predicted_seconds = seconds * heads;
  const PlanStatistics& plan = choice.plan->statistics();
  choice.executed = {};
  choice.executed.tiles = static_cast<int64_t>(work.query_lines) * work.runs;
  choice.executed.full_steps = static_cast<int64_t>(work.lines) * work.runs;  // exact: nothing is masked
  choice.executed.useful_pairs = choice.executed.executed_pairs = plan.useful_pairs;
  return true;
}

}  // namespace

bool band_choose(const Problem& problem, CpuChoice& choice) {
  return problem.query.dtype == DType::float64 ? choose<double>(problem, choice) : choose<float>(problem, choice);
}

void band_forward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, void* workspace) {
  auto* memory = static_cast<std::byte*>(workspace);
  if (problem.query.dtype == DType::float64) {
    run_bands<double>(problem, outputs, choice, memory);
  } else {
    run_bands<float>(problem, outputs, choice, memory);
  }
}

}  // namespace nearfield::core
