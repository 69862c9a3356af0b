// Drives the band kernel: a strip of adjacent queries walks over the lines of the grid, and every key line that it
// meets is packed once, into a ring of lines in the kernel's type. The plan gives, per axis, the key lines of a query
// line and one interval per query, both un-reduced on a wrapped axis: the ring is indexed by those, so that a window
// across the seam is as contiguous as any other.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/cpu/band_workspace.h"
#include "engine/cpu/driver.h"

namespace nearfield::core {
namespace {

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
        extent_(*choice.plan, kernels_.lanes, static_cast<int64_t>(sizeof(T))),
        arena_(memory),
        ws_(arena_, problem, kernels_, extent_) {}

  // Query lines [first, end) of the column, plane by plane, row by row, for key/value heads [first_head, end_head), at
  // most as many as the workspace has rings.
  void run(const Column& column, int64_t batch, int64_t first_head, int64_t end_head, int64_t first, int64_t end) {
    start_column(column);
    const int64_t group = problem_.shape.heads / problem_.shape.heads_kv, rows = column.outer[1].near();
    const auto block_at = [&](int64_t line) {
      Block block{line / rows, line % rows, 0, {}};
      block.count = std::min({extent_.rows, rows - block.row, end - line});
      return block;
    };
    for (int64_t line = first; line < end;) {
      Block block = block_at(line);
      for (int64_t kv_head = first_head; kv_head < end_head; ++kv_head) {
        const HeadView key(problem_.key, rank_, batch, kv_head), value(problem_.value, rank_, batch, kv_head);
        ring_ = ws_.ring + (kv_head - first_head) * extent_.slots() * ws_.slot_size;
        tags_ = ws_.tags + (kv_head - first_head) * extent_.slots();
        for (int64_t r = 0; r < block.count; ++r) block.lines[r] = gather_lines(column, block, r, key, value);
        upcoming_ = 0;
        if (kv_head + 1 < end_head) {
          foresee_block(column, block, batch, kv_head + 1, tags_ + extent_.slots());
        } else if (line + block.count < end) {
          foresee_block(column, block_at(line + block.count), batch, first_head, ws_.tags);
        }
        for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
          for (int64_t t = 0; t < column.strip->size; t += kernels_.lanes) run_queries(column, block, batch, head, t);
      }
      line += block.count;
    }
  }

 private:
  // Query rows row .. row + count of one plane, and how many key lines each sees.
  struct Block {
    int64_t plane, row, count;
    int64_t lines[kMostBandTiles];
  };

