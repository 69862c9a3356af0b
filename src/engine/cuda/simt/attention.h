// The attention kernel (arguments.h says what it computes). Include a device layer first.
//
// A block of 128 threads has a tile of near rows, a head and 64 or 128 channels of the output, and walks over its steps
// of 32 far rows. A thread has a few rows of scores by two columns, and of sums by a few channels; the 16 threads of a
// row are half a warp. Nothing is added by two blocks, so the sums' order is fixed.
#pragma once

#include "engine/cuda/simt/products.h"
#include "engine/cuda/simt/setup.h"

namespace nearfield::simt {

template <class S, Use kUse>
class AttentionBlock {
 public:
  using A = typename S::A;
  static constexpr int kRows = S::kRowsPerThread, kFarColumns = kFar / kColumns;
  static constexpr bool kNeedsGradient = kUse != Use::forward && kUse != Use::dvalue;
  static constexpr bool kSumsRows = kUse == Use::delta || kUse == Use::dweights;

  __device__ AttentionBlock(const Arguments& arguments, Memory<S>& memory, Int block, bool is_first)
      : arguments_(arguments),
        memory_(memory),
        block_(place_of<kUse, S::kNear>(arguments, block)),
        is_first_(is_first) {}

  __device__ void run() {
    enter_tile();
    const Int group = arguments_.heads / arguments_.heads_kv;
    const Int first = kNearAreQueries<kUse> ? block_.head / group : kUse == Use::dweights ? 0 : block_.head * group;
    const Int count = kNearAreQueries<kUse> ? 1 : kUse == Use::dweights ? arguments_.heads : group;
    for (Int head = first; head < first + count; ++head) {
      far_head_ = head;
      near_head_ = kUse == Use::dweights ? head / group : block_.head;
      start_walk();
      while (advance()) {
        write_step();
        step();
      }
    }
    finish();
  }

 private:
  enum class Loaded { none, a, b };  // which near rows memory_.near has, all channels of them

  __device__ int row(int i) const { return device::thread_index() / kColumns + kRowGroups * i; }
  __device__ int column() const { return device::thread_index() % kColumns; }

  __device__ void enter_tile() {
    const int r = device::thread_index();
    if (arguments_.near_additional == 0) hull_ = hull_of(arguments_.plan, block_.tile);
    if (!is_first_) device::synchronize();  // the tile before this one is done with the memory
    bool seen = true;
    if (r < S::kNear) {
      write_near_row<S, kUse>(arguments_, block_, hull_, r, memory_);
      seen = memory_.near_begin.get(3 * r) <= memory_.near_end.get(3 * r);
    }
    all_near_ = device::synchronize_and(seen);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      maximum_[i] = -device::infinity(A{});
      total_[i] = A{0};
#pragma unroll
      for (int c = 0; c < S::kChannelsPerThread; ++c) sums_[i][c] = A{0};
    }
  }

  // ---- the steps --------------------------------------------------------------------------------------------------

  __device__ void start_walk() {
    if (arguments_.near_additional != 0) {
      const Int first = block_.chunk * arguments_.chunk, tokens = far_tokens();
      walk_ = {Walk::kAll, first, first + arguments_.chunk < tokens ? first + arguments_.chunk : tokens, 0, 0};
    } else if (arguments_.plan.arcs.firsts != nullptr) {
      walk_ = {Walk::kPlan, 0, 0, hull_.first[0] - 1, hull_.end[0]};
    } else {
      Int count = 1;
#pragma unroll
      for (int a = 0; a < 3; ++a) count *= hull_.end[a] - hull_.first[a];  // 1 beyond the rank
      walk_ = {Walk::kPlan, 0, count, 0, 0};
    }
  }
  __device__ Int far_tokens() const {
    const int(&grid)[3] = arguments_.plan.far_grid;
    return static_cast<Int>(grid[0]) * grid[1] * grid[2];
  }

  // False after the last step.
  __device__ bool advance() {
    while (walk_.at >= walk_.end) {
      if (walk_.segment == Walk::kPlan && walk_.line + 1 < walk_.lines) {
        ++walk_.line;
        enter_line(arguments_, hull_, walk_, half_width_);
        enters_line_ = true;
      } else if (kNearAreQueries<kUse> && walk_.segment == Walk::kPlan) {
        walk_ = {Walk::kAdditional, 0, arguments_.additional, 0, 0};
      } else {
        return false;
      }
    }
    return true;
  }

