// Drives the tile kernel: for each tile of queries, the plan's steps, each as a list of key rows with, on partial
// steps, one bit per query. Keys and values are read where they lie if they have the kernel's type, else converted
// step by step.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/cpu/driver.h"
#include "engine/cpu/rates.h"
#include "plan/cache.h"
#include "plan/cost_model.h"
#include "plan/tiling.h"

namespace nearfield::core {
namespace {

// Keys of a step: a multiple of the kernel's 6 rows whose scores stay in the L1 cache.
constexpr int64_t kStepKeys = 60;

template <class T>
struct Workspace {
  T *query_rows, *query, *scores, *maximum, *sum, *accumulator, *out, *again, *logsumexp, *packed_keys, *packed_values,
      *zeros;
  const T **keys, **values, **kept_keys, **kept_values;
  uint32_t *visible, *axis_bits;
  int64_t *offsets, *query_offsets;
  int64_t key_stride, value_stride;

  Workspace(Arena& arena, const Problem& problem, const KernelTable<T>& kernels) {
    const int64_t queries = kernels.tile_queries, d = problem.shape.head_dim, dv = problem.shape.head_dim_v;
    key_stride = round_up(d, kernels.lanes);
    value_stride = round_up(dv, kernels.lanes);
    query_rows = arena.take<T>(queries * key_stride);
    query = arena.take<T>(queries * key_stride);
    scores = arena.take<T>(kStepKeys * queries);
    maximum = arena.take<T>(queries);
    sum = arena.take<T>(queries);
    accumulator = arena.take<T>(dv * queries);
    out = arena.take<T>(queries * value_stride);
    again = arena.take<T>(queries * value_stride);
    logsumexp = arena.take<T>(2 * queries);
    packed_keys = arena.take<T>(in_place(problem.key) ? 0 : kStepKeys * key_stride);
    packed_values = arena.take<T>(in_place(problem.value) ? 0 : kStepKeys * value_stride);
    zeros = arena.take<T>(std::max(d, dv));
    keys = arena.take<const T*>(kStepKeys);
    values = arena.take<const T*>(kStepKeys);
    kept_keys = arena.take<const T*>(kStepKeys);
    kept_values = arena.take<const T*>(kStepKeys);
    visible = arena.take<uint32_t>(kStepKeys);
    axis_bits = arena.take<uint32_t>(kMaxGridRank * (kStepKeys + 1));
    offsets = arena.take<int64_t>(kStepKeys);
    query_offsets = arena.take<int64_t>(queries);
  }
};

// Memory offsets of a box of tokens, last axis fastest.
int64_t box_offsets(const Plan& plan, const Tile& tile, const int64_t (&first)[kMaxGridRank],
                    const int64_t (&size)[kMaxGridRank], const int64_t (&strides)[kMaxGridRank], int64_t* offsets) {
  int64_t count = 1;
  offsets[0] = 0;
  for (int a = 0; a < plan.rank(); ++a) {
    const int64_t dilation = plan.axis(a).dilation;
    const int64_t base = locate(first[a], tile.residue[a], dilation) * strides[a], step = dilation * strides[a];
    for (int64_t i = count - 1; i >= 0; --i)  // from the end: row i spreads over [i*size, (i+1)*size)
      for (int64_t x = size[a] - 1; x >= 0; --x) offsets[i * size[a] + x] = offsets[i] + base + x * step;
    count *= size[a];
  }
  return count;
}

template <class T>
class TileForward {
 public:
  TileForward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, void* memory)
      : problem_(problem),
        outputs_(outputs),
        plan_(*choice.plan),
        kernels_(kernels_of<T>(choice.isa)),
        arena_(memory),
        ws_(arena_, problem, kernels_) {
    std::fill_n(ws_.zeros, std::max(problem.shape.head_dim, problem.shape.head_dim_v), T{0});
  }

