#include <algorithm>
#include <cstring>

#include "engine/block_sparse/workspace.h"
#include "engine/cpu/workspace.h"

namespace nearfield::core {
namespace {

// Memory offsets of tokens [first, first + count) of the row that the blocks cut.
void row_offsets(const Placement& placement, const Shape& shape, int64_t first, int64_t count, int64_t* offsets) {
  if (placement.has_order()) {
    for (int64_t i = 0; i < count; ++i) offsets[i] = placement.along(first + i);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    offsets[i] = 0;
    int64_t rest = first + i;
    for (int a = shape.rank - 1; a >= 0; rest /= shape.grid[a--])
      offsets[i] += rest % shape.grid[a] * placement.stride(a);
  }
}

// Brings rows [first, first + count) of one head into the order.
template <class T>
void gather(const Problem& problem, const HeadView& tensor, const KernelTable<T>& kernels, int64_t first, int64_t count,
            int64_t stride, T* rows) {
  int64_t offsets[kSparseBlock];
  row_offsets(tensor.placement, problem.shape, first, count, offsets);
  kernels.load_rows(tensor.data, tensor.dtype, offsets, count, tensor.channels, T{1}, rows + first * stride, stride);
}

// One thread's work.
template <class T>
class BlockSparse {
 public:
  BlockSparse(const Problem& problem, const ForwardOutputs& outputs, const BlockSparseChoice& choice,
              const SparseShared<T>& shared, void* memory)
      : problem_(problem),
        outputs_(outputs),
        map_(*choice.map),
        kernels_(kernels_of<T>(choice.isa)),
        shared_(shared),
        arena_(memory),
        slot_(arena_, problem, kernels_, shared) {
    std::fill_n(slot_.zeros, std::max(problem.shape.head_dim, problem.shape.head_dim_v), T{0});
  }

  // A block of queries of one head.
  void run(int64_t batch, int64_t head, int64_t query_block) {
    const int64_t queries = map_.size_of_block(query_block), tiles = (queries + lanes() - 1) / lanes();
    load(batch, head, query_block);
    attend(batch, head, query_block, 0, tiles, -1);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t filled = std::min(lanes(), queries - tile * lanes());
      if (!finish(tile, filled, slot_.out, slot_.logsumexp)) attend_one_by_one(batch, head, query_block, tile, filled);
      store(batch, head, query_block, tile, filled);
    }
  }

 private:
  int64_t lanes() const { return kernels_.tile_queries; }

  // The queries as tiles of columns, and their places in the tensor.
  void load(int64_t batch, int64_t head, int64_t query_block) {
    const HeadView query(problem_.query, problem_.pattern, batch, head);
    const int64_t queries = map_.size_of_block(query_block), stride = shared_.key_stride;
    row_offsets(query.placement, problem_.shape, map_.first_of(query_block), queries, slot_.query_offsets);
    for (int64_t first = 0; first < queries; first += lanes()) {
      const int64_t count = std::min(lanes(), queries - first);
      kernels_.load_rows(query.data, query.dtype, slot_.query_offsets + first, count, query.channels,
                         static_cast<T>(problem_.scale * kLog2e), slot_.query_rows, stride);
      std::fill(slot_.query_rows + count * stride, slot_.query_rows + lanes() * stride, T{0});
      kernels_.transpose_tile(slot_.query_rows, stride, stride, slot_.query + first * stride);
    }
  }

  // Pointers to a block's rows: gathered, in the caller's memory, or converted into `packed`.
  void point(const TensorView& tensor, const HeadView& view, const T* gathered, int64_t first, int64_t count,
             int64_t stride, T* packed, const T** rows) {
    if (gathered != nullptr) {
      for (int64_t i = 0; i < count; ++i) rows[i] = gathered + (first + i) * stride;
      return;
    }
    row_offsets(view.placement, problem_.shape, first, count, slot_.offsets);
    if (in_place(tensor)) {
      for (int64_t i = 0; i < count; ++i) rows[i] = reinterpret_cast<const T*>(view.at(slot_.offsets[i]));
      return;
    }
    kernels_.load_rows(view.data, view.dtype, slot_.offsets, count, view.channels, T{1}, packed, stride);
    for (int64_t i = 0; i < count; ++i) rows[i] = packed + i * stride;
  }

