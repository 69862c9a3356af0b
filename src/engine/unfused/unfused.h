// Attention with explicit weights, as engines receive it. The operators and their gradients are three products of a
// tensor of queries ("near"), one of keys ("far") and one of weights, and a sum:
//
//   pairs     w[i, s] = scale * near[i] . far[key(i, s)] (+ bias)     qk; the gradient of av's weights
//   gather    near[i] = factor * sum over s of w[i, s] far[key(i, s)]   av; the gradient of qk's query
//   scatter   far[j] = factor * sum over (i, s) with key(i, s) = j of w[i, s] near[i]
//                                                                       the gradients of qk's key and av's value
//   bias      dbias[h, entry(i, s)] = sum of w[i, s]                    the gradient of qk's bias
// (PN, NN and IN of Hassani et al., "Faster Neighborhood Attention", 2024.)
//
//   near (batch, *grid, heads, channels)   far (batch, *grid, heads_kv, channels)   additional (batch, M, heads_kv,
//   ...) weights (batch, *grid, heads, columns): slots row-major over the pattern's axes, then M additional keys
//
// A slot is hidden if the window does not fill it or its key is masked: never read, and `hidden` where it is written.
#pragma once

#include <cstdint>

#include "engine/problem.h"

namespace nearfield::core {

struct UnfusedProblem {
  Pattern pattern = {};
  Shape shape = {};                         // its head dims have no meaning: tensors have channels of their own
  int64_t slots[kMaxGridRank] = {1, 1, 1};  // of the pattern's axes
  TensorView key_mask = {};                 // (batch, *grid) or null
  Threading threading = {};

  int64_t volume() const { return slots[0] * slots[1] * slots[2]; }
  int64_t columns() const { return volume() + shape.additional; }
};

struct PairsCall {
  TensorView near = {}, far = {}, additional = {};  // additional: null without any
  TensorView bias = {};                             // (heads, 2e-1 per axis of the grid) or null
  double scale = 1;
  double hidden = 0;
  TensorView weights = {};  // written
};

struct GatherCall {
  TensorView weights = {}, far = {}, additional = {};
  double factor = 1;
  TensorView near = {};  // written
};

struct ScatterCall {
  TensorView weights = {}, near = {};
  double factor = 1;
  TensorView far = {}, additional = {};  // written; null: not wanted
};

struct BiasCall {
  TensorView weights = {};
  TensorView bias = {};  // written
};

}  // namespace nearfield::core