  void run(int64_t batch, int64_t head, int64_t first_tile, int64_t end_tile) {
    const int rank = problem_.shape.rank;
    const HeadView query(problem_.query, rank, batch, head);
    const HeadView key(problem_.key, rank, batch, problem_.shape.kv_head(head));
    const HeadView value(problem_.value, rank, batch, problem_.shape.kv_head(head));
    for (int64_t index = first_tile; index < end_tile; ++index) {
      const Tile tile = plan_.tile(index);
      plan_.expand(tile, steps_);
      const int64_t queries = load_queries(query, tile);
      if (!attend(tile, key, value, queries, -1, ws_.out, ws_.logsumexp)) attend_one_by_one(tile, key, value, queries);
      store(tile, batch, head, queries);
    }
  }

 private:
  int64_t tile_box(const Tile& tile, const int64_t (&strides)[kMaxGridRank], int64_t* offsets) const {
    int64_t first[kMaxGridRank] = {}, size[kMaxGridRank] = {};
    for (int a = 0; a < plan_.rank(); ++a) {
      first[a] = tile.begin(a);
      size[a] = tile.size(a);
    }
    return box_offsets(plan_, tile, first, size, strides, offsets);
  }

  int64_t load_queries(const HeadView& query, const Tile& tile) {
    const int64_t queries = tile_box(tile, query.strides, ws_.query_offsets), stride = ws_.key_stride;
    kernels_.load_rows(query.data, query.dtype, ws_.query_offsets, queries, query.channels,
                       static_cast<T>(problem_.scale * kLog2e), ws_.query_rows, stride);
    std::fill(ws_.query_rows + queries * stride, ws_.query_rows + kernels_.tile_queries * stride, T{0});
    kernels_.transpose_tile(ws_.query_rows, stride, stride, ws_.query);
    return queries;
  }

  // Row pointers of the step's tokens in `tensor`: into the caller's memory, or into `packed`.
  int64_t rows_of(const HeadView& tensor, const Tile& tile, const Step& step, T* packed, int64_t stride,
                  const T** rows) {
    int64_t first[kMaxGridRank] = {}, size[kMaxGridRank] = {};
    for (int a = 0; a < plan_.rank(); ++a) {
      first[a] = step.pieces[a].first;
      size[a] = step.pieces[a].size;
    }
    const int64_t count = box_offsets(plan_, tile, first, size, tensor.strides, ws_.offsets);
    if (packed == nullptr) {
      for (int64_t i = 0; i < count; ++i) rows[i] = reinterpret_cast<const T*>(tensor.at(ws_.offsets[i]));
    } else {
      kernels_.load_rows(tensor.data, tensor.dtype, ws_.offsets, count, tensor.channels, T{1}, packed, stride);
      for (int64_t i = 0; i < count; ++i) rows[i] = packed + i * stride;
    }
    return count;
  }

  // visible[key]: the queries of the tile that see it. Spans factorise, so bits are made per axis and combined.
  void mark_visible(const Tile& tile, const Step& step) {
    int64_t count = 1;
    ws_.visible[0] = ~uint32_t{0};
    int64_t all = 1;
    for (int a = 0; a < plan_.rank(); ++a) all *= tile.size(a);
    int64_t inner = all;  // queries that share their coordinates on this axis and all before it
    for (int a = 0; a < plan_.rank(); ++a) {
      const int64_t queries = tile.size(a), keys = step.pieces[a].size, outer_block = inner;
      inner /= queries;
      uint32_t* bits = ws_.axis_bits + a * (kStepKeys + 1);
      std::fill_n(bits, keys + 1, uint32_t{0});
      for (int64_t x = 0; x < queries; ++x) {
        uint64_t shared = 0;
        for (int64_t block = 0; block < all; block += outer_block)
          shared |= ((uint64_t{1} << inner) - 1) << (block + x * inner);
        const auto lanes = static_cast<uint32_t>(shared);
        const Span span = step.spans[a][x];
        bits[span.low] ^= lanes;  // ends toggle: a running exclusive-or below turns them into intervals
        bits[span.high] ^= lanes;
        if (span.low > span.high) bits[0] ^= lanes;
      }
      for (int64_t y = 1; y < keys; ++y) bits[y] ^= bits[y - 1];
      for (int64_t i = count - 1; i >= 0; --i)
        for (int64_t y = keys - 1; y >= 0; --y) ws_.visible[i * keys + y] = ws_.visible[i] & bits[y];
      count *= keys;
    }
  }

