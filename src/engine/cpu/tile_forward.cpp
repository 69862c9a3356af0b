// Drives the tile kernel: tiles of queries against boxes of keys, online softmax.
#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/cpu/driver.h"
#include "engine/cpu/tile_group.h"
#include "engine/cpu/tile_order.h"

namespace nearfield::core {
namespace {

// Work on each tile of one (batch, head), for cutting it into tasks.
std::vector<double> tile_costs(const Plan& plan, const TileOrder& order, const TileRange& tiles) {
  std::vector<double> costs;
  for (int64_t i = tiles.first; i < tiles.end; ++i)
    costs.push_back(static_cast<double>(plan.visited_keys(plan.tile(order[i]))) + 1);
  return costs;
}

template <class T>
class TileForward : TileWalk<T> {
 public:
  TileForward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, const CpuPart& part,
              const SharedModifiers<T>& modifiers, const TileOrder& order, void* memory)
      : TileWalk<T>(problem, choice, part, modifiers, memory),
        outputs_(outputs),
        order_(order),
        group_(this->arena_, problem, plan_, kernels_.tile_queries, ws_.key_stride, ws_.value_stride) {}

  // Tiles at places [first_place, end_place) of the order.
  void run(int64_t batch, int64_t head, int64_t first_place, int64_t end_place) {
    for (int64_t first = first_place, count = 0; first < end_place; first += count) {
      count = order_.together(first, end_place);
      for (int64_t i = 0; i < count; ++i) load(group_[i], order_[first + i], batch, head);
      upcoming_ = 0;
      if (const auto next = this->next_tile(group_[0].tile, first, end_place)) foresee(*next, batch, head);
      while (GroupedTile<T>* each = group_.next(count, plan_.rank())) {
        step(*each, each->done, batch, head, -1);
        ++each->done;
      }
      for (int64_t i = 0; i < count; ++i) {
        GroupedTile<T>& each = group_[i];
        if (!finish(each, batch, head, ws_.out, ws_.logsumexp)) attend_one_by_one(each, batch, head);
        store(each, batch, head);
      }
    }
  }

 private:
  using TileWalk<T>::problem_, TileWalk<T>::plan_, TileWalk<T>::kernels_, TileWalk<T>::ws_, TileWalk<T>::upcoming_;

  void load(GroupedTile<T>& each, int64_t index, int64_t batch, int64_t head) {
    each.tile = plan_.tile(index);
    this->expand(each.tile, each.list);
    each.queries = this->load_tile(HeadView(problem_.query, problem_.pattern, batch, head), each.tile,
                                   static_cast<T>(problem_.scale * kLog2e), ws_.key_stride, ws_.query_rows, each.query);
    clear(each);
  }

  void clear(GroupedTile<T>& each) {
    const int64_t lanes = kernels_.tile_queries;
    each.done = 0;
    std::fill_n(each.maximum, lanes, kMaskedScore<T>);
    std::fill_n(each.sum, lanes, T{0});
    std::fill_n(each.accumulator, problem_.shape.head_dim_v * lanes, T{0});
  }

  // Bundle s of the tile. only: the query that counts, or -1.
  void step(GroupedTile<T>& each, size_t s, int64_t batch, int64_t head, int64_t only) {
    const int64_t kv_head = problem_.shape.kv_head(head);
    const HeadView key(problem_.key, problem_.pattern, batch, kv_head),
        value(problem_.value, problem_.pattern, batch, kv_head);
    TileStep<T> work = this->step_of(each.tile, each.list.bundles[s], key, value, batch, head);
    this->share_upcoming(s, each.list.bundles.size(), work);
    if (only >= 0) this->hide_from(only, work);
    run_kernel(each, work);
  }

  void run_kernel(const GroupedTile<T>& each, TileStep<T>& work) {
    work.query = each.query;
    work.maximum = each.maximum;
    work.sum = each.sum;
    work.accumulator = each.accumulator;
    kernels_.tile_step(work);
  }

  // The additional keys, and the outputs. False as tile_finish.
  bool finish(GroupedTile<T>& each, int64_t batch, int64_t head, T* out, T* logsumexp) {
    const Shape& shape = problem_.shape;
    for (int64_t first = 0; first < shape.additional; first += kStepKeys) {
      TileStep<T> work = this->additional_step(first, batch, shape.kv_head(head));
      run_kernel(each, work);
    }
    return kernels_.tile_finish({.queries = each.queries,
                                 .head_dim_v = shape.head_dim_v,
                                 .maximum = each.maximum,
                                 .sum = each.sum,
                                 .accumulator = each.accumulator,
                                 .out_stride = ws_.value_stride,
                                 .out = out,
                                 .logsumexp = outputs_.logsumexp ? logsumexp : nullptr});
  }

