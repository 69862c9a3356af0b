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

// The largest of everything over all classes: what scratch memory must hold. The outer axes of a grid of rank 1 to 3
// are treated as two, planes and rows, absent ones of length 1.
struct BandExtent {
  int64_t ring[2] = {1, 1};  // key planes and rows at once
  int64_t positions = 0;     // of a packed line: the hull of a strip's windows
  int64_t longest = 0;       // window on the last axis
  int64_t strip = 0;
  int64_t lines() const { return ring[0] * ring[1]; }

  explicit BandExtent(const Plan& plan) {
    const int last = plan.rank() - 1;
    for (int a = 0; a <= last; ++a) {
      int64_t& most = a == last ? longest : ring[a + 2 - last];
      for (const AxisTable& table : plan.axis(a).tables)
        for (const Interval& interval : table.intervals) most = std::max(most, interval.length);
    }
    for (const AxisTable& table : plan.axis(last).tables)
      for (const AxisTile& tile : table.tiles) {
        const Interval& first = table.intervals[static_cast<size_t>(tile.begin)];
        const Interval& end = table.intervals[static_cast<size_t>(tile.begin + tile.size - 1)];
        positions = std::max(positions, end.end() - first.start);
        strip = std::max(strip, tile.size);
      }
  }
};

// A key line in the ring, by its un-reduced plane and row.
struct LineTag {
  int64_t plane = INT64_MIN, row = INT64_MIN;  // nothing packed
  bool operator==(const LineTag&) const = default;
};

template <class T>
struct Workspace {
  int64_t key_stride, value_stride, width, slot_size, most_upcoming;
  T *ring, *query, *out, *scores, *logsumexp;
  const T **keys, **values;
  LineTag* tags;
  Upcoming* upcoming;
  int32_t *begin, *end;
  int64_t *key_offsets, *value_offsets, *query_offsets, *out_offsets;

  Workspace(Arena& arena, const Problem& problem, const KernelTable<T>& kernels, const BandExtent& extent) {
    const int64_t lanes = kernels.lanes;
    key_stride = round_up(problem.shape.head_dim, lanes);
    value_stride = round_up(problem.shape.head_dim_v, lanes);
    width = round_up(extent.longest, lanes);
    slot_size = extent.positions * (key_stride + value_stride);
    most_upcoming = 2 * lanes + 2 * extent.ring[0] * extent.positions;  // one new row of each plane
    ring = arena.take<T>(extent.lines() * slot_size);
    query = arena.take<T>(lanes * key_stride);
    out = arena.take<T>(lanes * value_stride);
    scores = arena.take<T>(lanes * extent.lines() * width);
    logsumexp = arena.take<T>(lanes);
    keys = arena.take<const T*>(extent.lines());
    values = arena.take<const T*>(extent.lines());
    tags = arena.take<LineTag>(extent.lines());
    upcoming = arena.take<Upcoming>(most_upcoming);
    begin = arena.take<int32_t>(extent.strip);
    end = arena.take<int32_t>(extent.strip);
    key_offsets = arena.take<int64_t>(extent.positions);
    value_offsets = arena.take<int64_t>(extent.positions);
    query_offsets = arena.take<int64_t>(lanes);
    out_offsets = arena.take<int64_t>(lanes);
  }
};

// One outer axis of one class.
struct OuterAxis {
  const AxisTable* table = nullptr;  // null: absent, one line that sees itself
  int64_t residue = 0, dilation = 1;
  int64_t near() const { return table == nullptr ? 1 : table->near; }
  Interval seen(int64_t x) const {
    return table == nullptr ? Interval{0, 1} : table->intervals[static_cast<size_t>(x)];
  }
  int64_t near_token(int64_t x) const { return locate(x, residue, dilation); }
  int64_t far_token(int64_t unreduced) const {
    return table == nullptr ? 0 : locate(floor_mod(unreduced, table->far), residue, dilation);
  }
};

// One strip of one class: the unit that tasks are made of.
struct Column {
  OuterAxis outer[2];  // planes, rows
  OuterAxis last;
  const AxisTile* strip = nullptr;
  int64_t lines() const { return outer[0].near() * outer[1].near(); }
};

// The grid strides of a tensor, as planes, rows and positions.
struct LineStrides {
  int64_t plane = 0, row = 0, position = 0;
  LineStrides(const int64_t (&strides)[kMaxGridRank], int rank)
      : plane(rank == 3 ? strides[0] : 0), row(rank >= 2 ? strides[rank - 2] : 0), position(strides[rank - 1]) {}
};