  // only >= 0: keys that this query doesn't see are replaced by zeros, whatever they hold.
  void hide_from(int64_t only, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const bool seen = (ws_.visible[i] >> only & 1) != 0;
      ws_.kept_keys[i] = seen ? ws_.keys[i] : ws_.zeros;
      ws_.kept_values[i] = seen ? ws_.values[i] : ws_.zeros;
    }
  }

  bool attend(const Tile& tile, const HeadView& key, const HeadView& value, int64_t queries, int64_t only, T* out,
              T* logsumexp) {
    const int64_t lanes = kernels_.tile_queries, dv = problem_.shape.head_dim_v;
    std::fill_n(ws_.maximum, lanes, kMaskedScore<T>);
    std::fill_n(ws_.sum, lanes, T{0});
    std::fill_n(ws_.accumulator, dv * lanes, T{0});
    for (const Step& step : steps_) {
      const int64_t count =
          rows_of(key, tile, step, in_place(problem_.key) ? nullptr : ws_.packed_keys, ws_.key_stride, ws_.keys);
      rows_of(value, tile, step, in_place(problem_.value) ? nullptr : ws_.packed_values, ws_.value_stride, ws_.values);
      if (!step.full) mark_visible(tile, step);
      const bool hide = only >= 0 && !step.full;
      if (hide) hide_from(only, count);
      kernels_.tile_step({.count = count,
                          .head_dim = problem_.shape.head_dim,
                          .head_dim_v = dv,
                          .query = ws_.query,
                          .keys = hide ? ws_.kept_keys : ws_.keys,
                          .values = hide ? ws_.kept_values : ws_.values,
                          .visible = step.full ? nullptr : ws_.visible,
                          .scores = ws_.scores,
                          .maximum = ws_.maximum,
                          .sum = ws_.sum,
                          .accumulator = ws_.accumulator});
    }
    return kernels_.tile_finish({.queries = queries,
                                 .head_dim_v = dv,
                                 .maximum = ws_.maximum,
                                 .sum = ws_.sum,
                                 .accumulator = ws_.accumulator,
                                 .out_stride = ws_.value_stride,
                                 .out = out,
                                 .logsumexp = outputs_.logsumexp ? logsumexp : nullptr});
  }

  // Something in the tile is not finite. A weight of 0 times infinity is NaN, so a query's output may owe it to a key
  // outside its window: compute each query again with such keys blanked. Bits of the clean queries stay what they are
  // without the bad key, since a blanked key adds 0 * 0.
  void attend_one_by_one(const Tile& tile, const HeadView& key, const HeadView& value, int64_t queries) {
    T* logsumexp = ws_.logsumexp + kernels_.tile_queries;
    for (int64_t t = 0; t < queries; ++t) {
      attend(tile, key, value, queries, t, ws_.again, logsumexp);
      std::copy_n(ws_.again + t * ws_.value_stride, ws_.value_stride, ws_.out + t * ws_.value_stride);
      ws_.logsumexp[t] = logsumexp[t];
    }
  }

  void store(const Tile& tile, int64_t batch, int64_t head, int64_t queries) {
    const HeadView out(outputs_.out, plan_.rank(), batch, head);
    tile_box(tile, out.strides, ws_.query_offsets);
    kernels_.store_rows(ws_.out, ws_.value_stride, queries, out.channels, out.data, out.dtype, ws_.query_offsets);
    if (!outputs_.logsumexp) return;
    const TensorView& lse = outputs_.logsumexp;
    int64_t strides[kMaxGridRank] = {};
    for (int a = 0; a < plan_.rank(); ++a) strides[a] = lse.strides[1 + a];
    tile_box(tile, strides, ws_.query_offsets);
    const int64_t base = batch * lse.strides[0] + head * lse.strides[plan_.rank() + 1];
    for (int64_t t = 0; t < queries; ++t)
      std::memcpy(lse.at(base + ws_.query_offsets[t]), ws_.logsumexp + t, sizeof(T));
  }