  // Tiles [first_tile, end_tile) of the block against all of its key blocks. only: the one query of a tile that counts.
  void attend(int64_t batch, int64_t head, int64_t query_block, int64_t first_tile, int64_t end_tile, int64_t only) {
    const int64_t dv = problem_.shape.head_dim_v, kv_head = problem_.shape.kv_head(head);
    const HeadView key(problem_.key, problem_.pattern, batch, kv_head),
        value(problem_.value, problem_.pattern, batch, kv_head);
    const int64_t begin = first_tile * lanes(), count = (end_tile - first_tile) * lanes();
    std::fill_n(slot_.maximum + begin, count, kMaskedScore<T>);
    std::fill_n(slot_.sum + begin, count, T{0});
    std::fill_n(slot_.accumulator + begin * dv, count * dv, T{0});
    for (const KeyBlock& block : map_.row(query_block)) {
      const int64_t first = map_.first_of(block.index), keys = map_.size_of_block(block.index);
      point(problem_.key, key, shared_.keys, first, keys, shared_.key_stride, slot_.packed_keys, slot_.keys);
      point(problem_.value, value, shared_.values, first, keys, shared_.value_stride, slot_.packed_values,
            slot_.values);
      for (int64_t tile = first_tile; tile < end_tile; ++tile)
        for (int64_t from = 0; from < keys; from += kSparseStep)
          kernels_.tile_step(step_of(block, tile, from, std::min(kSparseStep, keys - from), only));
    }
  }

  // Keys [from, from + count) of a block against one tile.
  TileStep<T> step_of(const KeyBlock& block, int64_t tile, int64_t from, int64_t count, int64_t only) {
    const int64_t first = tile * lanes();
    TileStep<T> step;
    step.count = count;
    step.head_dim = problem_.shape.head_dim;
    step.head_dim_v = problem_.shape.head_dim_v;
    step.query = slot_.query + first * shared_.key_stride;
    step.keys = slot_.keys + from;
    step.values = slot_.values + from;
    step.scores = slot_.scores;
    step.maximum = slot_.maximum + first;
    step.sum = slot_.sum + first;
    step.accumulator = slot_.accumulator + first * step.head_dim_v;
    if (block.full()) return step;
    const uint32_t* mask = map_.mask_of(block) + first / 32 * kSparseBlock + from;
    for (int64_t i = 0; i < count; ++i) slot_.visible[i] = mask[i] >> (first % 32);
    step.visible = slot_.visible;
    for (int64_t i = 0; only >= 0 && i < count; ++i) {
      const bool seen = (slot_.visible[i] >> only & 1) != 0;
      slot_.kept_keys[i] = seen ? step.keys[i] : slot_.zeros;
      slot_.kept_values[i] = seen ? step.values[i] : slot_.zeros;
    }
    if (only >= 0) {
      step.keys = slot_.kept_keys;
      step.values = slot_.kept_values;
    }
    return step;
  }

  bool finish(int64_t tile, int64_t queries, T* out, T* logsumexp) {
    const int64_t first = tile * lanes(), dv = problem_.shape.head_dim_v;
    return kernels_.tile_finish({.queries = queries,
                                 .head_dim_v = dv,
                                 .maximum = slot_.maximum + first,
                                 .sum = slot_.sum + first,
                                 .accumulator = slot_.accumulator + first * dv,
                                 .out_stride = shared_.value_stride,
                                 .out = out,
                                 .logsumexp = logsumexp});
  }

