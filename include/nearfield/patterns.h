/* nearfield's patterns: which keys a query sees. Part of the C ABI; nearfield.h includes it. Rules are checked by the
 * functions that take a pattern. */
#ifndef NEARFIELD_PATTERNS_H
#define NEARFIELD_PATTERNS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NF_MAX_GRID_RANK 3

typedef enum nf_pattern_kind { NF_NEIGHBORHOOD = 1, NF_WINDOW = 2, NF_CURVE = 3 } nf_pattern_kind;

/* The head of every pattern. Functions take a pointer to it: nf_forward(&neighborhood.pattern, ...). */
typedef struct nf_pattern {
  size_t struct_size; /* size of the whole pattern struct, for versioning */
  int32_t kind;       /* nf_pattern_kind */
  int32_t rank;       /* grid axes: 1, 2 or 3 */
} nf_pattern;

typedef enum nf_boundary {
  NF_CLAMP = 0, /* the window shifts to stay inside: always kernel_size keys (neighborhood attention) */
  NF_WRAP = 1,  /* periodic axis */
  NF_CUT = 2    /* the window is truncated (sliding-window attention) */
} nf_boundary;

/* Neighborhood attention (Hassani et al., "Neighborhood Attention Transformer") with dilation, stride (Generalized
 * Neighborhood Attention) and causality per axis. Rules: kernel_size >= 1; 1 <= stride <= kernel_size; dilation >= 1,
 * and with wrap it divides the axis; causal and wrap exclude each other. A window larger than its axis sees it all. */
typedef struct nf_neighborhood {
  nf_pattern pattern;
  int64_t kernel_size[NF_MAX_GRID_RANK];
  int64_t stride[NF_MAX_GRID_RANK];
  int64_t dilation[NF_MAX_GRID_RANK];
  int32_t is_causal[NF_MAX_GRID_RANK];
  int32_t boundary[NF_MAX_GRID_RANK]; /* nf_boundary */
} nf_neighborhood;

/* A neighborhood of the given windows (rank of them) with stride 1, dilation 1, not causal, clamped. It checks nothing:
 * the call that uses it does. Inline, as nf_default_options is: a struct that the library returned by value would have
 * the library's size, not the caller's. From other languages zero the struct, then set struct_size and the fields. */
static inline nf_neighborhood nf_make_neighborhood(int32_t rank, const int64_t* kernel_size) {
  nf_neighborhood result;
  int32_t axis;
  memset(&result, 0, sizeof result);
  result.pattern.struct_size = sizeof result;
  result.pattern.kind = NF_NEIGHBORHOOD;
  result.pattern.rank = rank;
  for (axis = 0; axis < rank && axis < NF_MAX_GRID_RANK; ++axis) {
    result.kernel_size[axis] = kernel_size[axis];
    result.stride[axis] = 1;
    result.dilation[axis] = 1;
  }
  return result;
}

/* Window attention (Liu et al., "Swin Transformer"): each axis is cut into runs of `size` tokens, and a query sees the
 * keys of its own window. Token x of an axis is in run floor((x + shift) / size): the first run is short by the shift,
 * the last may be ragged, nothing wraps around. Rules: size >= 1; 0 <= shift < size. A size beyond the axis is all of
 * it. */
typedef struct nf_window {
  nf_pattern pattern;
  int64_t size[NF_MAX_GRID_RANK];
  int64_t shift[NF_MAX_GRID_RANK];
} nf_window;

/* Walks through all tokens of a grid, along which a pattern may be laid. */
typedef enum nf_order {
  NF_HILBERT = 1, /* the generalised Hilbert curve, for any sizes: adjacent positions are adjacent tokens, but for few
                   * steps on grids of odd sizes */
  NF_MORTON = 2,  /* Z-order: by the interleaved bits of the coordinates */
  NF_SERPENTINE = 3, /* lines to and fro, planes too */
  NF_ROW_MAJOR = 4
} nf_order;

typedef enum nf_curve_form {
  NF_CURVE_WINDOW = 1, /* runs of `size` positions: a query sees its own run (Hilbert window attention) */
  NF_CURVE_SLIDE = 2,  /* positions at most floor(size / 2) away, cut at the curve's ends (Hilbert slide attention) */
  NF_CURVE_NEIGHBORHOOD = 3 /* the `size` positions around it, shifted to stay on the curve (neighborhood attention) */
} nf_curve_form;

/* A pattern along an order of the grid's tokens ("Hilbert-Guided Block-Sparse Local Attention"). All tensors stay as
 * they are: the order says which token is at a position. A bias table has 2*e-1 entries for each axis of the grid,
 * where nf_bias_extents says e, for the pair's true offset key - query + e - 1. Dilation d splits the positions into d
 * residue classes that don't see each other. Causal: only keys up to the query's own position; a slide then is the last
 * 2*floor(size/2)+1 of them, a neighborhood the last `size`. Rules: size >= 1 (beyond the grid it is all of it); 0 <=
 * shift < size for a window, else 0; 1 <= stride <= size for a slide or neighborhood (groups of queries share a window,
 * as in nf_neighborhood), 1 for a window; dilation >= 1; fewer than 2^31 tokens. */
typedef struct nf_curve {
  nf_pattern pattern; /* rank: of the grid */
  int32_t order;      /* nf_order */
  int32_t form;       /* nf_curve_form */
  int64_t size;       /* positions: of a run, or of the window */
  int64_t shift;      /* window: position p is in run floor((p + shift) / size) */
  int64_t stride;
  int64_t dilation;
  int32_t is_causal;
  int32_t reserved; /* 0 */
} nf_curve;

/* Windows of the given sizes (rank of them), not shifted. As nf_make_neighborhood. */
static inline nf_window nf_make_window(int32_t rank, const int64_t* size) {
  nf_window result;
  int32_t axis;
  memset(&result, 0, sizeof result);
  result.pattern.struct_size = sizeof result;
  result.pattern.kind = NF_WINDOW;
  result.pattern.rank = rank;
  for (axis = 0; axis < rank && axis < NF_MAX_GRID_RANK; ++axis) result.size[axis] = size[axis];
  return result;
}

/* A form of the given size along an order of a grid of `rank` axes: shift 0, stride 1, dilation 1, not causal. As
 * nf_make_neighborhood. */
static inline nf_curve nf_make_curve(int32_t rank, int32_t order, int32_t form, int64_t size) {
  nf_curve result;
  memset(&result, 0, sizeof result);
  result.pattern.struct_size = sizeof result;
  result.pattern.kind = NF_CURVE;
  result.pattern.rank = rank;
  result.order = order;
  result.form = form;
  result.size = size;
  result.stride = 1;
  result.dilation = 1;
  return result;
}

#ifdef __cplusplus
}
#endif

#endif /* NEARFIELD_PATTERNS_H */
