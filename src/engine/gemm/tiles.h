// What the three products share: for each tile of queries, the plan's steps and then the additional keys as blocks of
// rows, and which places of a block's product belong to which slots of the tile's rows of weights. Blocks and runs are
// the same for all images and heads, and found once.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/cpu/driver.h"
#include "engine/cpu/tile_walk.h"
#include "engine/gemm/gemm.h"
#include "plan/slots.h"

namespace nearfield::core {

template <class T>
inline constexpr DType kRowDType = sizeof(T) == 8 ? DType::float64 : DType::float32;

// Element by element this short, memcpy of a length that is not known costs more than it copies. Any alignment.
template <class T>
inline void copy_run(const void* from, void* to, int64_t count) {
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  constexpr int64_t size = sizeof(T);
  if (count >= 16) {
    std::memcpy(target, source, static_cast<size_t>(count * size));
    return;
  }
  // Pieces of a length that is known; the last one overlaps the one before.
  const auto pieces = [&]<int64_t N>() {
    std::byte first[N * size], last[N * size];
    std::memcpy(first, source, sizeof first);
    std::memcpy(last, source + (count - N) * size, sizeof last);
    std::memcpy(target, first, sizeof first);
    std::memcpy(target + (count - N) * size, last, sizeof last);
  };
  if (count >= 8) {
    pieces.template operator()<8>();
  } else if (count >= 4) {
    pieces.template operator()<4>();
  } else if (count >= 2) {
    pieces.template operator()<2>();
  } else if (count == 1) {
    std::memcpy(target, source, sizeof(T));
  }
}

// `count` times the same. Any alignment.
template <class T>
inline void fill_run(T value, std::byte* target, int64_t count) {
  constexpr int64_t kPiece = 8;
  T piece[kPiece];
  std::fill_n(piece, kPiece, value);
  int64_t i = 0;
  for (; i + kPiece <= count; i += kPiece)
    std::memcpy(target + i * static_cast<int64_t>(sizeof(T)), piece, sizeof piece);
  for (; i < count; ++i) std::memcpy(target + i * static_cast<int64_t>(sizeof(T)), &value, sizeof value);
}

// Rows of the tile against some keys.
struct GemmBlock {
  int64_t count = 0;  // of keys
  int64_t first_run = 0, end_run = 0;
  int64_t first_key = 0;  // into the tile's lists of keys; of an additional block, the first one's number
  bool is_additional = false;
  bool is_full = false;   // each of the tile's queries sees all keys
  bool is_whole = false;  // and has them in adjacent slots
};

template <class T>
class GemmTiles {
 public:
  GemmTiles(const UnfusedProblem& problem, const Plan& plan, const TensorView& weights, int64_t channels, Isa isa)
      : problem_(problem),
        plan_(plan),
        weights_(weights),
        kernels_(kernels_of<T>(isa)),
        channels_(channels),
        stride_(round_up(channels, kernels_.lanes)),
        step_(round_up(kGemmStep, kernels_.lanes)),
        row_stride_(round_up(problem.columns(), kernels_.lanes)),
        is_direct_(weights.dtype == kRowDType<T>),
        slot_runs_(plan, problem.slots) {
    const auto lanes = static_cast<size_t>(kernels_.tile_queries);
    const auto stride = static_cast<size_t>(stride_), step = static_cast<size_t>(step_);
    near_rows_.resize(lanes * stride);
    near_.resize(lanes * stride);
    scores_.resize(lanes * step);
    rows_.resize(lanes * step);
    zeros_.resize(stride);
    if (!is_direct_) buffer_.resize(lanes * static_cast<size_t>(row_stride_));
    keys_.resize(step);
    offsets_.resize(std::max(step, lanes));
    near_offsets_.resize(lanes);
    hidden_.resize(step);
    whole_.resize(lanes);
    weight_rows_.resize(lanes);
  }

