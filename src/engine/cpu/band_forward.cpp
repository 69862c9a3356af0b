// Drives the band kernel: strips of queries walk over the grid.
#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "engine/cpu/band_walk.h"
#include "engine/cpu/driver.h"

namespace nearfield::core {
namespace {

template <class T>
class BandForward : BandWalk<T> {
 public:
  BandForward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, const CpuPart& part,
              const SharedModifiers<T>& modifiers, void* memory)
      : BandWalk<T>(problem, choice, part, modifiers, memory), outputs_(outputs) {
    alongside_[0] = {&problem_.query, ws_.query_offsets};
    alongside_[1] = {&outputs_.out, ws_.out_offsets};
    alongside_count_ = 2;
  }

  // Query lines [first, end) of the column. next: along an order.
  void run(const Column& column, const std::optional<NextBand>& next, const BandHeads& heads, int64_t first,
           int64_t end) {
    this->start_column(column, outputs_.out);
    writes_in_place_ = this->rows_in_place(outputs_.out, ws_.out_offsets, ws_.value_stride, column.strip->size);
    if (outputs_.logsumexp) this->query_offsets(column, outputs_.logsumexp, ws_.logsumexp_offsets);
    this->load_additional(heads);
    const int64_t group = problem_.shape.heads / problem_.shape.heads_kv;
    const auto visit = [&](const BandBlock& block, int64_t kv_head) {
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
        for (int64_t t = 0; t < column.strip->size; t += kernels_.lanes) {
          if (next && head + 1 == heads.end * group)
            this->foresee_strip(column, heads, *next, t / kernels_.lanes, ceil_div(column.strip->size, kernels_.lanes));
          run_queries(column, block, heads, kv_head, head, t);
        }
    };
    this->walk(column, heads, first, end, visit, [](int64_t, const LineTag&, T*) {});
  }

 private:
  using BandWalk<T>::problem_, BandWalk<T>::rank_, BandWalk<T>::kernels_, BandWalk<T>::ws_, BandWalk<T>::alongside_,
      BandWalk<T>::alongside_count_;

  // Queries t .. t + lanes of the strip, on all rows of the block.
  void run_queries(const Column& column, const BandBlock& block, const BandHeads& heads, int64_t kv_head, int64_t head,
                   int64_t t) {
    BandTile<T>* const tiles = tiles_;
    const TensorView& out = outputs_.out;
    const auto out_line = [&](int64_t r) {
      return this->query_line(column, out, heads.batch, head, block.plane, block.row + r);
    };
    for (int64_t r = 0; r < block.count; ++r) {
      tiles[r] = this->tile_of(column, block, r, heads, kv_head, head, t);
      if (writes_in_place_) tiles[r].out = reinterpret_cast<T*>(out_line(r)) + ws_.out_offsets[t];
      if (outputs_.logsumexp) tiles[r].logsumexp = ws_.logsumexp + r * kernels_.lanes;
    }
    this->share_upcoming(column, head, t, tiles, block.count);
    kernels_.band_tiles(tiles, block.count);
    for (int64_t r = 0; r < block.count; ++r) {
      if (!writes_in_place_)
        kernels_.store_rows(tiles[r].out, ws_.value_stride, tiles[r].queries, problem_.shape.head_dim_v, out_line(r),
                            out.dtype, ws_.out_offsets + t);
      if (outputs_.logsumexp) store_logsumexp(column, block, r, heads.batch, head, t, tiles[r].queries);
    }
  }

  void store_logsumexp(const Column& column, const BandBlock& block, int64_t r, int64_t batch, int64_t head, int64_t t,
                       int64_t queries) {
    constexpr auto kSize = static_cast<int64_t>(sizeof(T));
    std::byte* line = this->query_line(column, outputs_.logsumexp, batch, head, block.plane, block.row + r);
    for (int64_t i = 0; i < queries; ++i)
      std::memcpy(line + ws_.logsumexp_offsets[t + i] * kSize, ws_.logsumexp + r * kernels_.lanes + i, sizeof(T));
  }

  const ForwardOutputs& outputs_;
  bool writes_in_place_ = false;  // the strip at hand
  BandTile<T> tiles_[kMostBandTiles];
};

// Work on each of the part's query lines of a column.
std::vector<double> line_costs(const Column& column, const LineRange& lines) {
  const int64_t rows = column.outer[1].near();
  std::vector<double> costs;
  for (int64_t line = lines.first; line < lines.end; ++line)
    costs.push_back(
        static_cast<double>(column.outer[0].seen(line / rows).length * column.outer[1].seen(line % rows).length));
  return costs;
}

}  // namespace

template <class T>
void band_forward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, const CpuPart& part,
                  const SharedModifiers<T>& modifiers, std::byte* slots) {
  const Plan& plan = *part.plan;
  const int64_t together = part.heads_together, columns = column_count(plan), kv_heads = problem.shape.heads_kv;
  const int64_t groups = ceil_div(kv_heads, together), units = problem.shape.batch * groups * columns;
  // A task that begins in the middle of a column packs its first lines again: no more pieces than threads need.
  const int64_t pieces = choice.slots == 1 ? 1 : std::clamp<int64_t>(choice.slots * kTasksPerThread / units, 1, 64);
  const auto heads_of = [&](int64_t unit) {
    const int64_t group = unit / columns, first = group % groups * together;
    return BandHeads{group / groups, first, std::min(first + together, kv_heads)};
  };
  TaskQueue queue(units * pieces);
  parallel_for(problem.threading, choice.slots, [&](int64_t slot) {
    BandForward<T> forward(problem, outputs, choice, part, modifiers,
                           slots + static_cast<size_t>(slot) * choice.workspace_per_slot);
    for (int64_t task = 0; queue.next(task);) {
      const int64_t piece = task % pieces, unit = task / pieces;
      const Column column = column_at(plan, unit % columns);
      const LineRange lines = lines_of(part, column);
      const auto cuts = pieces == 1 ? std::vector<int64_t>{0, lines.end - lines.first}
                                    : cut_by_cost(line_costs(column, lines), pieces);
      if (piece + 1 >= static_cast<int64_t>(cuts.size())) continue;  // fewer lines than pieces
      const int64_t after = unit + choice.slots;
      std::optional<NextBand> next;
      if (problem.pattern.order && after < units) next = {column_at(plan, after % columns), heads_of(after)};
      forward.run(column, next, heads_of(unit), lines.first + cuts[static_cast<size_t>(piece)],
                  lines.first + cuts[static_cast<size_t>(piece) + 1]);
    }
  });
}

template void band_forward<float>(const Problem&, const ForwardOutputs&, const CpuChoice&, const CpuPart&,
                                  const SharedModifiers<float>&, std::byte*);
template void band_forward<double>(const Problem&, const ForwardOutputs&, const CpuChoice&, const CpuPart&,
                                   const SharedModifiers<double>&, std::byte*);

}  // namespace nearfield::core