  const Problem& problem_;
  const ForwardOutputs& outputs_;
  const Plan& plan_;
  const KernelTable<T>& kernels_;
  Arena arena_;
  Workspace<T> ws_;
  std::vector<Step> steps_;
};

// Work on each tile of one (batch, head), for cutting it into tasks.
std::vector<double> tile_costs(const Plan& plan) {
  std::vector<double> costs(static_cast<size_t>(plan.tile_count()));
  for (int64_t i = 0; i < plan.tile_count(); ++i) {
    const Tile tile = plan.tile(i);
    double keys = 1;
    for (int a = 0; a < plan.rank(); ++a) {
      int64_t sum = 0;
      for (int32_t s = 0; s < tile.axes[a]->steps; ++s)
        sum += tile.tables[a]->steps[static_cast<size_t>(tile.axes[a]->first_step + s)].piece.size;
      keys *= static_cast<double>(sum);
    }
    costs[static_cast<size_t>(i)] = keys + 1;
  }
  return costs;
}

template <class T>
void run_tiles(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, std::byte* workspace) {
  const Shape& shape = problem.shape;
  const int64_t heads = shape.batch * shape.heads;
  std::vector<int64_t> cuts = {0, choice.plan->tile_count()};
  const int64_t wanted = (choice.slots * kTasksPerThread + heads - 1) / heads;
  if (choice.slots > 1 && wanted > 1) cuts = cut_by_cost(tile_costs(*choice.plan), wanted);
  const int64_t pieces = static_cast<int64_t>(cuts.size()) - 1;
  TaskQueue queue(heads * pieces);
  parallel_for(problem.threading, choice.slots, [&](int64_t slot) {
    TileForward<T> forward(problem, outputs, choice, workspace + static_cast<size_t>(slot) * choice.workspace_per_slot);
    for (int64_t task = 0; queue.next(task);) {
      const int64_t head = task / pieces, piece = task % pieces;
      forward.run(head / shape.heads, head % shape.heads, cuts[static_cast<size_t>(piece)],
                  cuts[static_cast<size_t>(piece) + 1]);
    }
  });
}

template <class T>
size_t tile_workspace(const Problem& problem, Isa isa) {
  Arena arena(nullptr);
  Workspace<T> layout(arena, problem, kernels_of<T>(isa));
  return arena.used();
}

}  // namespace

void tile_choose(const Problem& problem, CpuChoice& choice) {
  const bool wide = problem.query.dtype == DType::float64;
  const CpuRates& rates = cpu_rates(choice.isa);
  const Shape& shape = problem.shape;
  const int64_t lanes = wide ? kernels_of<double>(choice.isa).tile_queries : kernels_of<float>(choice.isa).tile_queries;
  const double vector = rates.multiply_add;
  const auto channels = static_cast<double>(shape.head_dim + shape.head_dim_v);
  const MachineRates machine = {.per_key = vector * (2 * channels * rates.tile_product +
                                                     2 * rates.tile_softmax * (wide ? 2 : 1) + rates.tile_key),
                                .per_masked_key = 2 * vector * rates.tile_mask,
                                .per_step = vector * (rates.tile_step + 4 * static_cast<double>(shape.head_dim_v)),
                                .per_tile = vector * (rates.tile_step + 8 * channels)};
  const auto candidates = tile_candidates(problem.pattern, lanes, kStepKeys);
  const TileChoice best = choose_tile(problem.pattern, candidates, machine);
  choice.plan = cached_plan(problem.pattern, best.shape);
  choice.executed = choice.plan->statistics();
  choice.executed.executed_pairs = choice.executed.visited_keys * lanes;  // idle lanes work too
  choice.predicted_seconds = best.seconds;
  choice.workspace_per_slot =
      wide ? tile_workspace<double>(problem, choice.isa) : tile_workspace<float>(problem, choice.isa);
}

void tile_forward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, void* workspace) {
  auto* memory = static_cast<std::byte*>(workspace);
  if (problem.query.dtype == DType::float64) {
    run_tiles<double>(problem, outputs, choice, memory);
  } else {
    run_tiles<float>(problem, outputs, choice, memory);
  }
}

}  // namespace nearfield::core
