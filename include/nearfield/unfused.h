/* Unfused operators: attention with explicit weights, for those who want to look at them, change them, or have a
 * softmax of their own. nearfield.h includes this header.
 *
 *   nf_qk   weights = scale * query.key (+ bias)        then a softmax, a mask, whatever: over the last dimension
 *   nf_av   out = sum over the window of weight * value
 *
 *   weights (batch, *grid, heads, slots + M)   dtype of query, or that of logsumexp; the last dimension contiguous
 *
 * A query's slots are row-major over the axes, nf_weight_slots() of them on each: slot j has the j-th key of the
 * query's window on the axis, as in nf_windows; where wrap lets it see its whole residue class, the class's key j. The
 * M columns after them belong to the additional keys. A slot is hidden where a window is shorter than the slots (cut,
 * causal, few tokens in a class) or the key is masked: nf_qk writes -infinity there, nf_av does not read it, whatever
 * it holds, and gradients are 0. Along an order there is one axis of slots. On the sphere, where every latitude has
 * windows of its own, there are none: an error.
 *
 * Weights take tokens * heads * (slots + M) elements: for wide windows far more than all other tensors together, which
 * nf_forward never needs. Engines: NF_ENGINE_GEMM (NF_ENGINE_AUTO is the faster of it and naive for the pattern),
 * NF_ENGINE_NAIVE and NF_ENGINE_REFERENCE. options->scale is nf_qk's, with the default of nf_forward; nf_av has none.
 * options->workspace must be NULL. Results are the same bits for any number of threads.
 */
#ifndef NEARFIELD_UNFUSED_H
#define NEARFIELD_UNFUSED_H

#include "nearfield/nearfield.h"

#ifdef __cplusplus
extern "C" {
#endif

/* slots[axis], for each axis of the grid: the kernel_size of a neighborhood, the size of a window. Along an order
 * slots[0] is of the positions, the others are 1. */
NF_API nf_status nf_weight_slots(const nf_pattern* pattern, const int64_t* grid, int64_t* slots);

/* weights = scale * query.key + bias. Of modifiers, which may be NULL, additional_keys, key_mask and bias are used;
 * additional_values may be there for nf_av; key_weights and softcap must be absent, since weights are explicit: add the
 * logarithms, apply the cap to them. */
NF_API nf_status nf_qk(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                       const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* weights);

/* Where the gradients go; each NULL is neither computed nor written. */
typedef struct nf_qk_gradients {
  size_t struct_size;
  const nf_tensor* query;
  const nf_tensor* key;
  const nf_tensor* additional_keys;
  const nf_tensor* bias; /* float32 (float64 with float64 query) or of the query's dtype */
} nf_qk_gradients;

/* Gradients of nf_qk from those of its weights. What dweights holds in hidden slots is not read. */
NF_API nf_status nf_qk_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* dweights,
                                const nf_qk_gradients* gradients);

/* out (batch, *grid, heads, head_dim_v) = sum over slots of weights * value, and over M of weights *
 * additional_values. weights and out have any heads that value's heads_kv divides; dtypes are value's (weights may be
 * float32 with 16-bit values). Of modifiers, which may be NULL, additional_values and key_mask are used;
 * additional_keys and bias may be there for nf_qk. */
NF_API nf_status nf_av(const nf_pattern* pattern, const nf_tensor* weights, const nf_tensor* value,
                       const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* out);

typedef struct nf_av_gradients {
  size_t struct_size;
  const nf_tensor* weights; /* 0 in hidden slots */
  const nf_tensor* value;
  const nf_tensor* additional_values;
} nf_av_gradients;

/* Gradients of nf_av from that of its out. */
NF_API nf_status nf_av_backward(const nf_pattern* pattern, const nf_tensor* weights, const nf_tensor* value,
                                const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* dout,
                                const nf_av_gradients* gradients);

/* nf_forward that leaves its attention weights, too: softmax of the logits, 0 in hidden slots. Engines as above; with
 * NF_ENGINE_GEMM, nf_explain and nf_forward_workspace say what memory it takes where weights are not of logsumexp's
 * dtype (else they are their own workspace). logsumexp may be NULL. key_weights and softcap must be absent. */
NF_API nf_status nf_forward_weights(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                    const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                                    const nf_tensor* out, const nf_tensor* logsumexp, const nf_tensor* weights);

#ifdef __cplusplus
}
#endif

#endif /* NEARFIELD_UNFUSED_H */
