// The rows of a block: which near tokens a tile has, which far ones a step has, what each near row sees of them. All
// that is known of a pattern is in the plan's tables. Include a device layer first.
#pragma once

#include "engine/cuda/simt/elements.h"

namespace nearfield::simt {

// Threads stand in 8 groups of rows by 16 columns.
inline constexpr int kThreads = 128;
inline constexpr int kColumns = 16;
inline constexpr int kRowGroups = kThreads / kColumns;
inline constexpr int kFar = 32;    // far rows of a step: one for each lane of the first warp
inline constexpr int kChunk = 64;  // channels of a product at a time

template <class A_, int kRowsPerThread_, int kChannelsPerThread_>
struct Shape {
  using A = A_;
  static constexpr int kRowsPerThread = kRowsPerThread_;
  static constexpr int kChannelsPerThread = kChannelsPerThread_;
  static constexpr int kPack = device::Pack<A>::kSize;
  static constexpr int kNear = kRowGroups * kRowsPerThread;
  static constexpr int kOut = kColumns * kChannelsPerThread;  // channels that a block sums
  // A pack more than the channels, so that equal channels of adjacent rows lie in different banks.
  static constexpr int kNearStride = kChunk + kPack;
  static constexpr int kFarStride = (kOut > kChunk ? kOut : kChunk) + kPack;
  // Two rows of 16 weights are written at once: the second one's start half way round the banks.
  static constexpr int kWeightStride = kFar + (kPack == 4 ? kColumns : kPack);
};

// A block's shared memory.
template <class S>
struct Memory {
  using A = typename S::A;
  device::SharedArray<A, S::kNear * S::kNearStride> near;
  device::SharedArray<A, kFar * S::kFarStride> far;
  device::SharedArray<A, S::kNear * S::kWeightStride> weights;
  // Of near rows: where they are, what they see on each axis (un-reduced; begin > end: nothing at all, not even
  // additional keys), a query's lse and D or a key's log-weight, and the place of bias entries.
  device::SharedArray<int, 3 * S::kNear> near_at, near_begin, near_end;
  device::SharedArray<int, S::kNear> near_x, near_cell;
  device::SharedArray<A, S::kNear> near_shift, near_delta;
  // Of far rows; kNowhere as the first coordinate: there is none, or it is hidden.
  device::SharedArray<int, 3 * kFar> far_at, far_x;
  device::SharedArray<int, kFar> far_cell;
  device::SharedArray<A, kFar> far_shift, far_delta;
  device::SharedArray<int, 4> flags;  // [0]: every near row sees every far row of the step
};
inline constexpr int kNowhere = -0x7fffffff;

__device__ inline int class_length(int tokens, int residue, int dilation) {
  return (tokens - residue + dilation - 1) / dilation;
}
__device__ inline int floor_divide(int a, int b) { return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0); }

// Grid coordinates of in-class coordinates x, un-reduced on a wrapped axis.
__device__ inline void place(const Plan& plan, const int (&residue)[3], const int (&x)[3], bool is_far, int (&at)[3]) {
  at[0] = at[1] = at[2] = 0;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    if (a >= plan.rank) continue;
    const Axis& axis = plan.axes[a];
    int reduced = x[a];
    if (axis.wraps) {
      const int n = class_length(is_far ? axis.far : axis.near, residue[a], axis.dilation);
      reduced -= floor_divide(reduced, n) * n;
    }
    at[a] = reduced * axis.dilation + residue[a];
  }
  if (plan.tokens != nullptr)
    from_row_major(is_far ? plan.far_grid : plan.near_grid, device::load(plan.tokens + at[0]), at);
}

// On the sphere: the far longitudes that near longitude x sees at a half-width (pattern/sphere_arc.h).
__device__ inline Interval arc_of(const Arcs& arcs, int half_width, int x) {
  const Int middle = static_cast<Int>(x) * arcs.near_unit;
  const Int low = middle - half_width, high = middle + half_width;
  const int unit = arcs.far_unit;
  const int start = static_cast<int>(low >= 0 ? (low + unit - 1) / unit : -(-low / unit));
  const int length = static_cast<int>(high / unit) + 1 - start;
  return {start, half_width < 0 ? 0 : (length < arcs.far ? length : arcs.far)};
}

// The hull of a tile, the same for all threads. Loops over axes are unrolled everywhere: an array that a variable
// indexes can't be in registers, nor can what lies beside it.
struct Hull {
  int residue[3], begin[3], size[3];  // near
  int first[3], end[3];               // far
  int common_first[3], common_end[3];
};

__device__ inline Hull hull_of(const Plan& plan, Int tile) {
  Hull hull = {{0, 0, 0}, {0, 0, 0}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}};
#pragma unroll
  for (int a = 2; a >= 0; --a) {
    if (a >= plan.rank) continue;
    const AxisTile* const at = plan.axes[a].tiles + tile % plan.axes[a].tile_count;
    tile /= plan.axes[a].tile_count;
    hull.residue[a] = device::load(&at->residue);
    hull.begin[a] = device::load(&at->begin);
    hull.size[a] = device::load(&at->size);
    hull.first[a] = device::load(&at->hull_begin);
    hull.end[a] = device::load(&at->hull_end);
    hull.common_first[a] = device::load(&at->common_begin);
    hull.common_end[a] = device::load(&at->common_end);
  }
  return hull;
}

// Steps of a tile, up to kFar far rows each: the plan's, as one row-major list of the hull, or on the sphere latitude
// by latitude; then additional keys; or all tokens. The same for all threads.
struct Walk {
  enum Segment { kPlan, kAdditional, kAll };
  Segment segment;
  Int at, end;      // of the list
  int line, lines;  // far latitudes
};

__device__ inline void enter_line(const Arguments& arguments, const Hull& hull, Walk& walk, int& half_width) {
  const Arcs& arcs = arguments.plan.arcs;
  const int first = device::load(arcs.firsts + hull.begin[0]);
  half_width = device::load(arcs.half_widths + device::load(arcs.offsets + hull.begin[0]) + walk.line - first);
  const Interval low = arc_of(arcs, half_width, hull.begin[1]);
  const Interval high = arc_of(arcs, half_width, hull.begin[1] + hull.size[1] - 1);
  walk.at = low.start;
  walk.end = high.start + high.length;
}

}  // namespace nearfield::simt