template <class T>
class BandForward {
 public:
  BandForward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, void* memory)
      : problem_(problem),
        outputs_(outputs),
        rank_(problem.shape.rank),
        kernels_(kernels_of<T>(choice.isa)),
        extent_(*choice.plan),
        arena_(memory),
        ws_(arena_, problem, kernels_, extent_) {}

  // Query lines [first, end) of the column: plane by plane, row by row.
  void run(const Column& column, int64_t batch, int64_t kv_head, int64_t first, int64_t end) {
    const HeadView key(problem_.key, rank_, batch, kv_head), value(problem_.value, rank_, batch, kv_head);
    start_column(column, key, value);
    const int64_t group = problem_.shape.heads / problem_.shape.heads_kv, rows = column.outer[1].near();
    for (int64_t line = first; line < end; ++line) {
      const int64_t plane = line / rows, row = line % rows;
      const int64_t lines = gather_lines(column, plane, row, key, value);
      upcoming_ = 0;
      if (line + 1 < end && row + 1 < rows) foresee_lines(column, plane, row + 1, key, value);
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
        for (int64_t t = 0; t < column.strip->size; t += kernels_.lanes)
          run_queries(column, {plane, row}, batch, head, t, lines);
    }
  }

 private:
  struct Line {
    int64_t plane, row;
  };

  void start_column(const Column& column, const HeadView& key, const HeadView& value) {
    const LineStrides key_strides(key.strides, rank_), value_strides(value.strides, rank_);
    const Interval* intervals = column.last.table->intervals.data() + column.strip->begin;
    const int64_t origin = intervals[0].start;
    positions_ = intervals[column.strip->size - 1].end() - origin;
    for (int64_t t = 0; t < column.strip->size; ++t) {
      ws_.begin[t] = static_cast<int32_t>(intervals[t].start - origin);
      ws_.end[t] = static_cast<int32_t>(intervals[t].end() - origin);
    }
    for (int64_t p = 0; p < positions_; ++p) {
      const int64_t token = column.last.far_token(origin + p);
      ws_.key_offsets[p] = token * key_strides.position;
      ws_.value_offsets[p] = token * value_strides.position;
    }
    std::fill_n(ws_.tags, extent_.lines(), LineTag{});
  }

  // Calls visit(plane, row, slot) for each key line that the query line sees; planes and rows are un-reduced.
  template <class Visit>
  void for_each_line(const Column& column, int64_t plane, int64_t row, Visit visit) const {
    const Interval planes = column.outer[0].seen(plane), rows = column.outer[1].seen(row);
    const int64_t first_slot = floor_mod(rows.start, extent_.ring[1]);
    int64_t plane_slot = floor_mod(planes.start, extent_.ring[0]);
    for (int64_t z = planes.start; z < planes.end(); ++z) {
      int64_t row_slot = first_slot;
      for (int64_t y = rows.start; y < rows.end(); ++y) {
        visit(z, y, plane_slot * extent_.ring[1] + row_slot);
        if (++row_slot == extent_.ring[1]) row_slot = 0;
      }
      if (++plane_slot == extent_.ring[0]) plane_slot = 0;
    }
  }

  static int64_t key_line(const Column& column, const LineStrides& strides, int64_t plane, int64_t row) {
    return column.outer[0].far_token(plane) * strides.plane + column.outer[1].far_token(row) * strides.row;
  }

  // The key lines that the query line sees, packed; ws_.keys and ws_.values point at them.
  int64_t gather_lines(const Column& column, int64_t plane, int64_t row, const HeadView& key, const HeadView& value) {
    int64_t count = 0;
    for_each_line(column, plane, row, [&](int64_t z, int64_t y, int64_t slot) {
      T* packed = ws_.ring + slot * ws_.slot_size;
      if (ws_.tags[slot] != LineTag{z, y}) {
        ws_.tags[slot] = {z, y};
        kernels_.load_rows(key.at(key_line(column, {key.strides, rank_}, z, y)), key.dtype, ws_.key_offsets, positions_,
                           key.channels, T{1}, packed, ws_.key_stride);
        kernels_.load_rows(value.at(key_line(column, {value.strides, rank_}, z, y)), value.dtype, ws_.value_offsets,
                           positions_, value.channels, T{1}, packed + positions_ * ws_.key_stride, ws_.value_stride);
      }
      ws_.keys[count] = packed;
      ws_.values[count++] = packed + positions_ * ws_.key_stride;
    });
    return count;
  }

  void foresee(const std::byte* base, const int64_t* offsets, int64_t count, int64_t channels, DType dtype) {
    const int64_t size = size_of(dtype), lines = (channels * size + 63) / 64;
    for (int64_t i = 0; i < count && upcoming_ < ws_.most_upcoming; ++i)
      ws_.upcoming[upcoming_++] = {base + offsets[i] * size, lines};
  }

  // Key lines that the next query line will have to pack.
  void foresee_lines(const Column& column, int64_t plane, int64_t row, const HeadView& key, const HeadView& value) {
    for_each_line(column, plane, row, [&](int64_t z, int64_t y, int64_t slot) {
      if (ws_.tags[slot] == LineTag{z, y}) return;
      foresee(key.at(key_line(column, {key.strides, rank_}, z, y)), ws_.key_offsets, positions_, key.channels,
              key.dtype);
      foresee(value.at(key_line(column, {value.strides, rank_}, z, y)), ws_.value_offsets, positions_, value.channels,
              value.dtype);
    });
  }

  static int64_t query_line(const Column& column, const LineStrides& strides, Line line) {
    return column.outer[0].near_token(line.plane) * strides.plane + column.outer[1].near_token(line.row) * strides.row;
  }

  // Queries t .. t + lanes of the strip, on one line.
  void run_queries(const Column& column, Line line, int64_t batch, int64_t head, int64_t t, int64_t lines) {
    const HeadView query(problem_.query, rank_, batch, head), out(outputs_.out, rank_, batch, head);
    const LineStrides query_strides(query.strides, rank_), out_strides(out.strides, rank_);
    const int64_t queries = std::min(kernels_.lanes, column.strip->size - t);
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t token = column.last.near_token(column.strip->begin + t + i);
      ws_.query_offsets[i] = token * query_strides.position;
      ws_.out_offsets[i] = token * out_strides.position;
    }
    const std::byte* from = query.at(query_line(column, query_strides, line));
    std::byte* to = out.at(query_line(column, out_strides, line));
    if (line.row + 1 < column.outer[1].near()) {
      const int64_t next = column.outer[1].dilation;
      foresee(from + next * query_strides.row * size_of(query.dtype), ws_.query_offsets, queries, query.channels,
              query.dtype);
      foresee(to + next * out_strides.row * size_of(out.dtype), ws_.out_offsets, queries, out.channels, out.dtype);
    }
    kernels_.load_rows(from, query.dtype, ws_.query_offsets, queries, query.channels,
                       static_cast<T>(problem_.scale * kLog2e), ws_.query, ws_.key_stride);
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
                        .logsumexp = outputs_.logsumexp ? ws_.logsumexp : nullptr,
                        .upcoming = ws_.upcoming,
                        .upcoming_count = upcoming_});
    upcoming_ = 0;  // what the next line needs is on its way
    kernels_.store_rows(ws_.out, ws_.value_stride, queries, out.channels, to, out.dtype, ws_.out_offsets);
    if (outputs_.logsumexp) store_logsumexp(column, line, batch, head, t, queries);
  }

  void store_logsumexp(const Column& column, Line line, int64_t batch, int64_t head, int64_t t, int64_t queries) {
    const TensorView& lse = outputs_.logsumexp;
    int64_t grid_strides[kMaxGridRank] = {};
    for (int a = 0; a < rank_; ++a) grid_strides[a] = lse.strides[1 + a];
    const LineStrides strides(grid_strides, rank_);
    const int64_t base = batch * lse.strides[0] + head * lse.strides[rank_ + 1] + query_line(column, strides, line);
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t token = column.last.near_token(column.strip->begin + t + i);
      std::memcpy(lse.at(base + token * strides.position), ws_.logsumexp + i, sizeof(T));
    }
  }

  const Problem& problem_;
  const ForwardOutputs& outputs_;
  const int rank_;
  const KernelTable<T>& kernels_;
  const BandExtent extent_;
  Arena arena_;
  Workspace<T> ws_;
  int64_t positions_ = 0;  // of a packed line, in this column
  int64_t upcoming_ = 0;   // entries of ws_.upcoming
};