  // Where a strip's tokens lie on their lines: the same for every line and head.
  void start_column(const Column& column) {
    const HeadView key(problem_.key, rank_, 0, 0), value(problem_.value, rank_, 0, 0);
    const HeadView query(problem_.query, rank_, 0, 0), out(outputs_.out, rank_, 0, 0);
    const LineStrides key_strides(key.strides, rank_), value_strides(value.strides, rank_);
    const LineStrides query_strides(query.strides, rank_), out_strides(out.strides, rank_);
    const Interval* intervals = column.last.table->intervals.data() + column.strip->begin;
    const int64_t origin = intervals[0].start;
    positions_ = intervals[column.strip->size - 1].end() - origin;
    for (int64_t t = 0; t < column.strip->size; ++t) {
      ws_.begin[t] = static_cast<int32_t>(intervals[t].start - origin);
      ws_.end[t] = static_cast<int32_t>(intervals[t].end() - origin);
      const int64_t token = column.last.near_token(column.strip->begin + t);
      ws_.query_offsets[t] = token * query_strides.position;
      ws_.out_offsets[t] = token * out_strides.position;
    }
    seam_ = positions_;
    int64_t before = 0;
    for (int64_t p = 0; p < positions_; ++p) {
      const int64_t token = column.last.far_token(origin + p);
      ws_.key_offsets[p] = token * key_strides.position;
      ws_.value_offsets[p] = token * value_strides.position;
      if (p > 0 && token < before && seam_ == positions_) seam_ = p;
      before = token;
    }
    std::fill_n(ws_.tags, ws_.heads * extent_.slots(), LineTag{});
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

  // The key lines that the block's row r sees, packed; row r of ws_.keys and ws_.values points at them.
  int64_t gather_lines(const Column& column, const Block& block, int64_t r, const HeadView& key,
                       const HeadView& value) {
    const T **keys = ws_.keys + r * extent_.lines(), **values = ws_.values + r * extent_.lines();
    int64_t count = 0;
    for_each_line(column, block.plane, block.row + r, [&](int64_t z, int64_t y, int64_t slot) {
      T* packed = ring_ + slot * ws_.slot_size;
      if (tags_[slot] != LineTag{z, y}) {
        tags_[slot] = {z, y};
        kernels_.load_rows(key.at(key_line(column, {key.strides, rank_}, z, y)), key.dtype, ws_.key_offsets, positions_,
                           key.channels, T{1}, packed, ws_.key_stride);
        kernels_.load_rows(value.at(key_line(column, {value.strides, rank_}, z, y)), value.dtype, ws_.value_offsets,
                           positions_, value.channels, T{1}, packed + positions_ * ws_.key_stride, ws_.value_stride);
      }
      keys[count] = packed;
      values[count++] = packed + positions_ * ws_.key_stride;
    });
    return count;
  }

  // `count` rows of a tensor, at evenly spaced offsets.
  void foresee(const HeadView& tensor, const std::byte* line, const int64_t* offsets, int64_t count) {
    if (count <= 0 || upcoming_ == ws_.most_upcoming) return;
    const int64_t size = size_of(tensor.dtype), stride = count > 1 ? (offsets[1] - offsets[0]) * size : 0;
    ws_.upcoming[upcoming_++] = {line + offsets[0] * size, stride, count, (tensor.channels * size + 63) / 64};
  }

  // What the block that comes next will read and write: the key lines that are not in its head's ring yet, and the
  // queries of the strip. Of a line that wraps around, as far as its second seam.
  void foresee_block(const Column& column, const Block& next, int64_t batch, int64_t kv_head, const LineTag* tags) {
    const HeadView key(problem_.key, rank_, batch, kv_head), value(problem_.value, rank_, batch, kv_head);
    const LineStrides key_strides(key.strides, rank_), value_strides(value.strides, rank_);
    const auto foresee_lines = [&](int64_t row, int64_t from) {
      for_each_line(column, next.plane, row, [&](int64_t z, int64_t y, int64_t slot) {
        if (y < from || tags[slot] == LineTag{z, y}) return;
        const std::byte* keys = key.at(key_line(column, key_strides, z, y));
        const std::byte* values = value.at(key_line(column, value_strides, z, y));
        const int64_t beyond = std::min(positions_ - seam_, seam_);
        foresee(key, keys, ws_.key_offsets, seam_);
        foresee(key, keys, ws_.key_offsets + seam_, beyond);
        foresee(value, values, ws_.value_offsets, seam_);
        foresee(value, values, ws_.value_offsets + seam_, beyond);
      });
    };
    foresee_lines(next.row, INT64_MIN);
    if (next.count > 1) foresee_lines(next.row + next.count - 1, column.outer[1].seen(next.row).end());
    const int64_t head = kv_head * (problem_.shape.heads / problem_.shape.heads_kv);
    const HeadView query(problem_.query, rank_, batch, head), out(outputs_.out, rank_, batch, head);
    const LineStrides query_strides(query.strides, rank_), out_strides(out.strides, rank_);
    const int64_t queries = std::min(kernels_.lanes, column.strip->size);
    for (int64_t row = next.row; row < next.row + next.count; ++row) {
      foresee(query, query.at(query_line(column, query_strides, next.plane, row)), ws_.query_offsets, queries);
      foresee(out, out.at(query_line(column, out_strides, next.plane, row)), ws_.out_offsets, queries);
    }
  }

  static int64_t query_line(const Column& column, const LineStrides& strides, int64_t plane, int64_t row) {
    return column.outer[0].near_token(plane) * strides.plane + column.outer[1].near_token(row) * strides.row;
  }

  // Queries t .. t + lanes of the strip, on all rows of the block.
  void run_queries(const Column& column, const Block& block, int64_t batch, int64_t head, int64_t t) {
    const HeadView query(problem_.query, rank_, batch, head), out(outputs_.out, rank_, batch, head);
    const LineStrides query_strides(query.strides, rank_), out_strides(out.strides, rank_);
    const int64_t lanes = kernels_.lanes, queries = std::min(lanes, column.strip->size - t);
    BandTile<T> tiles[kMostBandTiles];
    for (int64_t r = 0; r < block.count; ++r) {
      const int64_t row = block.row + r;
      T* rows = ws_.query + r * lanes * ws_.key_stride;
      kernels_.load_rows(query.at(query_line(column, query_strides, block.plane, row)), query.dtype,
                         ws_.query_offsets + t, queries, query.channels, static_cast<T>(problem_.scale * kLog2e), rows,
                         ws_.key_stride);
      tiles[r] = {.queries = queries,
                  .lines = block.lines[r],
                  .query = rows,
                  .keys = ws_.keys + r * extent_.lines(),
                  .values = ws_.values + r * extent_.lines(),
                  .begin = ws_.begin + t,
                  .end = ws_.end + t,
                  .key_stride = ws_.key_stride,
                  .value_stride = ws_.value_stride,
                  .width = ws_.width,
                  .scores = ws_.scores + r * lanes * extent_.lines() * ws_.width,
                  .out = ws_.out + r * lanes * ws_.value_stride,
                  .logsumexp = outputs_.logsumexp ? ws_.logsumexp + r * lanes : nullptr};
    }
    for (int64_t r = 0; r < block.count; ++r) {  // an even share each
      const int64_t from = upcoming_ * r / block.count;
      tiles[r].upcoming = ws_.upcoming + from;
      tiles[r].upcoming_count = upcoming_ * (r + 1) / block.count - from;
      tiles[r].upcoming_rows = 0;
      for (int64_t i = 0; i < tiles[r].upcoming_count; ++i) tiles[r].upcoming_rows += tiles[r].upcoming[i].count;
    }
    kernels_.band_tiles(tiles, block.count);
    upcoming_ = 0;  // what the next block needs is on its way
    for (int64_t r = 0; r < block.count; ++r) {
      kernels_.store_rows(tiles[r].out, ws_.value_stride, queries, out.channels,
                          out.at(query_line(column, out_strides, block.plane, block.row + r)), out.dtype,
                          ws_.out_offsets + t);
      if (outputs_.logsumexp) store_logsumexp(column, block, r, batch, head, t, queries);
    }
  }

  void store_logsumexp(const Column& column, const Block& block, int64_t r, int64_t batch, int64_t head, int64_t t,
                       int64_t queries) {
    const TensorView& lse = outputs_.logsumexp;
    int64_t grid_strides[kMaxGridRank] = {};
    for (int a = 0; a < rank_; ++a) grid_strides[a] = lse.strides[1 + a];
    const LineStrides strides(grid_strides, rank_);
    const int64_t base = batch * lse.strides[0] + head * lse.strides[rank_ + 1] +
                         query_line(column, strides, block.plane, block.row + r);
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t token = column.last.near_token(column.strip->begin + t + i);
      std::memcpy(lse.at(base + token * strides.position), ws_.logsumexp + r * kernels_.lanes + i, sizeof(T));
    }
  }