  // As the fused engine does where something is not finite: 0 * NaN must not reach a query that does not see it.
  void attend_one_by_one(int64_t batch, int64_t head, int64_t query_block, int64_t tile, int64_t queries) {
    T* logsumexp = slot_.logsumexp + lanes();
    for (int64_t t = 0; t < queries; ++t) {
      attend(batch, head, query_block, tile, tile + 1, t);
      finish(tile, queries, slot_.again, logsumexp);
      std::copy_n(slot_.again + t * shared_.value_stride, shared_.value_stride, slot_.out + t * shared_.value_stride);
      slot_.logsumexp[t] = logsumexp[t];
    }
  }

  void store(int64_t batch, int64_t head, int64_t query_block, int64_t tile, int64_t queries) {
    const HeadView out(outputs_.out, problem_.pattern, batch, head);
    const int64_t first = map_.first_of(query_block) + tile * lanes();
    row_offsets(out.placement, problem_.shape, first, queries, slot_.offsets);
    kernels_.store_rows(slot_.out, shared_.value_stride, queries, out.channels, out.data, out.dtype, slot_.offsets);
    if (!outputs_.logsumexp) return;
    const TensorView& lse = outputs_.logsumexp;
    row_offsets(Placement(problem_.pattern, lse.strides + 1), problem_.shape, first, queries, slot_.offsets);
    const int64_t base = batch * lse.strides[0] + head * lse.strides[problem_.shape.rank + 1];
    for (int64_t t = 0; t < queries; ++t) std::memcpy(lse.at(base + slot_.offsets[t]), slot_.logsumexp + t, sizeof(T));
  }

  const Problem& problem_;
  const ForwardOutputs& outputs_;
  const BlockMap& map_;
  const KernelTable<T>& kernels_;
  const SparseShared<T>& shared_;
  Arena arena_;
  SparseSlot<T> slot_;
};

template <class T>
void run_blocks(const Problem& problem, const ForwardOutputs& outputs, const BlockSparseChoice& choice,
                std::byte* workspace) {
  const Shape& shape = problem.shape;
  const KernelTable<T>& kernels = kernels_of<T>(choice.isa);
  Arena arena(workspace);
  const SparseShared<T> shared(arena, problem, kernels);
  const int64_t blocks = choice.map->block_count(), group = shape.heads / shape.heads_kv;
  for (int64_t pair = 0; pair < shape.batch * shape.heads_kv; ++pair) {
    const int64_t batch = pair / shape.heads_kv, kv_head = pair % shape.heads_kv;
    if (shared.keys != nullptr) {
      const HeadView key(problem.key, problem.pattern, batch, kv_head),
          value(problem.value, problem.pattern, batch, kv_head);
      TaskQueue queue(blocks);
      parallel_for(problem.threading, choice.slots, [&](int64_t) {
        for (int64_t block = 0; queue.next(block);) {
          const int64_t first = choice.map->first_of(block), count = choice.map->size_of_block(block);
          gather(problem, key, kernels, first, count, shared.key_stride, shared.keys);
          gather(problem, value, kernels, first, count, shared.value_stride, shared.values);
        }
      });
    }
    TaskQueue queue(group * blocks);
    parallel_for(problem.threading, choice.slots, [&](int64_t slot) {
      BlockSparse<T> sparse(
          problem, outputs, choice, shared,
          workspace + choice.workspace_shared + static_cast<size_t>(slot) * choice.workspace_per_slot);
      for (int64_t task = 0; queue.next(task);) sparse.run(batch, kv_head * group + task / blocks, task % blocks);
    });
  }
}

}  // namespace

void block_sparse_forward(const Problem& problem, const ForwardOutputs& outputs, const BlockSparseChoice& choice,
                          void* workspace) {
  const Workspace memory(workspace, choice.workspace());
  auto* bytes = static_cast<std::byte*>(memory.memory());
  if (problem.query.dtype == DType::float64) {
    run_blocks<double>(problem, outputs, choice, bytes);
  } else {
    run_blocks<float>(problem, outputs, choice, bytes);
  }
}

}  // namespace nearfield::core
