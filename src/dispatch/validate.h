// The one place where arguments are checked: turns the C structs of nearfield.h into the internal problem, or throws
// Error(Status::invalid_argument) whose message names the argument, its value and the rule. Engines check nothing.
//
// What the views look like afterwards:
//   - Strides of dimensions of size 0 or 1 are normalised: 1 for the innermost channels, else 0. Channels of query,
//   key,
//     value, out, additional_* and their gradients are contiguous; logsumexp, dlogsumexp, key_mask, key_weights and
//     bias may have any strides.
//   - key_weights given as (*grid) get batch stride 0; their gradient too (its elements add up over the batch). With an
//     empty batch they still have memory.
//   - Absent arguments, M = 0 additional keys, and tensors without elements are null views; query, key, value and out
//     may be null only if the batch or the grid is empty.
//   - Every view spans at most kMaxSpan bytes and has at most kMaxSpan elements, so that element and byte offsets, sums
//     of a few of them included, fit into int64.
#pragma once

#include <cstdint>

#include "dispatch/memory.h"
#include "engine/problem.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

inline constexpr int64_t kMaxSpan = int64_t{1} << 60;
inline constexpr int64_t kMaxChannels = 512;  // of head_dim and head_dim_v
// Tokens on one axis, so that plans may count them in 32 bits.
inline constexpr int64_t kMaxAxis = (int64_t{1} << 31) - 1;
// kernel_size, stride (at most kernel_size) and dilation: window arithmetic adds and doubles them without a check.
inline constexpr int64_t kMaxWindow = int64_t{1} << 40;
// (query, key) pairs of one batch and head; exact in a double.
inline constexpr int64_t kMaxPairs = int64_t{1} << 53;

// For nf_forward. modifiers, options and logsumexp may be null. Reads the values of key_weights, which must not be
// negative, NaN or infinite, unless memory is unreadable.
Problem validate_forward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                         const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                         const nf_tensor* out, const nf_tensor* logsumexp, ForwardOutputs& outputs,
                         Memory memory = Memory::read);

// For nf_explain and nf_forward_workspace: memory is neither needed nor read. A data pointer that is null is replaced
// by a made-up address, so that a modifier that is present is seen to be.
Problem validate_inputs(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key, const nf_tensor* value,
                        const nf_modifiers* modifiers, const nf_options* options);

// Which gradients are asked for; their tensors are not looked at. modifiers may be null.
GradientsWanted validate_wanted(const nf_gradients* gradients, const nf_modifiers* modifiers);

// For nf_backward. modifiers, options, dlogsumexp and any tensor of gradients may be null.
Problem validate_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                          const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                          const nf_tensor* out, const nf_tensor* logsumexp, const nf_tensor* dout,
                          const nf_tensor* dlogsumexp, const nf_gradients* gradients, BackwardInputs& inputs,
                          Gradients& outputs, Memory memory = Memory::read);

}  // namespace nearfield::core