  __device__ void write_step() {
    // The step before this one is done with the rows: where it loaded far rows to sum them, a barrier has said so.
    if (kSumsRows && has_stepped_) device::synchronize();
    has_stepped_ = true;
    if (enters_line_) {
      write_arcs(arguments_, half_width_, memory_);
      const Interval low = arc_of(arguments_.plan.arcs, half_width_, hull_.begin[1]);
      const Interval high = arc_of(arguments_.plan.arcs, half_width_, hull_.begin[1] + hull_.size[1] - 1);
      hull_.common_first[1] = high.start;
      hull_.common_end[1] = low.start + low.length;
      enters_line_ = false;
    }
    if (device::thread_index() < kFar)
      write_far_row<S, kUse>(arguments_, block_.batch, far_head_, hull_, walk_, device::thread_index(), all_near_,
                             memory_);
    device::synchronize();
  }

  __device__ void step() {
    const bool additional = walk_.segment == Walk::kAdditional;
    A scores[kRows][kFarColumns] = {}, slopes[kRows][kFarColumns], gradients[kRows][kFarColumns] = {};
    multiply(Loaded::a, arguments_.near_a, additional ? arguments_.additional_a : arguments_.far_a,
             arguments_.channels_a, scores);
    const bool all_seen = memory_.flags.get(0) != 0;
    turn_into_logits(scores, slopes, all_seen);
    if constexpr (kNeedsGradient)
      multiply(Loaded::b, arguments_.near_b, additional ? arguments_.additional_b : arguments_.far_b,
               arguments_.channels_b, gradients);
    if constexpr (kUse == Use::forward) {
      turn_into_softmax(scores);
    } else {
      turn_into_weights(scores, slopes, gradients, all_seen);
    }
    if constexpr (kSumsRows) {
#pragma unroll
      for (int i = 0; i < kRows; ++i)
#pragma unroll
        for (int j = 0; j < kFarColumns; ++j) total_[i] += scores[i][j];
    } else {
#pragma unroll
      for (int i = 0; i < kRows; ++i)
#pragma unroll
        for (int j = 0; j < kFarColumns; ++j)
          memory_.weights.set(row(i) * S::kWeightStride + column() + kColumns * j, scores[i][j]);
      device::synchronize();  // the products are done with the far rows
      load_rows<A, kFar, S::kFarStride, S::kOut>(additional ? arguments_.additional_c : arguments_.far_c, block_.batch,
                                                 far_head_, memory_.far_at, block_.channel_chunk * S::kOut,
                                                 arguments_.channels_out, memory_.far);
      device::synchronize();
      if (all_seen) {
        add_weighted<S, true>(memory_, sums_);
      } else {
        add_weighted<S, false>(memory_, sums_);
      }
    }
    walk_.at += kFar;
  }

  // scores += near . far over all channels.
  __device__ void multiply(Loaded which, const Tensor& near, const Tensor& far, int channels,
                           A (&scores)[kRows][kFarColumns]) {
    for (int first = 0; first < channels; first += kChunk) {
      const int left = channels - first < kChunk ? channels - first : kChunk;
      if (first > 0 || which == Loaded::b) device::synchronize();  // the product before this one is done with both
      if (which != loaded_ || near_head_ != loaded_head_ || channels > kChunk)
        load_rows<A, S::kNear, S::kNearStride, kChunk>(near, block_.batch, near_head_, memory_.near_at, first, channels,
                                                       memory_.near);
      loaded_ = which;
      loaded_head_ = near_head_;
      load_rows<A, kFar, S::kFarStride, kChunk>(far, block_.batch, far_head_, memory_.far_at, first, channels,
                                                memory_.far);
      device::synchronize();
      add_products<S>(memory_, (left + S::kPack - 1) / S::kPack * S::kPack, scores);
    }
  }

  // ---- from products to weights -----------------------------------------------------------------------------------

