// Validation for nf_merge and nf_merge_backward, as validate.h's for attention: the same errors, and the same views.
#pragma once

#include "engine/merge/merge.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

// options and logsumexp may be null.
MergeProblem validate_merge(int32_t count, const nf_merge_part* parts, const nf_options* options, const nf_tensor* out,
                            const nf_tensor* logsumexp, ForwardOutputs& outputs);

// options, dlogsumexp and any tensor of gradients[0..count) may be null. Fills wanted[0..count).
MergeProblem validate_merge_backward(int32_t count, const nf_merge_part* parts, const nf_options* options,
                                     const nf_tensor* dout, const nf_tensor* dlogsumexp, const nf_merge_part* gradients,
                                     MergePart& derivatives, MergePart* wanted);

}  // namespace nearfield::core
