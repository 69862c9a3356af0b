// far = factor * sum of weights * near: the tile's matrix as in gather.cpp, and its product with the tile's queries
// added to the block's rows in memory. Slabs of tiles that share keys have different colours, so that each key gets its
// terms in one order.
#include <algorithm>
#include <vector>

#include "engine/cpu/slabs.h"
#include "engine/gemm/products.h"
#include "engine/gemm/tiles.h"
#include "engine/unfused/rows.h"

namespace nearfield::core {
namespace {

template <class T>
class GemmScatter : GemmTiles<T> {
 public:
  // sums: of T, as call.far.
  GemmScatter(const UnfusedProblem& problem, const Plan& plan, const ScatterCall& call, const TensorView& sums, Isa isa)
      : GemmTiles<T>(problem, plan, call.weights, call.near.sizes[call.near.rank - 1], isa), call_(call), sums_(sums) {
    targets_.resize(keys_.size());
    from_.resize(keys_.size());
    to_.resize(keys_.size());
    query_rows_.resize(static_cast<size_t>(kernels_.tile_queries));
    for (size_t q = 0; q < query_rows_.size(); ++q)
      query_rows_[q] = near_rows_.data() + static_cast<int64_t>(q) * stride_;
  }

  void run(int64_t first_tile, int64_t end_tile, int64_t first_head, int64_t end_head) {
    const Shape& shape = problem_.shape;
    const int64_t group = shape.heads / shape.heads_kv;
    for (int64_t index = first_tile; index < end_tile; ++index) {
      const bool is_new = this->prepare(index);
      this->locate_keys(sums_, far_offsets_);
      if (problem_.key_mask) this->locate_keys(problem_.key_mask, mask_offsets_);
      tile_offsets_.resize(near_offsets_.size());
      this->locate_queries(call_.near, tile_offsets_);
      if (is_new) find_seers();
      for (int64_t kv = first_head; kv < end_head; ++kv)
        for (int64_t member = 0; member < group; ++member) {
          const int64_t kv_head = kv % shape.heads_kv;
          run_tile(kv / shape.heads_kv, kv_head, kv_head * group + member);
        }
    }
  }

 private:
  using GemmTiles<T>::problem_, GemmTiles<T>::kernels_, GemmTiles<T>::channels_, GemmTiles<T>::stride_,
      GemmTiles<T>::queries_, GemmTiles<T>::blocks_, GemmTiles<T>::runs_, GemmTiles<T>::hidden_,
      GemmTiles<T>::near_rows_, GemmTiles<T>::weight_rows_, GemmTiles<T>::keys_, GemmTiles<T>::far_offsets_,
      GemmTiles<T>::mask_offsets_, GemmTiles<T>::near_offsets_, GemmTiles<T>::tile_offsets_;

  // Of each key of the tile's blocks, from which of its queries to which it is seen.
  void find_seers() {
    from_.assign(far_offsets_.size(), static_cast<uint8_t>(queries_));
    to_.assign(far_offsets_.size(), 0);
    for (const GemmBlock& block : blocks_) {
      if (block.is_additional) continue;
      for (int64_t r = block.first_run; r < block.end_run; ++r) {
        const SlotRun& run = runs_[static_cast<size_t>(r)];
        for (int64_t i = block.first_key + run.key; i < block.first_key + run.key + run.count; ++i) {
          const auto key = static_cast<size_t>(i), query = static_cast<size_t>(run.query);
          from_[key] = std::min(from_[key], static_cast<uint8_t>(query));
          to_[key] = static_cast<uint8_t>(query + 1);
        }
      }
    }
  }

  void run_tile(int64_t batch, int64_t kv_head, int64_t head) {
    this->load_near(call_.near, tile_offsets_, batch, head, static_cast<T>(call_.factor), false);
    const bool clean = kernels_.all_finite(query_rows_.data(), queries_, channels_);
    this->place_rows(batch, head);
    this->read_rows();
    std::byte* const base = this->base_of(sums_, batch, kv_head);
    for (const GemmBlock& block : blocks_) {
      if (block.is_additional) continue;
      for (int64_t i = 0; i < block.count; ++i)
        targets_[static_cast<size_t>(i)] =
            base + far_offsets_[static_cast<size_t>(block.first_key + i)] * static_cast<int64_t>(sizeof(T));
      const bool any_hidden = this->find_hidden(block, batch);
      if (!clean) {
        add_pairs(block, any_hidden);
        continue;
      }
      this->find_weights(block, any_hidden);
      SpreadRows<T> step;
      step.count = block.count;
      step.weights = weight_rows_.data();
      step.from = from_.data() + block.first_key;
      step.to = to_.data() + block.first_key;
      step.sources = near_rows_.data();
      step.stride = stride_;
      step.rows = targets_.data();
      step.columns = channels_;
      kernels_.spread_rows(step);
    }
  }

  // The same for the pairs that are seen, one by one.
  void add_pairs(const GemmBlock& block, bool any_hidden) {
    constexpr int64_t size = sizeof(T);
    for (int64_t r = block.first_run; r < block.end_run; ++r) {
      const SlotRun& run = runs_[static_cast<size_t>(r)];
      const T* near = near_rows_.data() + run.query * stride_;
      for (int64_t i = 0; i < run.count; ++i) {
        if (any_hidden && hidden_[static_cast<size_t>(run.key + i)] != 0) continue;
        T weight, sum;
        std::memcpy(&weight, this->row(run.query) + (run.slot + i) * size, sizeof weight);
        for (int64_t c = 0; c < channels_; ++c) {
          std::byte* const target = targets_[static_cast<size_t>(run.key + i)] + c * size;
          std::memcpy(&sum, target, sizeof sum);
          sum += weight * near[c];
          std::memcpy(target, &sum, sizeof sum);
        }
      }
    }
  }

  const ScatterCall& call_;
  const TensorView& sums_;
  std::vector<std::byte*> targets_;
  std::vector<const T*> query_rows_;
  std::vector<uint8_t> from_, to_;  // of all keys
};

template <class T>
void run_scatter(const UnfusedProblem& problem, const ScatterCall& call, Isa isa) {
  const auto plan = gemm_plan(problem.pattern, call.near.dtype, call.near.sizes[call.near.rank - 1], isa);
  const FarSums sums(problem, call.far);
  for (const std::vector<Slab>& slabs : slabs_by_colour(*plan, {0, plan->tile_count()}))
    run_units(
        problem, static_cast<int64_t>(slabs.size()),
        [&] { return GemmScatter<T>(problem, *plan, call, sums.view(), isa); },
        [&](GemmScatter<T>& worker, int64_t unit, int64_t first_head, int64_t end_head) {
          const Slab& slab = slabs[static_cast<size_t>(unit)];
          worker.run(slab.first, slab.end, first_head, end_head);
        });
  sums.finish(problem, isa);
}

}  // namespace

void gemm_scatter(const UnfusedProblem& problem, const ScatterCall& call, Isa isa) {
  scatter_additional(problem, call);
  if (!call.far) return;
  call.near.dtype == DType::float64 ? run_scatter<double>(problem, call, isa) : run_scatter<float>(problem, call, isa);
}

const UnfusedOperators kGemmOperators = {gemm_pairs, gemm_gather,  gemm_scatter,
                                         sum_bias,   softmax_rows, softmax_gradient_rows};

}  // namespace nearfield::core
