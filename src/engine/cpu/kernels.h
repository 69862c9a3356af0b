// What an instruction set provides to the CPU engine: a table of leaf kernels over plain arrays. Kernels know neither
// patterns nor plans nor tensors; the drivers (band_forward.cpp, tile_forward.cpp) feed them. T is the type that sums
// are held in: float, or double for float64 tensors.
//
// Logits are in units of log2: queries arrive multiplied by scale * log2(e).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace nearfield::core {

// A score that stands for "not seen": far below any logit, and exp2 of it is exactly 0. Finite, so that differences of
// two of them are no NaN; 16 of them still add up in float.
template <class T>
inline constexpr T kMaskedScore = static_cast<T>(-1e30);

// Half of it: what hides everything is not its own maximum, so that the weights of hidden keys are exactly 0.
template <class T>
inline constexpr T kNothingSeen = kMaskedScore<T> / 2;

// Rows of memory that will be needed soon, `stride` bytes apart.
struct Upcoming {
  const std::byte* begin = nullptr;
  int64_t stride = 0;
  int64_t count = 0;
  int64_t cache_lines = 0;  // of a row
};

// Tiles of one call, which go through the kernel's phases together: those on neighbouring lines share most of their key
// lines, which then come from the L2 cache once for all of them.
inline constexpr int64_t kMostBandTiles = 4;

// Key lines on which a tile's queries have the same windows.
template <class T>
struct BandGroup {
  int64_t lines = 0;
  const T* const* keys = nullptr;         // [lines]: packed, each [positions][key_stride], zero-padded
  const T* const* values = nullptr;       // [lines]: [positions][value_stride]
  const int32_t* begin = nullptr;         // [queries]: first position seen, on every line; never decreases
  const int32_t* end = nullptr;           // [queries]: end of the positions seen; never decreases
  int64_t width = 0;                      // longest interval rounded up to whole vectors
  const T* const* log_weights = nullptr;  // [lines]: [positions], added to the score; nullptr: none
  const T* const* bias = nullptr;         // [lines]: bias[line][p + t * bias_step], query t, position p; nullptr: none
  int64_t bias_step = -1;
  // A vector may be read beyond the last position of log_weights and bias.
  const T* line_weights = nullptr;  // [lines]: added to the scores of all keys of a line; nullptr: none

  // Backward only: what is added to, nullptr where it is not wanted.
  const int32_t* seen_from = nullptr;    // [positions]: first query that sees it; never decreases
  const int32_t* seen_to = nullptr;      // [positions]: end of the queries that see it; never decreases
  T* const* dkeys = nullptr;             // [lines]: [positions][key_stride], by query * scale * log2(e)
  T* const* dvalues = nullptr;           // [lines]: [positions][value_stride]
  T* const* dlog_weights = nullptr;      // [lines]: [positions]: sums of dS
  T* const* dbias = nullptr;             // [lines]: indexed as bias
  const T* const* weightless = nullptr;  // [lines]: [positions]: 1 for keys of weight 0, whose dlog_weights only are
                                         // wanted (they come with log_weights 0), else 0; nullptr: there are none
};

// Up to `lanes` adjacent queries of one line against the key lines that they see: exact windows.
template <class T>
struct BandTile {
  int64_t queries = 0;                   // 1 .. lanes
  const BandGroup<T>* groups = nullptr;  // [group_count]: of the grid, where only arcs need more than one; then that of
                                         // the additional keys, if there are any
  int64_t group_count = 0;
  int64_t grid_groups = 1;
  bool moves_by_one = false;           // arcs: from query to query all windows move on by one position
  int64_t few = 0;                     // arcs that do: keys of every query, if these are at most a vector, nothing
                                       // modifies scores but line_weights, and no keys are additional. Then `row` is
                                       // one vector and a group's width its window. Else 0.
  const T* query = nullptr;            // [queries][key_stride], zero-padded
  int64_t key_stride = 0;              // head_dim rounded up to whole vectors
  int64_t value_stride = 0;            // head_dim_v rounded up to whole vectors
  int64_t row = 0;                     // scores of a query: the sum of lines * width over the groups
  T softcap = 0;                       // c: scores become c * tanh(score / c) before bias and log_weights; 0: none
  T* scores = nullptr;                 // scratch [queries][row]
  T* out = nullptr;                    // [queries][value_stride]; forward: written
  T* logsumexp = nullptr;              // [lanes]; forward: written, natural; nullptr: not wanted
  const Upcoming* upcoming = nullptr;  // [upcoming_count], fetched along the way
  int64_t upcoming_count = 0;
  int64_t upcoming_rows = 0;  // of all of them

