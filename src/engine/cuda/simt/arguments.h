// What the SIMT kernels are told: plain data, laid out alike by every compiler that sees it (nvcc, g++ for the
// emulator, NVRTC, which has no standard headers). Pointers are the device's. Strides are in elements.
//
// One kernel has five uses. It takes a tile of "near" rows against steps of "far" ones, makes a weight for each pair
// out of one or two products over channels, and sums far vectors with these weights, or the weights alone:
//
//   use          near, far       weight of a pair            sum, per near row
//   forward      query, key      P (online softmax)          P v             and logsumexp
//   delta        query, key      P dP                        the weights     D = sum_j P dP - dlogsumexp
//   dquery       query, key      u = P (dP - D) slope        scale u k
//   dkey         key, query      the same                    scale u q
//   dvalue       key, query      P                           P dout
//   dweights     key, query      P/w (dP - D)                the weights
//
// with S = near_a.far_a = q.k, dP = near_b.far_b = dout.v, and far_c what is summed.
#pragma once

namespace nearfield::simt {

using Int = long long;

enum class Element : int { float64 = 0, float32 = 1, bfloat16 = 2, float16 = 3, boolean = 4 };

enum class Use : int { forward = 0, delta = 1, dquery = 2, dkey = 3, dvalue = 4, dweights = 5 };

// A grid tensor (batch, *grid, heads, channels) with adjacent channels; of additional keys axes[0] is their number's;
// of what has no heads or channels these strides are 0.
struct Tensor {
  char* data;
  Element type;
  Int batch, head, axes[3];
};

// ---- the plan ----------------------------------------------------------------------------------------------------

// Un-reduced, as in pattern/interval.h.
struct Interval {
  int start, length;
};

// A tile's near coordinates on one axis, all in one residue class, the hull of what they see and the part of it that
// each of them sees (empty if begin >= end).
struct AxisTile {
  int residue, begin, size;
  int hull_begin, hull_end;
  int common_begin, common_end;
};

struct Axis {
  const AxisTile* tiles;      // [tile_count]: of all residue classes
  const Interval* intervals;  // [near], by token
  Int tile_count;
  int near, far;  // tokens
  int dilation;
  int wraps;
};

// On the sphere (pattern/sphere_arc.h): far latitudes [firsts[x], + offsets[x+1] - offsets[x]) of near latitude x, and
// their half-widths. Longitudes have `unit` steps of the finer circle.
struct Arcs {
  const int* firsts;  // null: no arcs
  const int* offsets;
  const int* half_widths;
  int near_unit, far_unit, far;
};

struct Plan {
  int rank;  // of the axes below: 1 along an order
  Axis axes[3];
  Int tiles;
  Arcs arcs;
  const int* tokens;     // along an order: [position]; null else
  const int* positions;  // the inverse
  int near_grid[3], far_grid[3];
};

// ---- one launch of the attention kernel ---------------------------------------------------------------------------

struct Arguments {
  Plan plan;
  Tensor near_a, near_b, far_a, far_b, far_c;
  Tensor additional_a, additional_b, additional_c;  // far, of uses whose near rows are queries
  Tensor output;
  Tensor logsumexp;   // written by forward, read by the others
  Tensor dlogsumexp;  // null data: absent
  int channels_a, channels_b, channels_out;
  Int batch, heads, heads_kv;
  Int additional;  // far additional keys
  double scale, softcap;
  // All in the accumulator's type and in units of log2.
  const void* log_weights;  // [batch or 1][key tokens]; -infinity hides; null: all 0
  Int log_weights_batch;    // 0: shared
  const void* bias;         // [heads][bias_head]; null: none. A pair's entry is cell(key) - cell(query) + bias_middle
  Int bias_head;
  int bias_strides[3], bias_middle;
  void* delta;  // [batch][heads][query tokens]: D, written by delta, read by the others
  // Near rows are additional keys, far ones all queries, a span of `chunk` of them for each block, which writes a
  // partial sum of its own, chunk_stride elements of the output after the one before.
  Int near_additional, chunk, chunks, chunk_stride;
  int channel_chunks;  // of the output: a block makes one
  Int blocks;
};

// ---- the small kernels --------------------------------------------------------------------------------------------

// log2 of weights, and bias, as the attention kernel reads them.
struct PrepareArguments {
  int grid[3];
  Int batch;                // of the result: 1 where it is shared
  Tensor mask, weights;     // null data: absent
  const double* densities;  // [grid[0]]: ln of the pattern's own weights; null: none
  void* log_weights;        // [batch][tokens]
  void* log_densities;      // the same without `weights`; null: not wanted
  Tensor bias;              // head: stride of heads
  Int heads, bias_head;
  int bias_sizes[3];
  void* bias_out;  // [heads][bias_head]
};

// Sums of partial results in their order, stored with the result's own type and strides:
//   result[i, j] = sum over c of partial[c][i][j],  i of `rows`, decoded into (batch, grid), j of `channels`
struct FinishArguments {
  const void* partial;
  Int parts, part_stride;
  Int batch, heads;  // rows = batch * tokens * heads, heads fastest
  int grid[3];
  int channels;
  Tensor result;
};

// Entry by entry, every pair that has it.
struct BiasGradientArguments {
  Arguments attention;  // as for dquery: near are queries
  int bias_sizes[3];
  Tensor result;  // head: stride of heads
};

}  // namespace nearfield::simt
