// Pieces of different sizes in one call: one Problem for each, through the same dispatch as any other.
//
// Packed tensors hold the pieces one after the other: (tokens, heads, channels), logsumexp (tokens, heads), key_mask
// and key_weights (tokens), additional keys and values (count, M, heads_kv, channels). A piece's results are the same
// bits as those of a call with this piece alone; the bias gradient is the sum of the pieces' in their order, in
// float64.
#pragma once

#include <cstdint>

#include "dispatch/dispatch.h"
#include "engine/problem.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

// A validated ragged call.
struct Ragged {
  const nf_pattern* pattern = nullptr;
  int64_t count = 0;
  const int64_t* token_offsets = nullptr;  // [count + 1]
  const int64_t* grids = nullptr;          // [count][rank]
  Problem packed;  // views, scale and threading of the call; of its shape all but the grid, of its pattern the rank
};

// Of outputs, inputs and gradients the packed views. Each throws Error as its dispatch_... does; outputs of other
// pieces may then have been written.
void dispatch_forward_ragged(const Ragged& ragged, const ForwardOutputs& outputs, const Request& request);
void dispatch_backward_ragged(const Ragged& ragged, const BackwardInputs& inputs, const Gradients& gradients,
                              const Request& request);

}  // namespace nearfield::core