  // Backward only. Here `logsumexp` is read, in log2 units; huge where a query sees nothing. `out` is not used.
  const T* dout = nullptr;        // [queries][value_stride]
  const T* dlogsumexp = nullptr;  // [lanes]; nullptr: 0
  T* slopes = nullptr;            // scratch [queries][row], with a softcap
  T* dscores = nullptr;           // scratch [queries][row]; nullptr: only dvalues is wanted
  T* dquery = nullptr;            // [queries][key_stride]: written; nullptr: not wanted
  T scale = 0;                    // of logits, natural
};

// A tile of `tile_queries` queries (two vectors) against `count` keys. Sᵀ orientation: queries across the lanes.
template <class T>
struct TileStep {
  int64_t count = 0;
  int64_t head_dim = 0, head_dim_v = 0;
  const T* query = nullptr;            // [head_dim][tile_queries]
  const T* const* keys = nullptr;      // [count] rows of head_dim
  const T* const* values = nullptr;    // [count] rows of head_dim_v
  const uint32_t* visible = nullptr;   // [count]: bit t is set if query t sees the key; nullptr: all do
  T softcap = 0;                       // c: scores become c * tanh(score / c) first; 0: none
  const T* bias = nullptr;             // [count][tile_queries], added to the scores then; nullptr: none
  const T* log_weights = nullptr;      // [count], likewise; nullptr: none
  T* slopes = nullptr;                 // [count][tile_queries]: the softcap's slopes, nullptr: not wanted
  T* scores = nullptr;                 // scratch [count][tile_queries]
  T* maximum = nullptr;                // [tile_queries], log2 units; kMaskedScore at first
  T* sum = nullptr;                    // [tile_queries]
  T* accumulator = nullptr;            // [head_dim_v][tile_queries]
  const Upcoming* upcoming = nullptr;  // [upcoming_count], fetched along the way
  int64_t upcoming_count = 0;
};

// Backward of one step. step: as the forward's, without maximum, sum and accumulator.
template <class T>
struct TileGradients {
  TileStep<T> step;
  const T* dout = nullptr;              // [head_dim_v][tile_queries]
  const T* query_rows = nullptr;        // [tile_queries][key_stride], times scale
  const T* dout_rows = nullptr;         // [tile_queries][value_stride]
  int64_t key_stride = 0;               // head_dim rounded up to whole vectors
  int64_t value_stride = 0;             // likewise
  const T* logsumexp = nullptr;         // [tile_queries], log2 units; huge where a query sees nothing or is not there
  const T* d = nullptr;                 // [tile_queries]: dout . out - dlogsumexp; not read by tile_terms
  const T* weightless = nullptr;        // [count]: as in BandGroup; nullptr: there are none
  T* dscores = nullptr;                 // scratch [count][tile_queries]; nullptr: only dvalues is wanted
  T* dbias = nullptr;                   // [count][tile_queries]: written, dS; nullptr: not wanted
  T* dlog_weights = nullptr;            // [count]: written, sums of dS; nullptr: not wanted
  T* dquery = nullptr;                  // [head_dim][tile_queries]: added to, without scale; nullptr: not wanted
  std::byte* const* dkeys = nullptr;    // [count] rows of head_dim T's, any alignment: added to, by query_rows;
                                        // nullptr: not wanted
  std::byte* const* dvalues = nullptr;  // [count] rows of head_dim_v, likewise
};

template <class T>
struct TileFinish {
  int64_t queries = 0;  // that are wanted, of tile_queries
  int64_t head_dim_v = 0;
  const T* maximum = nullptr;
  const T* sum = nullptr;
  const T* accumulator = nullptr;  // [head_dim_v][tile_queries]
  int64_t out_stride = 0;          // head_dim_v rounded up to whole vectors
  T* out = nullptr;                // [tile_queries][out_stride]
  T* logsumexp = nullptr;          // [tile_queries]; nullptr: not wanted
};

