// The small kernels (arguments.h says what they compute): a thread an element, or eight lanes a pair. Include a device
// layer first.
#pragma once

#include "engine/cuda/simt/setup.h"

namespace nearfield::simt {

__device__ inline Int thread_of_grid() { return device::block_index() * kThreads + device::thread_index(); }
__device__ inline Int threads_of_grid() { return device::block_count() * kThreads; }

// A key's log2(weight).
template <class A>
__device__ inline void prepare_key(const PrepareArguments& arguments, Int index) {
  const Int tokens = static_cast<Int>(arguments.grid[0]) * arguments.grid[1] * arguments.grid[2];
  const Int batch = index / tokens;
  int at[3];
  from_row_major(arguments.grid, index % tokens, at);
  const bool masked = arguments.mask.data != nullptr &&
                      load_number<float>(arguments.mask, element_at(arguments.mask, batch, 0, at)) == 0.0f;
  double density = 0, weight = 0;
  if (arguments.densities != nullptr) density = device::load(arguments.densities + at[0]) * kLog2e<double>;
  if (arguments.weights.data != nullptr)
    weight = device::log2_of(load_number<double>(arguments.weights, element_at(arguments.weights, batch, 0, at)));
  const A hidden = -device::infinity(A{});
  device::store(static_cast<A*>(arguments.log_weights) + index, masked ? hidden : static_cast<A>(density + weight));
  if (arguments.log_densities != nullptr)
    device::store(static_cast<A*>(arguments.log_densities) + index, masked ? hidden : static_cast<A>(density));
}

template <class A>
__device__ inline void prepare_weights(const PrepareArguments& arguments) {
  const Int count = arguments.batch * arguments.grid[0] * arguments.grid[1] * arguments.grid[2];
  for (Int i = thread_of_grid(); i < count; i += threads_of_grid()) prepare_key<A>(arguments, i);
}

template <class A>
__device__ inline void prepare_bias(const PrepareArguments& arguments) {
  const Int count = arguments.heads * arguments.bias_head;
  for (Int i = thread_of_grid(); i < count; i += threads_of_grid()) {
    int at[3];
    from_row_major(arguments.bias_sizes, i % arguments.bias_head, at);
    const A entry = load_number<A>(arguments.bias, element_at(arguments.bias, 0, i / arguments.bias_head, at));
    device::store(static_cast<A*>(arguments.bias_out) + i, entry * kLog2e<A>);
  }
}

template <class A>
__device__ inline void finish_sums(const FinishArguments& arguments) {
  const Int tokens = static_cast<Int>(arguments.grid[0]) * arguments.grid[1] * arguments.grid[2];
  const Int count = arguments.batch * tokens * arguments.heads * arguments.channels;
  for (Int i = thread_of_grid(); i < count; i += threads_of_grid()) {
    double sum = 0;
    for (Int part = 0; part < arguments.parts; ++part)
      sum += static_cast<double>(
          device::load(static_cast<const A*>(arguments.partial) + part * arguments.part_stride + i));
    const Int row = i / arguments.channels;
    int at[3];
    from_row_major(arguments.grid, row / arguments.heads % tokens, at);
    const Int element = element_at(arguments.result, row / arguments.heads / tokens, row % arguments.heads, at);
    store_number(arguments.result, element + i % arguments.channels, sum);
  }
}

// ---- the gradient of bias ------------------------------------------------------------------------------------------

inline constexpr int kPairLanes = 8;  // of a pair's dot products
inline constexpr int kPairs = kThreads / kPairLanes;

// A query of one (batch, head), and its key at a given offset.
struct Pair {
  bool exists;
  int query[3], key[3];  // on the grid
};

// The key at `offset` from query number `index`, if the query sees it.
__device__ inline Pair pair_at(const Plan& plan, Int index, const int (&offset)[3]) {
  Pair pair = {true, {0, 0, 0}, {0, 0, 0}};
  if (plan.tokens != nullptr) {
    from_row_major(plan.near_grid, index, pair.query);
    for (int a = 0; a < 3; ++a) {
      pair.key[a] = pair.query[a] + offset[a];
      pair.exists = pair.exists && 0 <= pair.key[a] && pair.key[a] < plan.far_grid[a];
    }
    if (!pair.exists) return pair;
    const Axis& axis = plan.axes[0];
    const int query = device::load(plan.positions + index);
    const int key = device::load(plan.positions + row_major(plan.far_grid, pair.key));
    const int start = device::load(&axis.intervals[query].start);
    const int y = key / axis.dilation;
    pair.exists = query % axis.dilation == key % axis.dilation && start <= y &&
                  y < start + device::load(&axis.intervals[query].length);
    return pair;
  }
  from_row_major(plan.near_grid, index, pair.query);
  for (int a = 0; a < plan.rank; ++a) {
    const Axis& axis = plan.axes[a];
    const int residue = pair.query[a] % axis.dilation;
    const int n = class_length(axis.far, residue, axis.dilation);
    int y = pair.query[a] / axis.dilation + offset[a];
    const int start = device::load(&axis.intervals[pair.query[a]].start);
    pair.exists = pair.exists && start <= y && y < start + device::load(&axis.intervals[pair.query[a]].length);
    if (axis.wraps) y -= floor_divide(y, n) * n;
    pair.key[a] = y * axis.dilation + residue;
  }
  return pair;
}

// The dot product of two rows, by eight lanes.
template <class A>
__device__ inline A dot_of_rows(const Tensor& a, Int element_a, const Tensor& b, Int element_b, int channels,
                                bool exists) {
  A sum{0};
  for (int c = device::thread_index() % kPairLanes; exists && c < channels; c += kPairLanes)
    sum = device::multiply_add(load_number<A>(a, element_a + c), load_number<A>(b, element_b + c), sum);
  for (int mask = kPairLanes / 2; mask > 0; mask /= 2) sum += device::shuffle_xor(sum, mask);
  return sum;
}

// dS of a pair: P (dP - D). The same for its eight lanes.
template <class A>
__device__ inline A dscore_of(const Arguments& arguments, Int batch, Int head, int entry, Pair pair) {
  const Int kv_head = head / (arguments.heads / arguments.heads_kv);
  A shift{0};
  if (pair.exists) {
    const A weight = log_weight_of<A>(arguments, batch, arguments.plan.far_grid, pair.key);
    const A lse = shift_of_query<A>(arguments, batch, head, pair.query);
    pair.exists = weight != -device::infinity(A{}) && lse != -device::infinity(A{});
    shift = weight - lse + device::load(static_cast<const A*>(arguments.bias) + head * arguments.bias_head + entry);
  }
  const auto dot = [&](const Tensor& near, const Tensor& far, int channels) {
    return dot_of_rows<A>(near, element_at(near, batch, head, pair.query), far,
                          element_at(far, batch, kv_head, pair.key), channels, pair.exists);
  };
  A logit = dot(arguments.near_a, arguments.far_a, arguments.channels_a) * static_cast<A>(arguments.scale);
  const A gradient = dot(arguments.near_b, arguments.far_b, arguments.channels_b);
  if (!pair.exists) return A{0};
  const A cap = static_cast<A>(arguments.softcap);
  if (cap != A{0}) logit = cap * device::tanh_of(logit / cap);
  const A delta = delta_of<A>(arguments, batch, head, arguments.plan.near_grid, pair.query);
  return device::exp2_of(logit * kLog2e<A> + shift) * (gradient - delta);
}

// A block has one entry of one head's table at a time, and goes through all queries of all images.
template <class A>
__device__ inline void sum_bias_gradient(const BiasGradientArguments& arguments) {
  struct Sums {
    device::SharedArray<double, kPairs> values;
  };
  Sums& sums = device::shared<Sums>();
  const Arguments& attention = arguments.attention;
  const int(&sizes)[3] = arguments.bias_sizes;
  const int(&grid)[3] = attention.plan.near_grid;
  const Int tokens = static_cast<Int>(grid[0]) * grid[1] * grid[2], queries = attention.batch * tokens;
  const int group = device::thread_index() / kPairLanes;
  for (Int block = device::block_index(); block < attention.heads * attention.bias_head;
       block += device::block_count()) {
    const Int head = block / attention.bias_head;
    int entry[3];
    from_row_major(sizes, block % attention.bias_head, entry);
    const int offset[3] = {entry[0] - sizes[0] / 2, entry[1] - sizes[1] / 2, entry[2] - sizes[2] / 2};
    double sum = 0;
    for (Int first = 0; first < queries; first += kPairs) {
      const Int index = first + group;
      Pair pair = {false, {0, 0, 0}, {0, 0, 0}};
      if (index < queries) pair = pair_at(attention.plan, index % tokens, offset);
      // Of most entries most queries have no pair.
      if (device::all_of_warp(!pair.exists)) continue;
      sum += static_cast<double>(dscore_of<A>(attention, index < queries ? index / tokens : 0, head,
                                              static_cast<int>(block % attention.bias_head), pair));
    }
    if (block != device::block_index()) device::synchronize();  // the sums before these have been read
    if (device::thread_index() % kPairLanes == 0) sums.values.set(group, sum);
    device::synchronize();
    if (device::thread_index() == 0) {
      double total = 0;
      for (int i = 0; i < kPairs; ++i) total += sums.values.get(i);
      store_number(arguments.result, element_at(arguments.result, 0, head, entry), total);
    }
  }
}

}  // namespace nearfield::simt
