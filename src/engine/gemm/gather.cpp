// near = factor * sum of weights * far: each query's runs of weights are gathered into a tile's matrix, 0 elsewhere,
// and multiplied with the block, a few neighbouring queries at a time with those keys that one of them sees.
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
    out_.resize(near_.size());
    out_rows_.resize(static_cast<size_t>(kernels_.tile_queries));
    for (size_t q = 0; q < out_rows_.size(); ++q) out_rows_[q] = out_.data() + static_cast<int64_t>(q) * stride_;
  }

  void run(int64_t first_tile, int64_t end_tile, int64_t first_head, int64_t end_head) {
    const Shape& shape = problem_.shape;
    const int64_t group = shape.heads / shape.heads_kv;
    for (int64_t index = first_tile; index < end_tile; ++index) {
      const bool is_new = this->prepare(index);
      this->locate_keys(call_.far, far_offsets_);
      if (problem_.key_mask) this->locate_keys(problem_.key_mask, mask_offsets_);
      tile_offsets_.resize(near_offsets_.size());
      this->locate_queries(call_.near, tile_offsets_);
      if (is_new) find_groups();
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
      GemmTiles<T>::weight_rows_, GemmTiles<T>::keys_, GemmTiles<T>::zeros_, GemmTiles<T>::far_offsets_,
      GemmTiles<T>::mask_offsets_, GemmTiles<T>::near_offsets_, GemmTiles<T>::tile_offsets_;

  // Neighbours on the last axis, whose windows are much the same, in a block.
  struct Group {
    int64_t queries = 0;
    size_t first_range = 0, end_range = 0;
  };

  void find_groups() {
    groups_.clear();
    ranges_.clear();
    const int64_t line = this->tile_.size(this->plan_.rank() - 1);
    const int64_t most = line >= 12 ? 6 : 4;
    for (const GemmBlock& block : blocks_) {
      int64_t run = block.first_run;
      for (int64_t q = 0; q < queries_;) {
        Group group{std::min(block.is_full ? 6 : most, queries_ - q), ranges_.size(), 0};
        q += group.queries;
        if (block.is_full) {
          ranges_.push_back({0, block.count});
        } else {
          run = add_ranges(run, block.end_run, q);
        }
        group.end_range = ranges_.size();
        groups_.push_back(group);
      }
    }
  }

  // The keys in the runs from `run` on, up to those of query `end_query`, as ranges; returns the end of these runs. The
  // i-th range begins as a query's i-th run, so ranges ascend as runs do.
  int64_t add_ranges(int64_t run, int64_t end_run, int64_t end_query) {
    const size_t begin = ranges_.size();
    for (int64_t query = -1; run < end_run && runs_[static_cast<size_t>(run)].query < end_query; ++run) {
      const SlotRun& each = runs_[static_cast<size_t>(run)];
      if (each.query != query) at_ = begin;
      query = each.query;
      if (at_ == ranges_.size()) {
        ranges_.push_back({each.key, each.key + each.count});
      } else {
        ranges_[at_].first = std::min(ranges_[at_].first, each.key);
        ranges_[at_].end = std::max(ranges_[at_].end, each.key + each.count);
      }
      ++at_;
    }
    merge_ranges(begin);
    return run;
  }

  // Of ranges from `begin` on those that meet, or are not in order, become one.
  void merge_ranges(size_t begin) {
    size_t last = begin;
    for (size_t i = begin + 1; i < ranges_.size(); ++i) {
      if (ranges_[i].first > ranges_[last].end) {
        ranges_[++last] = ranges_[i];
        continue;
      }
      ranges_[last].end = std::max(ranges_[last].end, ranges_[i].end);
      ranges_[last].first = std::min(ranges_[last].first, ranges_[i].first);
      while (last > begin && ranges_[last].first <= ranges_[last - 1].end) {
        ranges_[last - 1] = {std::min(ranges_[last - 1].first, ranges_[last].first),
                             std::max(ranges_[last - 1].end, ranges_[last].end)};
        --last;
      }
    }
    if (last + 1 < ranges_.size()) ranges_.resize(last + 1);
  }

  void run_tile(int64_t batch, int64_t kv_head) {
    std::fill_n(out_.begin(), queries_ * stride_, T{0});
    size_t group = 0;
    for (const GemmBlock& block : blocks_) {
      this->point_at_keys(block, call_.far, call_.additional, far_offsets_, batch, kv_head, true);
      const bool any_hidden = this->find_hidden(block, batch);
      for (int64_t i = 0; any_hidden && i < block.count; ++i)
        if (hidden_[static_cast<size_t>(i)] != 0) keys_[static_cast<size_t>(i)] = zeros_.data();
      this->find_weights(block, any_hidden);
      for (int64_t q = 0; q < queries_; ++group) {
        const Group& each = groups_[group];
        WeighedRows<T> step;
        step.queries = each.queries;
        step.weights = weight_rows_.data() + q;
        step.sources = keys_.data();
        step.ranges = ranges_.data() + each.first_range;
        step.range_count = static_cast<int64_t>(each.end_range - each.first_range);
        step.columns = step.stride = stride_;
        step.out = out_.data() + q * stride_;
        kernels_.weigh_rows(step);
        q += each.queries;
      }
    }
    scale_rows();
  }
  void scale_rows() {
    if (call_.factor == 1) return;
    for (T& x : out_) x *= static_cast<T>(call_.factor);
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
    scale_rows();
  }

  const GatherCall& call_;
  std::vector<T> out_;
  std::vector<Group> groups_;  // of all blocks
  std::vector<KeyRange> ranges_;
  size_t at_ = 0;
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