 protected:
  // Finds the tile's blocks and runs. False if they are those of the tile before: most tiles are alike.
  bool prepare(int64_t index) {
    tile_ = plan_.tile(index);
    plan_.expand(tile_, steps_);
    row_placed_ = false;
    int64_t queries = 1;
    for (int a = 0; a < plan_.rank(); ++a) queries *= tile_.size(a);
    bool is_new = queries != queries_ || found_.size() != steps_.size();
    queries_ = queries;
    found_.resize(steps_.size());
    for (size_t s = 0; s < steps_.size(); ++s) {
      slot_runs_.find(tile_, steps_[s], finding_);
      if (finding_ == found_[s]) continue;
      std::swap(finding_, found_[s]);
      is_new = true;
    }
    for (int64_t q = 0; q < queries_; ++q) whole_[static_cast<size_t>(q)] = slot_runs_.is_whole(tile_, q) ? 1 : 0;
    if (is_new) find_blocks();
    return is_new;
  }

  void find_blocks() {
    blocks_.clear();
    runs_.clear();
    staged_block_ = nullptr;
    int64_t keys = 0;
    for (size_t s = 0; s < steps_.size(); ++s) {
      GemmBlock block{.count = 1, .first_run = runs(), .first_key = keys, .is_full = steps_[s].full};
      for (int a = 0; a < plan_.rank(); ++a) block.count *= steps_[s].pieces[a].size;
      slot_runs_.add(found_[s], runs_);
      block.end_run = runs();
      block.is_whole = block.is_full && block.end_run - block.first_run == queries_;
      blocks_.push_back(block);
      keys += block.count;
    }
    for (int64_t m = 0; m < problem_.shape.additional; m += kGemmStep) {
      const int64_t count = std::min(kGemmStep, problem_.shape.additional - m);
      GemmBlock block{.count = count,
                      .first_run = runs(),
                      .first_key = m,
                      .is_additional = true,
                      .is_full = true,
                      .is_whole = true};
      for (int64_t q = 0; q < queries_; ++q) runs_.push_back({q, 0, problem_.volume() + m, count});
      block.end_run = runs();
      blocks_.push_back(block);
    }
  }

  // Elements from (batch 0, head 0) to the keys of all blocks but the additional ones.
  void locate_keys(const TensorView& tensor, std::vector<int64_t>& offsets) const {
    const Placement placement(problem_.pattern, tensor.strides + 1);
    offsets.resize(0);
    for (const Step& step : steps_) {
      int64_t first[kMaxGridRank] = {}, size[kMaxGridRank] = {}, count = 1;
      for (int a = 0; a < plan_.rank(); ++a) {
        first[a] = step.pieces[a].first;
        count *= size[a] = step.pieces[a].size;
      }
      const size_t at = offsets.size();
      offsets.resize(at + static_cast<size_t>(count));
      box_offsets(plan_, tile_, first, size, placement, offsets.data() + at);
    }
  }
  void locate_queries(const TensorView& tensor, std::vector<int64_t>& offsets) const {
    int64_t first[kMaxGridRank] = {}, size[kMaxGridRank] = {};
    for (int a = 0; a < plan_.rank(); ++a) {
      first[a] = tile_.begin(a);
      size[a] = tile_.size(a);
    }
    box_offsets(plan_, tile_, first, size, Placement(problem_.pattern, tensor.strides + 1), offsets.data());
  }
  std::byte* base_of(const TensorView& tensor, int64_t batch, int64_t head) const {
    return tensor.at(batch * tensor.strides[0] + head * tensor.strides[problem_.shape.rank + 1]);
  }

  // The tile's rows of a tensor of queries, times `factor`: as rows and transposed. `offsets`: locate_queries.
  void load_near(const TensorView& near, const std::vector<int64_t>& offsets, int64_t batch, int64_t head, T factor,
                 bool transposed) {
    kernels_.load_rows(base_of(near, batch, head), near.dtype, offsets.data(), queries_, channels_, factor,
                       near_rows_.data(), stride_);
    std::fill(near_rows_.begin() + queries_ * stride_, near_rows_.end(), T{0});
    if (transposed) kernels_.transpose_tile(near_rows_.data(), stride_, stride_, near_.data());
  }

