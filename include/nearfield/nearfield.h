/* nearfield: local attention for every grid. The C ABI.
 *
 * Tensors (grid is 1, 2 or 3 axes; any strides, but the channels are contiguous, and any alignment):
 *   query      (batch, *grid, heads,    head_dim)
 *   key        (batch, *grid, heads_kv, head_dim)      heads % heads_kv == 0 (grouped-query attention)
 *   value      (batch, *grid, heads_kv, head_dim_v)
 *   out        (batch, *grid, heads,    head_dim_v)    dtype of query
 *   logsumexp  (batch, *grid, heads)                   float32; float64 when query is float64
 *
 * Limits: head_dim and head_dim_v 1 to 512; an axis up to 2^31 - 1 tokens; a tensor's extent below 2^60 bytes.
 *
 * out[i] = sum over j in N(i) of softmax_j(scale * q_i.k_j + bias_ij) v_j; N(i) is what the pattern says.
 * Functions return a status; on anything but NF_OK nf_last_error() has one sentence that names the argument, its
 * value and the rule. All functions are thread-safe. Memory belongs to the caller; nothing is kept after a call but
 * the plan cache and the thread pool. No C++ exception leaves the library.
 */
#ifndef NEARFIELD_NEARFIELD_H
#define NEARFIELD_NEARFIELD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "nearfield/patterns.h"
#include "nearfield/simulation.h"

#if defined(NEARFIELD_STATIC)
#define NF_API
#elif defined(_WIN32)
#if defined(NEARFIELD_BUILDING)
#define NF_API __declspec(dllexport)
#else
#define NF_API __declspec(dllimport)
#endif
#else
#define NF_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define NF_VERSION_MAJOR 0
#define NF_VERSION_MINOR 1
#define NF_VERSION_PATCH 0

/* ---- status ------------------------------------------------------------------------------------------------ */

typedef enum nf_status {
  NF_OK = 0,
  NF_INVALID_ARGUMENT = 1, /* an argument breaks a rule; the message names it */
  NF_UNSUPPORTED = 2,      /* valid, but the engine asked for cannot do it; the message says which can */
  NF_OUT_OF_MEMORY = 3,
  NF_INTERNAL_ERROR = 4
} nf_status;

/* The message of this thread's last failed call; "" if none failed yet. A call that succeeds leaves it alone. Valid
 * until this thread's next call. */
NF_API const char* nf_last_error(void);
/* "ok", "invalid_argument", ...; NULL outside the enumeration. */
NF_API const char* nf_status_name(nf_status status);
/* "major.minor.patch" of the library that is running. */
NF_API const char* nf_version(void);

/* ---- tensors ----------------------------------------------------------------------------------------------- */

typedef enum nf_dtype {
  NF_FLOAT64 = 0,
  NF_FLOAT32 = 1,
  NF_BFLOAT16 = 2,
  NF_FLOAT16 = 3,
  NF_BOOL = 4 /* one byte, 0 or 1: masks only */
} nf_dtype;

#define NF_MAX_DIMS 6

/* A view of memory that the caller owns. Strides are in elements and may be negative or, for inputs, zero. */
typedef struct nf_tensor {
  void* data;
  int32_t dtype; /* nf_dtype */
  int32_t rank;  /* number of dimensions in use */
  int64_t sizes[NF_MAX_DIMS];
  int64_t strides[NF_MAX_DIMS];
} nf_tensor;

/* ---- modifiers --------------------------------------------------------------------------------------------- */

/* All optional: a NULL pointer or softcap 0 means absent. */
typedef struct nf_modifiers {
  size_t struct_size;
  const nf_tensor* additional_keys;   /* (batch, M, heads_kv, head_dim): in the same softmax, never masked */
  const nf_tensor* additional_values; /* (batch, M, heads_kv, head_dim_v) */
  const nf_tensor* key_mask;          /* (batch, *grid) NF_BOOL: 1 = the key takes part */
  const nf_tensor* key_weights;       /* (*grid) or (batch, *grid), >= 0: log(weight) is added to the logit */
  const nf_tensor* bias; /* (heads, 2*e-1 per axis), indexed by key - query + e - 1; e: nf_bias_extents() */
  double softcap;        /* c > 0: logits become c*tanh(logit/c), before bias and weights */
} nf_modifiers;

/* ---- options ----------------------------------------------------------------------------------------------- */