  const Problem& problem_;
  const ForwardOutputs& outputs_;
  const int rank_;
  const KernelTable<T>& kernels_;
  const BandExtent extent_;
  Arena arena_;
  BandWorkspace<T> ws_;
  T* ring_ = nullptr;  // of the current head
  LineTag* tags_ = nullptr;
  int64_t positions_ = 0;  // of a packed line, in this column
  int64_t seam_ = 0;       // where these wrap around, else positions_
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
  const KernelTable<T>& kernels = kernels_of<T>(choice.isa);
  const BandExtent extent(plan, kernels.lanes, static_cast<int64_t>(sizeof(T)));
  Arena layout(nullptr);
  const int64_t together = BandWorkspace<T>(layout, problem, kernels, extent).heads;
  const int64_t columns = column_count(plan), kv_heads = problem.shape.heads_kv, groups = ceil_div(kv_heads, together);
  const int64_t units = problem.shape.batch * groups * columns;
  // A task that begins in the middle of a column packs its first lines again: no more pieces than threads need.
  const int64_t pieces = choice.slots == 1 ? 1 : std::clamp<int64_t>(choice.slots * kTasksPerThread / units, 1, 64);
  TaskQueue queue(units * pieces);
  parallel_for(problem.threading, choice.slots, [&](int64_t slot) {
    BandForward<T> forward(problem, outputs, choice, workspace + static_cast<size_t>(slot) * choice.workspace_per_slot);
    for (int64_t task = 0; queue.next(task);) {
      const int64_t piece = task % pieces, unit = task / pieces, group = unit / columns;
      const Column column = column_at(plan, unit % columns);
      const auto cuts = pieces == 1 ? std::vector<int64_t>{0, column.lines()} : cut_by_cost(line_costs(column), pieces);
      if (piece + 1 >= static_cast<int64_t>(cuts.size())) continue;  // fewer lines than pieces
      const int64_t first_head = group % groups * together;
      forward.run(column, group / groups, first_head, std::min(first_head + together, kv_heads),
                  cuts[static_cast<size_t>(piece)], cuts[static_cast<size_t>(piece) + 1]);
    }
  });
}

}  // namespace

void band_forward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, void* workspace) {
  auto* memory = static_cast<std::byte*>(workspace);
  if (problem.query.dtype == DType::float64) {
    run_bands<double>(problem, outputs, choice, memory);
  } else {
    run_bands<float>(problem, outputs, choice, memory);
  }
}

}  // namespace nearfield::core