  // keys_ at the rows of a block: in the caller's memory, or converted, or, if they have to be whole vectors, padded.
  // `offsets`: locate_keys of far.
  void point_at_keys(const GemmBlock& block, const TensorView& far, const TensorView& additional,
                     const std::vector<int64_t>& offsets, int64_t batch, int64_t kv_head, bool whole_vectors = false) {
    const TensorView& tensor = block.is_additional ? additional : far;
    const std::byte* data = nullptr;
    const int64_t* at = offsets.data() + block.first_key;
    if (block.is_additional) {
      data = additional.at(batch * additional.strides[0] + kv_head * additional.strides[2]);
      for (int64_t i = 0; i < block.count; ++i)
        offsets_[static_cast<size_t>(i)] = (block.first_key + i) * additional.strides[1];
      at = offsets_.data();
    } else {
      data = base_of(far, batch, kv_head);
    }
    if (in_place(tensor) && !(whole_vectors && channels_ != stride_)) {
      for (int64_t i = 0; i < block.count; ++i)
        keys_[static_cast<size_t>(i)] = reinterpret_cast<const T*>(data + at[i] * size_of(tensor.dtype));
    } else {
      packed_.resize(static_cast<size_t>(step_ * stride_));
      kernels_.load_rows(data, tensor.dtype, at, block.count, channels_, T{1}, packed_.data(), stride_);
      for (int64_t i = 0; i < block.count; ++i) keys_[static_cast<size_t>(i)] = packed_.data() + i * stride_;
    }
  }

  // Which keys of a block are masked; false if none. mask_offsets_ must be located.
  bool find_hidden(const GemmBlock& block, int64_t batch) {
    if (!problem_.key_mask || block.is_additional) return false;
    bool any = false;
    for (int64_t i = 0; i < block.count; ++i) {
      const int64_t at = batch * problem_.key_mask.strides[0] + mask_offsets_[static_cast<size_t>(block.first_key + i)];
      hidden_[static_cast<size_t>(i)] = *problem_.key_mask.at(at) == std::byte{0} ? 1 : 0;
      any = any || hidden_[static_cast<size_t>(i)] != 0;
    }
    return any;
  }

  // ---- rows of weights -------------------------------------------------------------------------------------------

  // The tile's rows of one head: in the caller's memory, or in a buffer.
  void place_rows(int64_t batch, int64_t head) {
    if (!row_placed_) {
      locate_queries(weights_, near_offsets_);
      row_placed_ = true;
    }
    row_data_ = base_of(weights_, batch, head);
  }
  std::byte* row(int64_t query) {
    constexpr int64_t size = sizeof(T);
    if (is_direct_) return row_data_ + near_offsets_[static_cast<size_t>(query)] * size;
    return reinterpret_cast<std::byte*>(buffer_.data() + query * row_stride_);
  }
  void read_rows() {
    if (!is_direct_)
      kernels_.load_rows(row_data_, weights_.dtype, near_offsets_.data(), queries_, problem_.columns(), T{1},
                         buffer_.data(), row_stride_);
  }
  void write_rows() {
    if (!is_direct_)
      kernels_.store_rows(buffer_.data(), row_stride_, queries_, problem_.columns(), row_data_, weights_.dtype,
                          near_offsets_.data());
  }