typedef enum nf_engine {
  NF_ENGINE_AUTO = 0,      /* the fastest that can do it; never a slow one: NF_UNSUPPORTED says what to ask for */
  NF_ENGINE_REFERENCE = 1, /* float64, literal, slow: the oracle */
  NF_ENGINE_CPU = 2,       /* fused, vectorised, threaded */
  /* Slow, for comparison: skips empty blocks of 128 x 128 tokens and masks others; forward only, no modifiers. Tokens
   * are row-major; along an order keys and values are gathered into it first. */
  NF_ENGINE_BLOCK_SPARSE = 3,
  /* Unfused, for comparison: the weights of all queries and keys in memory. No softcap, no key_weights, no sphere. */
  NF_ENGINE_NAIVE = 4, /* one query at a time */
  NF_ENGINE_GEMM = 5   /* products of tiles of queries and their haloed keys; see unfused.h */
} nf_engine;

typedef enum nf_isa {
  NF_ISA_AUTO = 0, /* the fastest that the machine has */
  NF_ISA_PORTABLE = 1,
  NF_ISA_AVX2 = 2,      /* with FMA and F16C */
  NF_ISA_AVX512 = 3,    /* F, BW, DQ and VL */
  NF_ISA_NEON = 4,      /* 64-bit Arm */
  NF_ISA_PORTABLE16 = 5 /* slow: the portable vectors at AVX-512's width, in builds with tests only */
} nf_isa;

/* Which of the CPU engine's two methods to run. NF_KERNEL_AUTO lets the cost model choose. */
typedef enum nf_kernel {
  NF_KERNEL_AUTO = 0,
  NF_KERNEL_BAND = 1, /* exact windows, lanes over head_dim: small windows */
  NF_KERNEL_TILE = 2  /* tiles of queries against boxes of keys, lanes over queries: wide windows */
} nf_kernel;

/* Runs body(body_context, i) once for every i in [0, count), in any order, on any threads; returns when all are done.
 * It must not fail. */
typedef void (*nf_parallel_for)(void* context, int64_t count, void (*body)(void* body_context, int64_t index),
                                void* body_context);

typedef struct nf_options {
  size_t struct_size;
  int32_t has_scale;            /* 0: scale is 1/sqrt(head_dim) */
  int32_t engine;               /* nf_engine */
  double scale;                 /* used as given, 0 included */
  int32_t isa;                  /* nf_isa; AUTO obeys the environment variable NEARFIELD_ISA (avx2, ...) */
  int32_t kernel;               /* nf_kernel */
  int32_t num_threads;          /* 0: NEARFIELD_NUM_THREADS, else the number of cores that the process may use */
  int32_t reserved;             /* 0 */
  nf_parallel_for parallel_for; /* NULL: the library's own pool */
  void* parallel_for_context;
  void* workspace;       /* NULL: the library allocates; else as many bytes as nf_forward_workspace() or */
  size_t workspace_size; /* nf_backward_workspace() says, at any alignment; it serves one call at a time */
} nf_options;

/* All zero but struct_size. */
static inline nf_options nf_default_options(void) {
  nf_options result;
  memset(&result, 0, sizeof result);
  result.struct_size = sizeof result;
  return result;
}

/* ---- attention --------------------------------------------------------------------------------------------- */

/* Writes out and, where logsumexp is not NULL, logsumexp = ln(sum of exp(logit)). modifiers and options may be NULL.
 * A query that sees no key has out 0 and logsumexp -inf. A zero-sized batch or grid is no error.
 * An output element may not coincide with an input's or another output's, and none of them may lie in the workspace;
 * interleaved views of one buffer are fine. */
NF_API nf_status nf_forward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                            const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                            const nf_tensor* out, const nf_tensor* logsumexp);

/* Bytes of scratch that nf_forward needs for this problem with these options, for all threads together: 0 where it
 * needs none. Data pointers may be NULL. */
NF_API nf_status nf_forward_workspace(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                      const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                                      size_t* bytes);

/* Where the gradients go; each NULL is neither computed nor written. Shapes are those of the tensors they belong to.
 * key_weights and bias gradients are float32 (float64 with float64 query) or of the query's dtype. */
typedef struct nf_gradients {
  size_t struct_size;
  const nf_tensor* query;
  const nf_tensor* key;
  const nf_tensor* value;
  const nf_tensor* additional_keys;
  const nf_tensor* additional_values;
  const nf_tensor* key_weights;
  const nf_tensor* bias;
} nf_gradients;

/* Gradients from the forward's inputs, its out and logsumexp, and the gradients of both (dlogsumexp may be NULL). The
 * same bits for any number of threads. */
NF_API nf_status nf_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                             const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                             const nf_tensor* out, const nf_tensor* logsumexp, const nf_tensor* dout,
                             const nf_tensor* dlogsumexp, const nf_gradients* gradients);

