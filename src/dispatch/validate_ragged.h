// Validation for nf_forward_ragged and nf_backward_ragged, as validate.h's for single calls: the same errors, and
// packed views with the same properties. A rule that one piece breaks names it: "grids[3][0]=7: ...".
//
// The result points to the caller's pattern, token_offsets and grids.
#pragma once

#include "dispatch/ragged.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

// modifiers, options and logsumexp may be null.
Ragged validate_forward_ragged(const nf_pattern* pattern, const nf_ragged* pieces, const nf_tensor* query,
                               const nf_tensor* key, const nf_tensor* value, const nf_modifiers* modifiers,
                               const nf_options* options, const nf_tensor* out, const nf_tensor* logsumexp,
                               ForwardOutputs& outputs);

// modifiers, options, dlogsumexp and any tensor of gradients may be null.
Ragged validate_backward_ragged(const nf_pattern* pattern, const nf_ragged* pieces, const nf_tensor* query,
                                const nf_tensor* key, const nf_tensor* value, const nf_modifiers* modifiers,
                                const nf_options* options, const nf_tensor* out, const nf_tensor* logsumexp,
                                const nf_tensor* dout, const nf_tensor* dlogsumexp, const nf_gradients* gradients,
                                BackwardInputs& inputs, Gradients& wanted);

}  // namespace nearfield::core