  // Hides what a near row doesn't see.
  __device__ void hide(A (&scores)[kRows][kFarColumns]) const {
    const bool in_plan = walk_.segment == Walk::kPlan;
#pragma unroll
    for (int j = 0; j < kFarColumns; ++j) {
      const int far = 3 * (column() + kColumns * j);
      const int x[3] = {memory_.far_x.get(far), memory_.far_x.get(far + 1), memory_.far_x.get(far + 2)};
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int near = 3 * row(i);
        bool seen = x[0] != kNowhere && memory_.near_begin.get(near) <= memory_.near_end.get(near);
#pragma unroll
        for (int a = 0; a < 3; ++a)
          if (in_plan && a < arguments_.plan.rank)
            seen = seen && memory_.near_begin.get(near + a) <= x[a] && x[a] < memory_.near_end.get(near + a);
        if (!seen) scores[i][j] = -device::infinity(A{});
      }
    }
  }

  __device__ void add_bias(A (&scores)[kRows][kFarColumns]) const {
    const A* const bias = static_cast<const A*>(arguments_.bias) +
                          (kNearAreQueries<kUse> ? block_.head : far_head_) * arguments_.bias_head;
#pragma unroll
    for (int j = 0; j < kFarColumns; ++j) {
      const int far_cell = memory_.far_cell.get(column() + kColumns * j);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int beyond = far_cell - memory_.near_cell.get(row(i));
        const int entry = (kNearAreQueries<kUse> ? beyond : -beyond) + arguments_.bias_middle;
        // Pairs that are not seen, and rows beyond the tile's last one, may have none.
        if (0 <= entry && entry < arguments_.bias_head) scores[i][j] += device::load(bias + entry);
      }
    }
  }

  // Products to logits in units of log2, less the query's logsumexp but in the forward; -infinity where nothing is
  // seen. slopes: d softcap(x) / dx.
  __device__ void turn_into_logits(A (&scores)[kRows][kFarColumns], A (&slopes)[kRows][kFarColumns], bool all_seen) {
    const A scale = static_cast<A>(arguments_.scale), cap = static_cast<A>(arguments_.softcap);
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kFarColumns; ++j) {
        scores[i][j] *= scale;
        slopes[i][j] = A{1};
      }
    if (cap != A{0}) {
#pragma unroll
      for (int i = 0; i < kRows; ++i)
#pragma unroll
        for (int j = 0; j < kFarColumns; ++j) {
          const A t = device::tanh_of(scores[i][j] / cap);
          slopes[i][j] = A{1} - t * t;
          scores[i][j] = cap * t;
        }
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kFarColumns; ++j) {
        const A beyond = memory_.far_shift.get(column() + kColumns * j) - memory_.near_shift.get(row(i));
        scores[i][j] = scores[i][j] * kLog2e<A> + (kNearAreQueries<kUse> ? beyond : -beyond);
      }
    if (arguments_.bias != nullptr && walk_.segment == Walk::kPlan) add_bias(scores);
    if (!all_seen) hide(scores);
  }

  // Online: sums so far are rescaled to the new maximum.
  __device__ void turn_into_softmax(A (&scores)[kRows][kFarColumns]) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      A maximum = scores[i][0];
#pragma unroll
      for (int j = 1; j < kFarColumns; ++j) maximum = device::max_of(maximum, scores[i][j]);
      maximum = device::max_of(maximum_[i], maximum_of_row(maximum));
      const A base = maximum == -device::infinity(A{}) ? A{0} : maximum;
      const A factor = device::exp2_of(maximum_[i] - base);
      maximum_[i] = maximum;
      A sum{0};
#pragma unroll
      for (int j = 0; j < kFarColumns; ++j) sum += scores[i][j] = device::exp2_of(scores[i][j] - base);
      total_[i] = total_[i] * factor + sum_of_row(sum);