/* Bytes of scratch that nf_backward needs, as nf_forward_workspace. Of gradients, only which are NULL matters. At most
 * 1 MB a thread, and once: a float copy of the gradients of key and value where these are 16-bit, the bias and the
 * weights as the kernels read them, and float64 sums of the gradients of bias and additional keys and values. */
NF_API nf_status nf_backward_workspace(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                       const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                                       const nf_gradients* gradients, size_t* bytes);

/* ---- ragged batches --------------------------------------------------------------------------------------------- */

/* Pieces of different sizes in one call: sequences of different lengths, images of different shapes, without padding.
 * Packed tensors hold them one after the other, (tokens, heads, channels) instead of (batch, *grid, heads, channels):
 *   query (tokens, heads, head_dim)      key (tokens, heads_kv, head_dim)      value (tokens, heads_kv, head_dim_v)
 *   out   (tokens, heads, head_dim_v)    logsumexp (tokens, heads)
 * Piece i has tokens token_offsets[i] to token_offsets[i + 1], a grid of the pattern's rank, row-major; no query sees a
 * key of another piece. Modifiers: key_mask and key_weights (tokens); additional_keys and additional_values (count, M,
 * heads_kv, channels); bias and softcap serve all pieces. */
typedef struct nf_ragged {
  size_t struct_size;
  int64_t count;                /* of pieces; 0 is no error, and both lists may then be NULL */
  const int64_t* token_offsets; /* [count + 1]: first 0, never descending, last the number of tokens */
  const int64_t* grids;         /* [count][rank]: axes' lengths, 0 included; their product is the piece's tokens */
} nf_ragged;

/* nf_forward of every piece: the same bits as from one call for each. A rule that one piece breaks (with wrap, dilation
 * divides the axis) is reported with it: "grids[3][0]=7: ...". options->workspace must be NULL. On any status but NF_OK
 * and NF_INVALID_ARGUMENT some pieces may have been written. */
NF_API nf_status nf_forward_ragged(const nf_pattern* pattern, const nf_ragged* ragged, const nf_tensor* query,
                                   const nf_tensor* key, const nf_tensor* value, const nf_modifiers* modifiers,
                                   const nf_options* options, const nf_tensor* out, const nf_tensor* logsumexp);

/* nf_backward of every piece, likewise. gradients->bias is the sum over the pieces, added in their order in float64. */
NF_API nf_status nf_backward_ragged(const nf_pattern* pattern, const nf_ragged* ragged, const nf_tensor* query,
                                    const nf_tensor* key, const nf_tensor* value, const nf_modifiers* modifiers,
                                    const nf_options* options, const nf_tensor* out, const nf_tensor* logsumexp,
                                    const nf_tensor* dout, const nf_tensor* dlogsumexp, const nf_gradients* gradients);

/* ---- merging ------------------------------------------------------------------------------------------------- */

#define NF_MAX_MERGE_PARTS 16

/* What one attention of several left, each of the same queries over keys of its own; or, for nf_merge_backward, where
 * its gradients go. */
typedef struct nf_merge_part {
  const nf_tensor* out;       /* (batch, *grid, heads, head_dim_v) */
  const nf_tensor* logsumexp; /* (batch, *grid, heads) */
} nf_merge_part;

/* The one softmax over the keys of all parts, 1 to NF_MAX_MERGE_PARTS of them:
 *   logsumexp = ln(sum_i exp(lse_i))      w_i = exp(lse_i - logsumexp)      out = sum_i w_i out_i
 * A part of logsumexp -inf counts for nothing, whatever its out holds; if all are, out is 0 and logsumexp -inf. All
 * tensors have the shapes, and outs the dtype, of parts[0].out; logsumexp may be NULL. Of options, which may be NULL,
 * the threads are used. Outputs must not share memory with inputs or each other, as in nf_forward. */
NF_API nf_status nf_merge(int32_t count, const nf_merge_part* parts, const nf_options* options, const nf_tensor* out,
                          const nf_tensor* logsumexp);

/* Gradients of nf_merge from those of its out and logsumexp (dlogsumexp may be NULL), which nf_backward of each part
 * takes as its dout and dlogsumexp:  dout_i = w_i dout;  dlse_i = w_i (dout.out_i - dout.out + dlogsumexp). gradients
 * has `count` entries; a tensor that is NULL is neither computed nor written. A part of logsumexp -inf gets zeros. */
NF_API nf_status nf_merge_backward(int32_t count, const nf_merge_part* parts, const nf_options* options,
                                   const nf_tensor* dout, const nf_tensor* dlogsumexp, const nf_merge_part* gradients);

