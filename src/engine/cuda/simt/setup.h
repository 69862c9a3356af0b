// What a block writes into its shared memory before it computes: its near rows once, far rows for each step. Include a
// device layer first.
#pragma once

#include "engine/cuda/simt/rows.h"

namespace nearfield::simt {

template <class A>
inline constexpr A kLog2e = static_cast<A>(1.4426950408889634074);
template <class A>
inline constexpr A kLn2 = static_cast<A>(0.69314718055994530942);

// A block's place in the problem. head: of the near rows; dweights has none, its rows serve all heads in turn.
struct BlockPlace {
  Int batch, head, tile;
  int channel_chunk;  // of the output
  Int chunk;          // of the far rows, where near ones are additional keys
};

template <Use kUse>
inline constexpr bool kNearAreQueries = kUse == Use::forward || kUse == Use::delta || kUse == Use::dquery;

template <Use kUse, int kNear>
__device__ inline BlockPlace place_of(const Arguments& arguments, Int block) {
  BlockPlace at;
  at.channel_chunk = static_cast<int>(block % arguments.channel_chunks);
  block /= arguments.channel_chunks;
  at.chunk = 0;
  Int tiles = arguments.plan.tiles;
  if (arguments.near_additional != 0) {
    at.chunk = block % arguments.chunks;
    block /= arguments.chunks;
    tiles = (arguments.near_additional + kNear - 1) / kNear;
  }
  const Int heads = kNearAreQueries<kUse> ? arguments.heads : kUse == Use::dweights ? 1 : arguments.heads_kv;
  at.tile = block % tiles;
  block /= tiles;
  at.head = block % heads;
  at.batch = block / heads;
  return at;
}

// A bias entry is what a key's cell is beyond a query's: by true grid offsets along an order, else in-class ones.
__device__ inline int cell_of(const Arguments& arguments, const int (&x)[3], const int (&at)[3]) {
  const bool by_grid = arguments.plan.tokens != nullptr;
  int cell = 0;
#pragma unroll
  for (int a = 0; a < 3; ++a) cell += (by_grid ? at[a] : x[a]) * arguments.bias_strides[a];
  return cell;
}

template <class A>
__device__ inline A log_weight_of(const Arguments& arguments, Int batch, const int (&grid)[3], const int (&at)[3]) {
  if (arguments.log_weights == nullptr) return A{0};
  const Int key = batch * arguments.log_weights_batch + row_major(grid, at);
  return device::load(static_cast<const A*>(arguments.log_weights) + key);
}

template <class A>
__device__ inline A delta_of(const Arguments& arguments, Int batch, Int head, const int (&grid)[3],
                             const int (&at)[3]) {
  const Int tokens = static_cast<Int>(grid[0]) * grid[1] * grid[2];
  const Int query = (batch * arguments.heads + head) * tokens + row_major(grid, at);
  return device::load(static_cast<const A*>(arguments.delta) + query);
}

// A query's logsumexp in units of log2.
template <class A>
__device__ inline A shift_of_query(const Arguments& arguments, Int batch, Int head, const int (&at)[3]) {
  const Tensor& lse = arguments.logsumexp;
  return load_number<A>(lse, element_at(lse, batch, head, at)) * kLog2e<A>;
}

template <class S, Use kUse>
__device__ inline void write_near_row(const Arguments& arguments, const BlockPlace& block, const Hull& hull, int r,
                                      Memory<S>& memory) {
  using A = typename S::A;
  const Plan& plan = arguments.plan;
  int x[3] = {0, 0, 0}, at[3] = {0, 0, 0}, begin[3] = {0, 0, 0}, end[3] = {1, 1, 1};
  bool exists = true, hidden = false;
  A shift{0}, delta{0};
  if (arguments.near_additional != 0) {
    const Int number = block.tile * S::kNear + r;
    exists = number < arguments.near_additional;
    at[0] = static_cast<int>(number);
  } else {
    exists = r < hull.size[0] * hull.size[1] * hull.size[2];
    const int inner = hull.size[1] * hull.size[2];
    const int in_tile[3] = {r / inner, r / hull.size[2] % hull.size[1], r % hull.size[2]};
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      if (a >= plan.rank || !exists) continue;
      x[a] = hull.begin[a] + in_tile[a];
      const Interval* const seen = plan.axes[a].intervals + x[a] * plan.axes[a].dilation + hull.residue[a];
      begin[a] = device::load(&seen->start);
      end[a] = begin[a] + device::load(&seen->length);
    }
    if (exists) place(plan, hull.residue, x, false, at);
    if constexpr (!kNearAreQueries<kUse>) {
      if (exists) shift = log_weight_of<A>(arguments, block.batch, plan.near_grid, at);
    } else if constexpr (kUse != Use::forward) {
      if (exists) shift = shift_of_query<A>(arguments, block.batch, block.head, at);
      if (exists && kUse == Use::dquery) delta = delta_of<A>(arguments, block.batch, block.head, plan.near_grid, at);
    }
    hidden = shift == -device::infinity(A{});
  }
  if (hidden) {
    begin[0] = 1;
    end[0] = 0;
  }
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    memory.near_at.set(3 * r + a, exists ? at[a] : kNowhere);
    memory.near_begin.set(3 * r + a, begin[a]);
    memory.near_end.set(3 * r + a, end[a]);
  }
  memory.near_x.set(r, x[1]);
  memory.near_cell.set(r, cell_of(arguments, x, at));
  memory.near_shift.set(r, shift);
  memory.near_delta.set(r, delta);
}

