// weights = scale * near . far (+ bias): one product of a tile and a block, transposed into rows, of which each query's
// runs are copied to its slots.
#include <algorithm>
#include <vector>

#include "engine/gemm/products.h"
#include "engine/gemm/tiles.h"
#include "engine/unfused/rows.h"
#include "engine/unfused/seen_keys.h"

namespace nearfield::core {
namespace {

template <class T>
class GemmPairs : GemmTiles<T> {
 public:
  GemmPairs(const UnfusedProblem& problem, const Plan& plan, const PairsCall& call, Isa isa)
      : GemmTiles<T>(problem, plan, call.weights, call.near.sizes[call.near.rank - 1], isa),
        call_(call),
        seen_(problem) {
    if (call.bias) copy_table();
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
      if (call_.bias) find_bias();
      for (int64_t kv = first_head; kv < end_head; ++kv)
        for (int64_t member = 0; member < group; ++member) {
          const int64_t kv_head = kv % shape.heads_kv;
          run_tile(kv / shape.heads_kv, kv_head, kv_head * group + member);
        }
    }
  }

 private:
  using GemmTiles<T>::problem_, GemmTiles<T>::kernels_, GemmTiles<T>::channels_, GemmTiles<T>::step_,
      GemmTiles<T>::queries_, GemmTiles<T>::blocks_, GemmTiles<T>::runs_, GemmTiles<T>::whole_, GemmTiles<T>::hidden_,
      GemmTiles<T>::near_, GemmTiles<T>::scores_, GemmTiles<T>::rows_, GemmTiles<T>::keys_, GemmTiles<T>::zeros_,
      GemmTiles<T>::far_offsets_, GemmTiles<T>::mask_offsets_, GemmTiles<T>::near_offsets_, GemmTiles<T>::tile_offsets_;

  void run_tile(int64_t batch, int64_t kv_head, int64_t head) {
    constexpr int64_t size = sizeof(T);
    const auto hidden = static_cast<T>(call_.hidden);
    this->load_near(call_.near, tile_offsets_, batch, head, static_cast<T>(call_.scale), true);
    this->place_rows(batch, head);
    for (int64_t q = 0; q < queries_; ++q)
      if (whole_[static_cast<size_t>(q)] == 0) fill_run(hidden, this->row(q), problem_.volume());
    for (const GemmBlock& block : blocks_) {
      this->point_at_keys(block, call_.far, call_.additional, far_offsets_, batch, kv_head);
      const bool any_hidden = this->find_hidden(block, batch);
      for (int64_t i = 0; any_hidden && i < block.count; ++i)
        if (hidden_[static_cast<size_t>(i)] != 0) keys_[static_cast<size_t>(i)] = zeros_.data();
      TileStep<T> step;
      step.count = block.count;
      step.head_dim = channels_;
      step.query = near_.data();
      step.keys = keys_.data();
      step.scores = scores_.data();
      kernels_.tile_scores(step);
      kernels_.transpose_back(scores_.data(), block.count, rows_.data(), step_);
      if (call_.bias && !block.is_additional) add_bias(block, head);
      for (int64_t i = 0; any_hidden && i < block.count; ++i)
        for (int64_t q = 0; hidden_[static_cast<size_t>(i)] != 0 && q < queries_; ++q) rows_[this->at(q, i)] = hidden;
      for (int64_t r = block.first_run; r < block.end_run; ++r) {
        const SlotRun& run = runs_[static_cast<size_t>(r)];
        copy_run<T>(&rows_[this->at(run.query, run.key)], this->row(run.query) + run.slot * size, run.count);
      }
    }
    this->write_rows();
  }

  // The entries of the tile's pairs, in the order of slots; a pair's place follows from its query's first slot that is
  // seen on each axis, so entries are looked up by slot.
  void find_bias() {
    const Shape& shape = problem_.shape;
    entries_.assign(static_cast<size_t>(queries_ * problem_.volume()), 0);
    std::vector<int64_t> tokens(near_offsets_.size());
    TensorView numbers;  // a tensor whose elements are the tokens' numbers
    numbers.rank = shape.rank + 2;
    int64_t stride = 1;
    for (int a = shape.rank - 1; a >= 0; stride *= shape.grid[a--]) numbers.strides[a + 1] = stride;
    this->locate_queries(numbers, tokens);
    for (int64_t q = 0; q < queries_; ++q) {
      seen_.move_to(tokens[static_cast<size_t>(q)]);
      seen_.find_bias(call_.bias, found_);
      for (size_t i = 0; i < found_.size(); ++i)
        entries_[static_cast<size_t>(q * problem_.volume() + seen_.slots()[i])] = found_[i];
    }
  }

  void add_bias(const GemmBlock& block, int64_t head) {
    const T* table = table_.data() + head * (static_cast<int64_t>(table_.size()) / problem_.shape.heads);
    for (int64_t r = block.first_run; r < block.end_run; ++r) {
      const SlotRun& run = runs_[static_cast<size_t>(r)];
      const int64_t* entry = entries_.data() + run.query * problem_.volume() + run.slot;
      T* row = &rows_[this->at(run.query, run.key)];
      for (int64_t i = 0; i < run.count; ++i) row[i] += table[entry[i]];
    }
  }

  void copy_table() {
    const TensorView& bias = call_.bias;
    int64_t count = 1;
    for (int d = 0; d < bias.rank; ++d) count *= bias.sizes[d];
    for (int64_t i = 0; i < count; ++i) {
      int64_t rest = i, element = 0;
      for (int d = bias.rank - 1; d >= 0; rest /= bias.sizes[d--]) element += rest % bias.sizes[d] * bias.strides[d];
      table_.push_back(load_as<T>(bias, element));
    }
  }

  const PairsCall& call_;
  SeenKeys seen_;
  std::vector<T> table_;                  // [heads][entries]
  std::vector<int64_t> entries_, found_;  // [queries][slots]
};

template <class T>
void run_pairs(const UnfusedProblem& problem, const PairsCall& call, Isa isa) {
  const auto plan = gemm_plan(problem.pattern, call.near.dtype, call.near.sizes[call.near.rank - 1], isa);
  const int64_t tiles = plan->tile_count(), each = tiles_of_unit(problem, *plan);
  run_units(
      problem, ceil_div(tiles, each), [&] { return GemmPairs<T>(problem, *plan, call, isa); },
      [&](GemmPairs<T>& worker, int64_t unit, int64_t first_head, int64_t end_head) {
        worker.run(unit * each, std::min(tiles, (unit + 1) * each), first_head, end_head);
      });
}

}  // namespace

void gemm_pairs(const UnfusedProblem& problem, const PairsCall& call, Isa isa) {
  call.near.dtype == DType::float64 ? run_pairs<double>(problem, call, isa) : run_pairs<float>(problem, call, isa);
}

}  // namespace nearfield::core