/* ---- geometry ------------------------------------------------------------------------------------------------- */

/* Which keys the queries of a grid see, written out: for weights of one's own, and for pictures. `grid` has the
 * pattern->rank axes' lengths, at most 2^53 tokens in all, which are numbered row-major. */

/* extents[axis], for each axis of the grid: nf_modifiers.bias has 2*extents[axis] - 1 entries there. A neighborhood's
 * kernel_size or a window's size; along an order, 1 + the largest distance on the axis between a query and a key that
 * it sees, which depends on the grid. */
NF_API nf_status nf_bias_extents(const nf_pattern* pattern, const int64_t* grid, int64_t* extents);

/* tokens[position]: the row-major token at each position of an order (nf_order) of a grid of `rank` axes, at most
 * 2^31 - 1 tokens. positions[token]: the inverse. Either may be NULL. */
NF_API nf_status nf_order_tokens(int32_t order, int32_t rank, const int64_t* grid, int64_t* tokens, int64_t* positions);

/* The nlat circles of a grid on the sphere, from the north: their colatitudes in radians, and the area that one point
 * of each stands for, 2*pi/nlon times the circle's quadrature weight: 4*pi over all points. That area is what a key's
 * exp(logit) is multiplied by. Either may be NULL. One latitude is a grid with legendre-gauss only. */
NF_API nf_status nf_sphere_latitudes(const nf_sphere_grid* grid, double* colatitudes, double* area_weights);

/* slots[axis]: keys of the longest window that a query has on the axis, at most kernel_size; 0 if it has no tokens. Of
 * a pattern along an order: slots[0] is of the positions, the others are 1. */
NF_API nf_status nf_window_slots(const nf_pattern* pattern, const int64_t* grid, int64_t* slots);

/* The windows of queries first to first + count - 1. keys[count][product of slots]: the token in each slot, slots
 * row-major over the axes; on each axis slot j has the j-th key of the query's window or, where wrap lets it see its
 * whole residue class, the class's key j. bias_index, of the same shape or NULL: the pair's place in one head's table
 * of nf_modifiers.bias. Both are -1 in slots that a shorter window (cut, causal, few tokens in a class) does not fill.
 */
NF_API nf_status nf_windows(const nf_pattern* pattern, const int64_t* grid, int64_t first, int64_t count, int64_t* keys,
                            int64_t* bias_index);

/* A box of keys that a tile of queries visits. Coordinates are those of a residue class, on each axis: coordinate x is
 * token x * dilation + residue. Axes beyond the rank have first 0, size 1 and residue 0. Of a pattern along an order
 * there is one axis, that of the positions. */
typedef struct nf_plan_step {
  int64_t tile; /* 0, 1, ...: tiles are numbered with the last axis fastest, on an axis by residue, then along it */
  int64_t query_first[NF_MAX_GRID_RANK], query_size[NF_MAX_GRID_RANK];
  int64_t key_first[NF_MAX_GRID_RANK], key_size[NF_MAX_GRID_RANK]; /* inside the class: cut in two at a wrap's seam */
  int64_t residue[NF_MAX_GRID_RANK];
  int64_t pairs; /* of its (query, key) pairs, those that the pattern asks for: at least 1 */
  int64_t full;  /* 1 if that is all of them, else 0 */
} nf_plan_step;

/* What an engine with tiles of at most tile[axis] queries, 1 to 1024, and steps of at most step[axis] keys visits.
 * Writes the first `capacity` steps, and to *count how many there are; steps may be NULL where capacity is 0. */
NF_API nf_status nf_plan_steps(const nf_pattern* pattern, const int64_t* grid, const int64_t* tile, const int64_t* step,
                               int64_t capacity, nf_plan_step* steps, int64_t* count);

/* What a block-sparse kernel (NF_ENGINE_BLOCK_SPARSE with blocks of 128) visits: tokens in a row, row-major or along
 * the pattern's order, in blocks of `block`. */
typedef struct nf_block {
  int64_t query_block, key_block; /* tokens [block * i, + block), fewer in the last */
  int64_t pairs;                  /* (query, key) pairs that are seen: at least 1 */
  int64_t full;                   /* 1 if that is all of them, else 0: a mask is needed */
} nf_block;

typedef struct nf_block_counts {
  int64_t blocks; /* pairs of a block of queries and one of keys: empty + full + masked */
  int64_t empty, full, masked;
  int64_t pairs; /* that are seen */
} nf_block_counts;