// Columns of one (batch, head), numbered: residues of the outer axes, then the last axis' strips over all its classes.
int64_t column_count(const Plan& plan) {
  int64_t count = plan.axis(plan.rank() - 1).tiles();
  for (int a = 0; a + 1 < plan.rank(); ++a) count *= plan.axis(a).classes;
  return count;
}

Column column_at(const Plan& plan, int64_t index) {
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
  column.strip = &column.last.table->tiles[static_cast<size_t>(strip)];
  for (int a = last - 1; a >= 0; --a) {
    column.outer[a + 2 - last] = outer_axis(a, index % plan.axis(a).classes);
    index /= plan.axis(a).classes;
  }
  return column;
}

// Work on each query line of a column.
std::vector<double> line_costs(const Column& column) {
  std::vector<double> costs;
  for (int64_t plane = 0; plane < column.outer[0].near(); ++plane)
    for (int64_t row = 0; row < column.outer[1].near(); ++row)
      costs.push_back(static_cast<double>(column.outer[0].seen(plane).length * column.outer[1].seen(row).length));
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
      const auto cuts = pieces == 1 ? std::vector<int64_t>{0, column.lines()} : cut_by_cost(line_costs(column), pieces);
      if (piece + 1 >= static_cast<int64_t>(cuts.size())) continue;  // fewer lines than pieces
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
  if (extent.lines() * ws.slot_size * kSize > kMostRingBytes) return false;
  if (extent.lines() * ws.width * kernels.lanes * kSize > kMostScoreBytes) return false;
  choice.workspace_per_slot = arena.used();

  const BandWork work(*choice.plan, kernels.lanes);
  const double vectors = static_cast<double>(ws.key_stride + ws.value_stride) / static_cast<double>(kernels.lanes);
  const double useful = work.lines * work.last_pairs, padded = work.lines * work.last_padded;
  // Walking to the next query line brings in one key line for each combination of the other outer axes.
  double fresh = work.query_lines;
  fresh *= static_cast<double>(extent.ring[0]);
  const double seconds = rates.multiply_add * (useful * (vectors * rates.band_product + 1) +
                                               padded * rates.band_softmax * (sizeof(T) / 4.0) +
                                               fresh * work.packed * vectors * rates.pack_vector);
  choice.predicted_seconds = seconds;
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
