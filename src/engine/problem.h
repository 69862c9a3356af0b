// One attention problem, as engines receive it: validated views, nothing left to check.
//
// Grid tensors are (batch, *grid, heads, channels); an engine sees one (batch, head) as `rank` grid strides plus a
// base. All strides are in elements.
#pragma once

#include <cstdint>

#include "base/tensor_view.h"
#include "base/thread_pool.h"
#include "pattern/pattern.h"

namespace nearfield::core {

struct Shape {
  int rank = 0;  // of the grid: 1, 2 or 3
  int64_t batch = 0;
  int64_t grid[kMaxGridRank] = {1, 1, 1};  // of queries; of keys it is the key tensor's
  int64_t heads = 0, heads_kv = 0;
  int64_t head_dim = 0, head_dim_v = 0;
  int64_t additional = 0;  // M, additional keys

  int64_t tokens() const { return grid[0] * grid[1] * grid[2]; }
  // Query head h reads key/value head h * heads_kv / heads.
  int64_t kv_head(int64_t head) const { return head * heads_kv / heads; }
};

// Absent ones are null views.
struct Modifiers {
  TensorView additional_keys;    // (batch, M, heads_kv, head_dim)
  TensorView additional_values;  // (batch, M, heads_kv, head_dim_v)
  TensorView key_mask;           // (batch, *grid), boolean
  TensorView key_weights;        // (batch, *grid); batch stride 0 if given as (*grid)
  TensorView bias;               // (heads, 2k-1 per axis)
  double softcap = 0;            // 0: none
  bool any() const { return additional_keys || key_mask || key_weights || bias || softcap != 0; }
};

struct Problem {
  Pattern pattern;
  Shape shape;
  TensorView query, key, value;
  Modifiers modifiers;
  double scale = 1;
  Threading threading;

  // Keys of one image; as many as queries but on the sphere, where the two grids may differ.
  int64_t key_tokens() const {
    int64_t tokens = 1;
    for (int a = 0; a < shape.rank; ++a) tokens *= key.sizes[a + 1];
    return tokens;
  }
};

struct ForwardOutputs {
  TensorView out;        // (batch, *grid, heads, head_dim_v)
  TensorView logsumexp;  // (batch, *grid, heads) or null
};

struct BackwardInputs {
  TensorView out, logsumexp;    // of the forward
  TensorView dout, dlogsumexp;  // dlogsumexp may be null
};

// Null views are not computed.
struct Gradients {
  TensorView query, key, value, additional_keys, additional_values, key_weights, bias;
};

// Which gradients a backward computes; none for a forward.
struct GradientsWanted {
  bool query = false, key = false, value = false, additional_keys = false, additional_values = false,
       key_weights = false, bias = false;
  bool any() const { return query || key || value || additional_keys || additional_values || key_weights || bias; }
  // Whether any needs the gradient of the logits: values' gradients do not.
  bool scores() const { return query || key || additional_keys || key_weights || bias; }
  bool operator==(const GradientsWanted&) const = default;
};
inline GradientsWanted wanted_of(const Gradients& g) {
  return {g.query.rank > 0,
          g.key.rank > 0,
          g.value.rank > 0,
          g.additional_keys.rank > 0,
          g.additional_values.rank > 0,
          g.key_weights.rank > 0,
          g.bias.rank > 0};
}

}  // namespace nearfield::core