/* Writes the first `capacity` blocks that are not empty, by query block, then key block, and counts all; blocks may be
 * NULL where capacity is 0. 1 <= block <= 1024. NF_UNSUPPORTED if the map exceeds 256 MiB or takes too long to make. */
NF_API nf_status nf_block_map(const nf_pattern* pattern, const int64_t* grid, int64_t block, int64_t capacity,
                              nf_block* blocks, nf_block_counts* counts);

/* ---- the simulator --------------------------------------------------------------------------------------------- */

/* How much faster than dense attention a pattern can be with tiles of a given shape (simulation.h has the structs).
 *
 * tile[axis]: queries of a tile, 1 to 1024; key_tile[axis]: keys of a key tile, and of a step at most. Neither may be
 * larger than its axis (along an order the one of positions). On the sphere tile[0] is 1. rates may be NULL. A pattern
 * is perfectly block-sparse where masked_units is 0. Set simulation->struct_size first; the fields that lie within it
 * are written. Takes O(sum of the axes' lengths); NF_UNSUPPORTED for spheres that would take minutes. */
NF_API nf_status nf_simulate(const nf_pattern* pattern, const int64_t* grid, const int64_t* tile,
                             const int64_t* key_tile, const nf_rates* rates, nf_simulation* simulation);

/* ---- what would run, and on what ----------------------------------------------------------------------------- */

typedef struct nf_explanation {
  size_t struct_size;
  int32_t engine; /* nf_engine; NF_ENGINE_AUTO if nothing runs (empty batch or grid) */
  int32_t isa;    /* nf_isa; NF_ISA_AUTO where the engine has none (reference) */
  int32_t kernel; /* nf_kernel; likewise */
  int32_t num_threads;
  int64_t tile[NF_MAX_GRID_RANK];   /* queries of a tile, per axis; for the band kernel a run of adjacent queries */
  int64_t step[NF_MAX_GRID_RANK];   /* keys of a step at most, per axis */
  int64_t tiles;                    /* of one (batch, head) */
  int64_t full_steps, masked_steps; /* of one (batch, head) */
  double useful_pairs;              /* (query, key) pairs in the whole problem: batch and heads included */
  double executed_pairs;
  double waste;             /* executed_pairs / useful_pairs */
  double predicted_seconds; /* by the cost model, from typical machine rates; not a promise */
  size_t workspace;         /* bytes */
  char reason[512];         /* one or two sentences: why this engine, kernel and tile */
  size_t plan_memory; /* bytes of the tables that tell what is seen, kept for later calls; 0 where there are none */
} nf_explanation;

/* Validates like nf_forward (data pointers may be NULL here) and says what it would do. Set explanation->struct_size
 * first; the fields that lie within it are written. */
NF_API nf_status nf_explain(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                            const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                            nf_explanation* explanation);

/* The same of nf_backward. Of gradients, only which are NULL matters. */
NF_API nf_status nf_explain_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                     const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                                     const nf_gradients* gradients, nf_explanation* explanation);

/* CPU model as the operating system reports it. */
NF_API const char* nf_cpu_model(void);
/* Threads that num_threads = 0 gives; 0 if NEARFIELD_NUM_THREADS is no positive integer (nf_last_error() says so, and
 * so does every call that relies on it). */
NF_API int32_t nf_default_num_threads(void);
/* "auto", "avx2", "float32", ...; NULL outside the enumerations. All strings that functions return live as long as the
 * library (nf_last_error's excepted). */
NF_API const char* nf_isa_name(int32_t isa);
NF_API const char* nf_engine_name(int32_t engine);
NF_API const char* nf_kernel_name(int32_t kernel);
NF_API const char* nf_dtype_name(int32_t dtype);
NF_API const char* nf_order_name(int32_t order);
/* NULL if it can run on this machine, else one sentence saying why not. */
NF_API const char* nf_isa_unavailable(int32_t isa);
NF_API const char* nf_engine_unavailable(int32_t engine);
/* The instruction set that NF_ISA_AUTO gives; NF_ISA_AUTO itself if NEARFIELD_ISA names an unknown or unavailable one
 * (likewise). */
NF_API int32_t nf_selected_isa(void);
/* This machine's own peak on one thread: multiply-adds of independent registers, in GFLOP/s, measured for about
 * `seconds` (0 < seconds <= 60) with the given instruction set. Takes dtype NF_FLOAT32 or NF_FLOAT64. */
NF_API nf_status nf_measure_peak(int32_t isa, int32_t dtype, double seconds, double* gflops);

#ifdef __cplusplus
}
#endif

#include "nearfield/unfused.h"

#endif /* NEARFIELD_NEARFIELD_H */