  void foresee(const NextTile& next, int64_t batch, int64_t head) {
    UpcomingRows upcoming(ws_.upcoming, kMostUpcomingRows);
    const int64_t kv_head = problem_.shape.kv_head(head);
    next.add_near(HeadView(problem_.query, problem_.pattern, batch, head), upcoming);
    next.add_near(HeadView(outputs_.out, problem_.pattern, batch, head), upcoming);
    next.add_far(HeadView(problem_.key, problem_.pattern, batch, kv_head), upcoming);
    next.add_far(HeadView(problem_.value, problem_.pattern, batch, kv_head), upcoming);
    upcoming_ = upcoming.count();
  }

  // Something in the tile is not finite. A weight of 0 times infinity is NaN, so a query's output may owe it to a key
  // outside its window: compute each query again with such keys blanked. Bits of the clean queries stay what they are
  // without the bad key, since a blanked key adds 0 * 0.
  void attend_one_by_one(GroupedTile<T>& each, int64_t batch, int64_t head) {
    T* logsumexp = ws_.logsumexp + kernels_.tile_queries;
    for (int64_t t = 0; t < each.queries; ++t) {
      clear(each);
      for (size_t s = 0; s < each.list.bundles.size(); ++s) step(each, s, batch, head, t);
      finish(each, batch, head, ws_.again, logsumexp);
      std::copy_n(ws_.again + t * ws_.value_stride, ws_.value_stride, ws_.out + t * ws_.value_stride);
      ws_.logsumexp[t] = logsumexp[t];
    }
  }

  void store(const GroupedTile<T>& each, int64_t batch, int64_t head) {
    const Tile& tile = each.tile;
    const int64_t queries = each.queries;
    const HeadView out(outputs_.out, problem_.pattern, batch, head);
    this->tile_box(tile, out.placement, ws_.query_offsets);
    kernels_.store_rows(ws_.out, ws_.value_stride, queries, out.channels, out.data, out.dtype, ws_.query_offsets);
    if (!outputs_.logsumexp) return;
    const TensorView& lse = outputs_.logsumexp;
    this->tile_box(tile, Placement(problem_.pattern, lse.strides + 1), ws_.query_offsets);
    const int64_t base = batch * lse.strides[0] + head * lse.strides[problem_.shape.rank + 1];
    for (int64_t t = 0; t < queries; ++t)
      std::memcpy(lse.at(base + ws_.query_offsets[t]), ws_.logsumexp + t, sizeof(T));
  }

  const ForwardOutputs& outputs_;
  const TileOrder& order_;
  TileGroup<T> group_;
};

}  // namespace

template <class T>
void tile_forward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, const CpuPart& part,
                  const SharedModifiers<T>& modifiers, std::byte* slots) {
  const Shape& shape = problem.shape;
  const int64_t heads = shape.batch * shape.heads;
  const TileRange tiles = tiles_of(part);
  const TileOrder order(*part.plan, tiles_together(problem, *part.plan));
  std::vector<int64_t> cuts = {0, tiles.end - tiles.first};
  const int64_t wanted = (choice.slots * kTasksPerThread + heads - 1) / heads;
  if (choice.slots > 1 && wanted > 1) cuts = cut_by_cost(tile_costs(*part.plan, order, tiles), wanted);
  const int64_t pieces = static_cast<int64_t>(cuts.size()) - 1;
  TaskQueue queue(heads * pieces);
  parallel_for(problem.threading, choice.slots, [&](int64_t slot) {
    TileForward<T> forward(problem, outputs, choice, part, modifiers, order,
                           slots + static_cast<size_t>(slot) * choice.workspace_per_slot);
    for (int64_t task = 0; queue.next(task);) {
      const int64_t head = task / pieces, piece = task % pieces;
      forward.run(head / shape.heads, head % shape.heads, tiles.first + cuts[static_cast<size_t>(piece)],
                  tiles.first + cuts[static_cast<size_t>(piece) + 1]);
    }
  });
}

template void tile_forward<float>(const Problem&, const ForwardOutputs&, const CpuChoice&, const CpuPart&,
                                  const SharedModifiers<float>&, std::byte*);
template void tile_forward<double>(const Problem&, const ForwardOutputs&, const CpuChoice&, const CpuPart&,
                                   const SharedModifiers<double>&, std::byte*);

}  // namespace nearfield::core