#pragma unroll
      for (int c = 0; c < S::kChannelsPerThread; ++c) sums_[i][c] *= factor;
    }
  }

  __device__ void turn_into_weights(A (&scores)[kRows][kFarColumns], const A (&slopes)[kRows][kFarColumns],
                                    const A (&gradients)[kRows][kFarColumns], bool all_seen) {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kFarColumns; ++j) {
        if (!all_seen && scores[i][j] == -device::infinity(A{})) {
          scores[i][j] = A{0};
          continue;
        }
        const A probability = device::exp2_of(scores[i][j]);
        if constexpr (kUse == Use::dvalue) {
          scores[i][j] = probability;
        } else if constexpr (kUse == Use::delta) {
          scores[i][j] = probability * gradients[i][j];
        } else {
          const A delta =
              kNearAreQueries<kUse> ? memory_.near_delta.get(row(i)) : memory_.far_delta.get(column() + kColumns * j);
          const A dscore = probability * (gradients[i][j] - delta);
          scores[i][j] = kUse == Use::dweights ? dscore : dscore * slopes[i][j];
        }
      }
  }

  // ---- results -----------------------------------------------------------------------------------------------------

  __device__ void finish() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int r = row(i);
      if constexpr (kSumsRows) total_[i] = sum_of_row(total_[i]);
      int at[3] = {memory_.near_at.get(3 * r), memory_.near_at.get(3 * r + 1), memory_.near_at.get(3 * r + 2)};
      if (at[0] == kNowhere) continue;
      if constexpr (kUse == Use::delta) {
        finish_delta(i, at);
      } else if constexpr (kUse == Use::dweights) {
        if (column() == 0)
          store_number(arguments_.output, element_at(arguments_.output, block_.batch, 0, at), total_[i]);
      } else {
        finish_sums(i, at);
      }
    }
  }

  __device__ void finish_delta(int i, const int (&at)[3]) {
    if (column() != 0) return;
    A delta = total_[i];
    const Tensor& dlse = arguments_.dlogsumexp;
    if (dlse.data != nullptr) delta -= load_number<A>(dlse, element_at(dlse, block_.batch, block_.head, at));
    const int(&grid)[3] = arguments_.plan.near_grid;
    const Int tokens = static_cast<Int>(grid[0]) * grid[1] * grid[2];
    const Int query = (block_.batch * arguments_.heads + block_.head) * tokens + row_major(grid, at);
    device::store(static_cast<A*>(arguments_.delta) + query, delta);
  }

  __device__ void finish_sums(int i, const int (&at)[3]) {
    A factor = kUse == Use::dvalue ? A{1} : static_cast<A>(arguments_.scale);
    if constexpr (kUse == Use::forward) {
      const bool empty = total_[i] == A{0};
      factor = empty ? A{0} : A{1} / total_[i];
      const Tensor& lse = arguments_.logsumexp;
      if (lse.data != nullptr && column() == 0 && block_.channel_chunk == 0)
        store_number(lse, element_at(lse, block_.batch, block_.head, at),
                     empty ? -device::infinity(A{}) : maximum_[i] * kLn2<A> + device::log_of(total_[i]));
    }
    const Tensor& out = arguments_.output;
    const Int element = element_at(out, block_.batch, block_.head, at) + block_.chunk * arguments_.chunk_stride;
#pragma unroll
    for (int c = 0; c < S::kChannelsPerThread; ++c) {
      const int pack = column() + kColumns * (c / S::kPack);
      const int channel = block_.channel_chunk * S::kOut + pack * S::kPack + c % S::kPack;
      if (channel < arguments_.channels_out) store_number(out, element + channel, sums_[i][c] * factor);
    }
  }

  const Arguments& arguments_;
  Memory<S>& memory_;
  const BlockPlace block_;
  const bool is_first_;  // tile of this thread block
  Hull hull_ = {};
  Walk walk_ = {};
  Int near_head_ = 0, far_head_ = 0;
  Loaded loaded_ = Loaded::none;
  Int loaded_head_ = -1;
  int half_width_ = 0;
  bool enters_line_ = false, all_near_ = false, has_stepped_ = false;
  A maximum_[kRows], total_[kRows], sums_[kRows][S::kChannelsPerThread];
};

template <class S, Use kUse>
__device__ inline void attend(const Arguments& arguments) {
  Memory<S>& memory = device::shared<Memory<S>>();
  for (Int block = device::block_index(); block < arguments.blocks; block += device::block_count())
    AttentionBlock<S, kUse>(arguments, memory, block, block == device::block_index()).run();
}

}  // namespace nearfield::simt
