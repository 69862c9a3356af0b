// near = factor * sum of weights * far: each query's runs of weights are gathered into a tile's matrix, 0 elsewhere,
// and multiplied with the block.
#include <algorithm>
#include <vector>

#include "engine/gemm/products.h"
#include "engine/gemm/tiles.h"

namespace nearfield::core {
namespace {

template <class T>
class GemmGather : GemmTiles<T> {
 public:
  GemmGather(const UnfusedProblem& problem, const Plan& plan, const GatherCall& call, Isa isa)
      : GemmTiles<T>(problem, plan, call.weights, call.near.sizes[call.near.rank - 1], isa), call_(call) {
    accumulator_.resize(near_.size());
    out_.resize(near_.size());
    out_rows_.resize(static_cast<size_t>(kernels_.tile_queries));
    for (size_t q = 0; q < out_rows_.size(); ++q) out_rows_[q] = out_.data() + static_cast<int64_t>(q) * stride_;
  }

  void run(int64_t first_tile, int64_t end_tile, int64_t first_head, int64_t end_head) {
    const Shape& shape = problem_.shape;
    const int64_t group = shape.heads / shape.heads_kv;
    for (int64_t index = first_tile; index < end_tile; ++index) {
      this->prepare(index);
      this->locate_keys(call_.far, far_offsets_);
      if (problem_.key_mask) this->locate_keys(problem_.key_mask, mask_offsets_);
      tile_offsets_.resize(near_offsets_.size());
      this->locate_queries(call_.near, tile_offsets_);
      for (int64_t kv = first_head; kv < end_head; ++kv)
        for (int64_t member = 0; member < group; ++member) {
          const int64_t batch = kv / shape.heads_kv, kv_head = kv % shape.heads_kv, head = kv_head * group + member;
          this->place_rows(batch, head);
          this->read_rows();
          run_tile(batch, kv_head);
          if (!kernels_.all_finite(out_rows_.data(), queries_, channels_)) run_pairs(batch, kv_head);
          kernels_.store_rows(out_.data(), stride_, queries_, channels_, this->base_of(call_.near, batch, head),
                              call_.near.dtype, tile_offsets_.data());
        }
    }
  }

 private:
  using GemmTiles<T>::problem_, GemmTiles<T>::kernels_, GemmTiles<T>::channels_, GemmTiles<T>::stride_,
      GemmTiles<T>::queries_, GemmTiles<T>::blocks_, GemmTiles<T>::runs_, GemmTiles<T>::hidden_, GemmTiles<T>::near_,
      GemmTiles<T>::scores_, GemmTiles<T>::keys_, GemmTiles<T>::zeros_, GemmTiles<T>::far_offsets_,
      GemmTiles<T>::mask_offsets_, GemmTiles<T>::near_offsets_, GemmTiles<T>::tile_offsets_;

  void run_tile(int64_t batch, int64_t kv_head) {
    std::fill(accumulator_.begin(), accumulator_.end(), T{0});
    for (const GemmBlock& block : blocks_) {
      this->point_at_keys(block, call_.far, call_.additional, far_offsets_, batch, kv_head);
      const bool any_hidden = this->find_hidden(block, batch);
      for (int64_t i = 0; any_hidden && i < block.count; ++i)
        if (hidden_[static_cast<size_t>(i)] != 0) keys_[static_cast<size_t>(i)] = zeros_.data();
      this->gather_weights(block, any_hidden);
      TileStep<T> step;
      step.count = block.count;
      step.head_dim_v = channels_;
      step.values = keys_.data();
      step.scores = scores_.data();
      step.accumulator = accumulator_.data();
      kernels_.tile_accumulate(step);
    }
    kernels_.tile_rows(accumulator_.data(), channels_, static_cast<T>(call_.factor), out_.data(), stride_);
  }

  // The same for the pairs that are seen, one by one.
  void run_pairs(int64_t batch, int64_t kv_head) {
    std::fill(out_.begin(), out_.end(), T{0});
    for (const GemmBlock& block : blocks_) {
      this->point_at_keys(block, call_.far, call_.additional, far_offsets_, batch, kv_head);
      const bool any_hidden = this->find_hidden(block, batch);
      for (int64_t r = block.first_run; r < block.end_run; ++r) {
        const SlotRun& run = runs_[static_cast<size_t>(r)];
        T* out = out_.data() + run.query * stride_;
        for (int64_t i = 0; i < run.count; ++i) {
          if (any_hidden && hidden_[static_cast<size_t>(run.key + i)] != 0) continue;
          T weight;
          std::memcpy(&weight, this->row(run.query) + (run.slot + i) * static_cast<int64_t>(sizeof(T)), sizeof weight);
          const T* key = keys_[static_cast<size_t>(run.key + i)];
          for (int64_t c = 0; c < channels_; ++c) out[c] += weight * key[c];
        }
      }
    }
    for (T& x : out_) x *= static_cast<T>(call_.factor);
  }

  const GatherCall& call_;
  std::vector<T> accumulator_, out_;
  std::vector<const T*> out_rows_;
};

template <class T>
void run_gather(const UnfusedProblem& problem, const GatherCall& call, Isa isa) {
  const auto plan = gemm_plan(problem.pattern, call.near.dtype, call.near.sizes[call.near.rank - 1], isa);
  const int64_t tiles = plan->tile_count(), each = tiles_of_unit(problem, *plan);
  run_units(
      problem, ceil_div(tiles, each), [&] { return GemmGather<T>(problem, *plan, call, isa); },
      [&](GemmGather<T>& worker, int64_t unit, int64_t first_head, int64_t end_head) {
        worker.run(unit * each, std::min(tiles, (unit + 1) * each), first_head, end_head);
      });
}

}  // namespace

void gemm_gather(const UnfusedProblem& problem, const GatherCall& call, Isa isa) {
  call.near.dtype == DType::float64 ? run_gather<double>(problem, call, isa) : run_gather<float>(problem, call, isa);
}

}  // namespace nearfield::core