  // weight_rows_: of each query its weights of a block's keys, 0 where it does not see the key; in the caller's memory
  // if they lie there like that. Those of queries that are not there are not set.
  void find_weights(const GemmBlock& block, bool any_hidden) {
    constexpr int64_t size = sizeof(T);
    if (block.is_whole && !any_hidden && (!is_direct_ || in_place(weights_))) {
      for (int64_t r = block.first_run; r < block.end_run; ++r) {
        const SlotRun& run = runs_[static_cast<size_t>(r)];
        weight_rows_[static_cast<size_t>(run.query)] = reinterpret_cast<const T*>(row(run.query) + run.slot * size);
      }
      return;
    }
    // The same places are written for all heads: what lies between them stays 0 until another block's are.
    if (staged_block_ != &block && !block.is_full)
      for (int64_t q = 0; q < queries_; ++q) std::fill_n(rows_.data() + q * step_, block.count, T{0});
    staged_block_ = &block;
    for (int64_t r = block.first_run; r < block.end_run; ++r) {
      const SlotRun& run = runs_[static_cast<size_t>(r)];
      copy_run<T>(row(run.query) + run.slot * size, rows_.data() + run.query * step_ + run.key, run.count);
    }
    for (int64_t i = 0; any_hidden && i < block.count; ++i)
      for (int64_t q = 0; hidden_[static_cast<size_t>(i)] != 0 && q < queries_; ++q) rows_[at(q, i)] = T{0};
    for (int64_t q = 0; q < queries_; ++q) weight_rows_[static_cast<size_t>(q)] = rows_.data() + q * step_;
  }
  size_t at(int64_t query, int64_t key) const { return static_cast<size_t>(query * step_ + key); }

  int64_t runs() const { return static_cast<int64_t>(runs_.size()); }

  const UnfusedProblem& problem_;
  const Plan& plan_;
  const TensorView& weights_;
  const KernelTable<T>& kernels_;
  const int64_t channels_, stride_, step_, row_stride_;
  const bool is_direct_;
  SlotRuns slot_runs_;
  Tile tile_;
  StepList steps_;
  int64_t queries_ = 0;
  std::vector<StepSlots> found_;  // of each step
  StepSlots finding_;
  std::vector<GemmBlock> blocks_;
  std::vector<SlotRun> runs_;
  std::vector<uint8_t> whole_, hidden_;  // of queries; of a block's keys
  std::vector<T> near_rows_, near_, scores_, rows_, packed_, zeros_, buffer_;
  std::vector<const T*> keys_, weight_rows_;
  const GemmBlock* staged_block_ = nullptr;  // whose weights are in rows_
  std::vector<int64_t> far_offsets_, mask_offsets_, offsets_, near_offsets_, tile_offsets_;
  std::byte* row_data_ = nullptr;
  bool row_placed_ = false;
};

// Runs run(make(), unit, first, end) for units [0, count) of work and heads [first, end) of keys, which are numbered
// image by image: all together, as far as that leaves work for all threads. A worker is made once for each thread.
template <class Make, class Run>
void run_units(const UnfusedProblem& problem, int64_t count, Make make, Run run) {
  const int64_t heads = problem.shape.batch * problem.shape.heads_kv;
  if (count == 0 || heads == 0) return;
  const int64_t threads = problem.threading.num_threads;
  const int64_t cuts = threads == 1 ? 1 : std::clamp<int64_t>(ceil_div(kTasksPerThread * threads, count), 1, heads);
  TaskQueue queue(count * cuts);
  parallel_for(problem.threading, std::min<int64_t>(count * cuts, threads), [&](int64_t) {
    auto worker = make();
    for (int64_t task = 0; queue.next(task);)
      run(worker, task / cuts, heads * (task % cuts) / cuts, heads * (task % cuts + 1) / cuts);
  });
}

// Tiles of a unit of work: few enough to share among threads, many enough to be worth a task.
inline int64_t tiles_of_unit(const UnfusedProblem& problem, const Plan& plan) {
  const int64_t threads = problem.threading.num_threads;
  return std::max<int64_t>(1, ceil_div(plan.tile_count(), threads == 1 ? 1 : kTasksPerThread * threads));
}

}  // namespace nearfield::core