template <class T>
struct KernelTable {
  int64_t lanes = 0;
  int64_t tile_queries = 0;
  // rows: `count` rows of `columns` elements of dtype at `source` + offsets[i] elements become T rows of `stride`,
  // multiplied by `factor` and zero-padded. Any alignment.
  void (*load_rows)(const void* source, DType dtype, const int64_t* offsets, int64_t count, int64_t columns, T factor,
                    T* rows, int64_t stride) = nullptr;
  // The reverse, rounding to nearest even. Writes nothing but the elements.
  void (*store_rows)(const T* rows, int64_t stride, int64_t count, int64_t columns, void* target, DType dtype,
                     const int64_t* offsets) = nullptr;
  // [tile_queries][stride] rows to [columns][tile_queries]; columns and stride are whole vectors.
  void (*transpose_tile)(const T* rows, int64_t stride, int64_t columns, T* columns_first) = nullptr;
  // rows[i] of `stride` elements, times `factor`, added to the `columns` T's at target + offsets[i]. Any alignment.
  void (*add_rows)(const T* rows, int64_t stride, int64_t count, int64_t columns, T factor, void* target,
                   const int64_t* offsets) = nullptr;
  // The same, stored.
  void (*put_rows)(const T* rows, int64_t stride, int64_t count, int64_t columns, T factor, void* target,
                   const int64_t* offsets) = nullptr;
  // count <= kMostBandTiles tiles of the same queries along the line: one `queries`, one set of windows.
  void (*band_tiles)(const BandTile<T>* tiles, int64_t count) = nullptr;
  void (*band_gradients)(const BandTile<T>* tiles, int64_t count) = nullptr;
  void (*tile_step)(const TileStep<T>& step) = nullptr;
  void (*tile_gradients)(const TileGradients<T>& gradients) = nullptr;
  // terms[t] += sum over the step's keys of P dP.
  void (*tile_terms)(const TileGradients<T>& gradients, T* terms) = nullptr;
  // [columns][tile_queries], times `factor`, to [tile_queries][stride] rows, zero-padded to whole vectors.
  void (*tile_rows)(const T* columns_first, int64_t columns, T factor, T* rows, int64_t stride) = nullptr;
  // Whether all elements of `count` rows are finite.
  bool (*all_finite)(const T* const* rows, int64_t count, int64_t columns) = nullptr;
  // False if an output of a wanted query is not finite: then the tile may have been touched by keys that it does not
  // see (0 * NaN), and must be run again query by query.
  bool (*tile_finish)(const TileFinish<T>& finish) = nullptr;
  // For explicit weights (engine/gemm). scores = keys . query, without anything that modifies or hides them.
  void (*tile_scores)(const TileStep<T>& step) = nullptr;
  // accumulator += scores * values.
  void (*tile_accumulate)(const TileStep<T>& step) = nullptr;
  // rows[j] of `channels` T's at any alignment += sum over the tile's queries q of weights[j][q] * sources[q][stride].
  void (*tile_gather)(const T* weights, const T* sources, int64_t stride, std::byte* const* rows, int64_t count,
                      int64_t channels) = nullptr;
  // [columns][tile_queries] to [tile_queries][stride]; columns are rounded up to whole vectors, for which both have
  // room.
  void (*transpose_back)(const T* columns_first, int64_t columns, T* rows, int64_t stride) = nullptr;
  // A row of natural logits becomes its softmax; returns its logsumexp. -infinity throughout: zeros and -infinity.
  T (*softmax_row)(T* row, int64_t count) = nullptr;
  // d[i] = p[i] * (d[i] - sum of p d + dlogsumexp).
  void (*softmax_gradient_row)(const T* p, T* d, int64_t count, T dlogsumexp) = nullptr;
  // Multiply-adds per call of independent registers, for the machine's peak. Returns how many scalar ones were done.
  int64_t (*multiply_adds)(int64_t rounds) = nullptr;
};

// One for each instruction set and type; nullptr where the compiler's target has no such instructions.
const KernelTable<float>* portable_float_kernels();
const KernelTable<double>* portable_double_kernels();
const KernelTable<float>* avx2_float_kernels();
const KernelTable<double>* avx2_double_kernels();
const KernelTable<float>* avx512_float_kernels();
const KernelTable<double>* avx512_double_kernels();
const KernelTable<float>* neon_float_kernels();
const KernelTable<double>* neon_double_kernels();
// The portable vectors at AVX-512's width; nullptr where no tests are built.
const KernelTable<float>* portable16_float_kernels();
const KernelTable<double>* portable16_double_kernels();

}  // namespace nearfield::core