// On the sphere: what each near row sees of the line.
template <class S>
__device__ inline void write_arcs(const Arguments& arguments, int half_width, Memory<S>& memory) {
  const int r = device::thread_index();
  if (r >= S::kNear) return;
  const Interval seen = arc_of(arguments.plan.arcs, half_width, memory.near_x.get(r));
  memory.near_begin.set(3 * r + 1, seen.start);
  memory.near_end.set(3 * r + 1, seen.start + seen.length);
}

// Far row `lane` of the walk's next step. head: of queries. common: whether all near rows see it.
template <class S, Use kUse>
__device__ inline void write_far_row(const Arguments& arguments, Int batch, Int head, const Hull& hull,
                                     const Walk& walk, int lane, bool all_near, Memory<S>& memory) {
  using A = typename S::A;
  constexpr bool kFarAreKeys = kNearAreQueries<kUse>;
  const Plan& plan = arguments.plan;
  const Int j = walk.at + lane;
  bool exists = j < walk.end, common = true;
  int x[3] = {0, 0, 0}, at[3] = {0, 0, 0};
  A shift{0}, delta{0};
  if (exists && walk.segment == Walk::kPlan) {
    Int rest = j;
#pragma unroll
    for (int a = 2; a >= 0; --a) {
      if (a >= plan.rank) continue;
      if (plan.arcs.firsts != nullptr) {
        x[a] = a == 0 ? walk.line : static_cast<int>(j);
      } else {
        const int length = hull.end[a] - hull.first[a];
        x[a] = hull.first[a] + static_cast<int>(rest % length);
        rest /= length;
      }
      common = common && hull.common_first[a] <= x[a] && x[a] < hull.common_end[a];
    }
    place(plan, hull.residue, x, true, at);
    if (kFarAreKeys) shift = log_weight_of<A>(arguments, batch, plan.far_grid, at);
  } else if (exists && walk.segment == Walk::kAdditional) {
    at[0] = static_cast<int>(j);
  } else if (exists) {
    from_row_major(plan.far_grid, j, at);
  }
  if (exists && !kFarAreKeys) {
    shift = shift_of_query<A>(arguments, batch, head, at);
    if (kUse != Use::dvalue) delta = delta_of<A>(arguments, batch, head, plan.far_grid, at);
  }
  exists = exists && shift != -device::infinity(A{});
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    memory.far_at.set(3 * lane + a, exists ? at[a] : kNowhere);
    memory.far_x.set(3 * lane + a, exists ? x[a] : kNowhere);
  }
  memory.far_cell.set(lane, cell_of(arguments, x, at));
  memory.far_shift.set(lane, shift);
  memory.far_delta.set(lane, delta);
  const bool all = device::all_of_warp(exists && common && all_near);
  if (lane == 0) memory.flags.set(0, all ? 1 : 0);
}

}  // namespace nearfield::simt
