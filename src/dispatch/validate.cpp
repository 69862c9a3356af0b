#include "dispatch/validate.h"

#include <cmath>

#include "base/error.h"
#include "dispatch/modifier_rules.h"
#include "dispatch/option_rules.h"
#include "dispatch/pattern_rules.h"
#include "dispatch/tensor_rules.h"

namespace nearfield::core {
namespace {

// ---- query, key and value ----------------------------------------------------------------------------------------

// (batch, *grid) with the query's sizes, to which heads and channels may be added.
DimRules batch_and_grid(const Shape& shape) {
  DimRules rules;
  rules.add(exactly("batch", shape.batch, kAsInQuery));
  for (int a = 0; a < shape.rank; ++a) rules.add(exactly(kAxisNames[a], shape.grid[a], kAsInQuery));
  return rules;
}

// The grid of keys, and where it comes from.
struct KeyGrid {
  int64_t sizes[kMaxGridRank] = {1, 1, 1};
  const char* because = kAsInQuery;

  KeyGrid() = default;
  KeyGrid(const nf_pattern& pattern, const Shape& shape)
      : because(pattern.kind == NF_SPHERE ? "as the pattern says" : kAsInQuery) {
    key_grid_of(pattern, shape, sizes);
  }
  void add_to(DimRules& rules, int rank) const {
    for (int a = 0; a < rank; ++a) rules.add(exactly(kAxisNames[a], sizes[a], because));
  }
  DimRules with_batch(const Shape& shape) const {
    DimRules rules;
    rules.add(exactly("batch", shape.batch, kAsInQuery));
    add_to(rules, shape.rank);
    return rules;
  }
};

DimRules rules_of_query(int grid_rank) {
  DimRules rules;
  rules.add(between("batch", 0, kMaxSpan));
  for (int a = 0; a < grid_rank; ++a) rules.add(between(kAxisNames[a], 0, kMaxAxis));
  rules.add(between("heads", 1, kMaxAxis));
  rules.add(between("head_dim", 1, kMaxChannels));
  return rules;
}

DimRules rules_of_query_gradient(const Shape& shape) {
  DimRules rules = batch_and_grid(shape);
  rules.add(exactly("heads", shape.heads, kAsInQuery));
  rules.add(exactly("head_dim", shape.head_dim, kAsInQuery));
  return rules;
}

// Of key and its gradient: heads_kv is 0 if still unknown.
DimRules rules_of_key(const Shape& shape, const KeyGrid& keys, int64_t heads_kv) {
  DimRules rules = keys.with_batch(shape);
  rules.add(heads_kv == 0 ? between("heads_kv", 1, kMaxAxis) : exactly("heads_kv", heads_kv, "as in key"));
  rules.add(exactly("head_dim", shape.head_dim, kAsInQuery));
  return rules;
}

// Of value and its gradient: head_dim_v is 0 if still unknown.
DimRules rules_of_value(const Shape& shape, const KeyGrid& keys, int64_t head_dim_v) {
  DimRules rules = keys.with_batch(shape);
  rules.add(exactly("heads_kv", shape.heads_kv, "as in key"));
  rules.add(head_dim_v == 0 ? between("head_dim_v", 1, kMaxChannels)
                            : exactly("head_dim_v", head_dim_v, "as in value"));
  return rules;
}

DimRules rules_of_out(const Shape& shape) {
  DimRules rules = batch_and_grid(shape);
  rules.add(exactly("heads", shape.heads, kAsInQuery));
  rules.add(exactly("head_dim_v", shape.head_dim_v, "as in value"));
  return rules;
}

DimRules rules_of_logsumexp(const Shape& shape) {
  DimRules rules = batch_and_grid(shape);
  rules.add(exactly("heads", shape.heads, kAsInQuery));
  return rules;
}

// What was given where, for the checks between arguments at the end.
struct Arguments {
  Problem problem;
  KeyGrid keys;
  Memory memory = Memory::read;
  TensorView key_weights;               // as given, before its batch is added
  const nf_options* options = nullptr;  // checked
  NamedView views[16];                  // inputs
  int count = 0;

  DType dtype() const { return problem.query.dtype; }
  TensorView take(const char* name, const nf_tensor* tensor, const DimRules& dims, const DTypeRule& rule,
                  Layout layout) {
    const TensorView view = take_tensor(name, tensor, dims, rule, layout, memory);
    views[count++] = {name, view};
    return view;
  }
};

void take_query_key_value(Arguments& a, const nf_pattern& pattern, const nf_tensor* query, const nf_tensor* key,
                          const nf_tensor* value) {
  const int grid_rank = pattern.rank;
  // All three before any of their contents.
  if (query == nullptr) invalid_argument("query: must not be NULL");
  if (key == nullptr) invalid_argument("key: must not be NULL");
  if (value == nullptr) invalid_argument("value: must not be NULL");
  Shape& shape = a.problem.shape;
  shape.rank = grid_rank;
  a.problem.query = a.take("query", query, rules_of_query(grid_rank), {}, Layout::contiguous_channels);
  shape.batch = query->sizes[0];
  for (int axis = 0; axis < grid_rank; ++axis) shape.grid[axis] = query->sizes[1 + axis];
  shape.heads = query->sizes[grid_rank + 1];
  shape.head_dim = query->sizes[grid_rank + 2];
  if (pattern.kind == NF_SPHERE) validate_pattern(pattern, shape);  // keys are measured by it
  a.keys = KeyGrid(pattern, shape);

  a.problem.key =
      a.take("key", key, rules_of_key(shape, a.keys, 0), same_dtype(a.dtype()), Layout::contiguous_channels);
  shape.heads_kv = key->sizes[grid_rank + 1];
  if (shape.heads % shape.heads_kv != 0)
    invalid_argument("key.sizes[", grid_rank + 1, "]=", shape.heads_kv, " (heads_kv): must divide the ", shape.heads,
                     " heads of query");

  a.problem.value =
      a.take("value", value, rules_of_value(shape, a.keys, 0), same_dtype(a.dtype()), Layout::contiguous_channels);
  shape.head_dim_v = value->sizes[grid_rank + 2];
}

// ---- modifiers ---------------------------------------------------------------------------------------------------

DimRules rules_of_additional(const Shape& shape, bool of_keys, int64_t count) {
  DimRules rules;
  rules.add(exactly("batch", shape.batch, kAsInQuery));
  rules.add(count < 0 ? between("additional keys", 0, kMaxAxis)
                      : exactly("additional keys", count, "as in additional_keys"));
  rules.add(exactly("heads_kv", shape.heads_kv, "as in key"));
  rules.add(of_keys ? exactly("head_dim", shape.head_dim, kAsInQuery)
                    : exactly("head_dim_v", shape.head_dim_v, "as in value"));
  return rules;
}

DimRules rules_of_grid(const Shape& shape, const KeyGrid& keys) {
  DimRules rules;
  keys.add_to(rules, shape.rank);
  return rules;
}

// (*grid) as (batch, *grid).
TensorView with_batch(TensorView view, const Shape& shape) {
  if (view.rank == shape.rank + 1) return view;
  for (int d = view.rank; d > 0; --d) {
    view.sizes[d] = view.sizes[d - 1];
    view.strides[d] = view.strides[d - 1];
  }
  ++view.rank;
  view.sizes[0] = shape.batch;
  view.strides[0] = 0;
  return view;
}

void take_key_weights(Arguments& a, const nf_tensor& weights) {
  const Shape& shape = a.problem.shape;
  if (weights.rank != shape.rank && weights.rank != shape.rank + 1)
    invalid_argument("key_weights.rank=", weights.rank, ": must be ", shape.rank, " (*grid) or ", shape.rank + 1,
                     " (batch, *grid)");
  a.key_weights = a.take("key_weights", &weights,
                         weights.rank == shape.rank ? rules_of_grid(shape, a.keys) : a.keys.with_batch(shape),
                         parameter_dtype(a.dtype()), Layout::any_strides);
  a.problem.modifiers.key_weights = with_batch(a.key_weights, shape);
}

void take_modifiers(Arguments& a, const nf_modifiers* given) {
  if (given == nullptr) return;
  check_modifiers_head(*given);
  Shape& shape = a.problem.shape;
  Modifiers& modifiers = a.problem.modifiers;
  modifiers.softcap = given->softcap;
  if (given->additional_keys != nullptr) {
    modifiers.additional_keys = a.take("additional_keys", given->additional_keys, rules_of_additional(shape, true, -1),
                                       same_dtype(a.dtype()), Layout::contiguous_channels);
    shape.additional = given->additional_keys->sizes[1];
    modifiers.additional_values =
        a.take("additional_values", given->additional_values, rules_of_additional(shape, false, shape.additional),
               same_dtype(a.dtype()), Layout::contiguous_channels);
  }
  if (given->key_mask != nullptr)
    modifiers.key_mask =
        a.take("key_mask", given->key_mask, a.keys.with_batch(shape), {{DType::boolean}, 1, ""}, Layout::any_strides);
  if (given->key_weights != nullptr) take_key_weights(a, *given->key_weights);
  if (given->bias != nullptr && a.problem.pattern.sphere)
    invalid_argument(
        "bias: must be NULL on the sphere, where no two latitudes have the same offsets: key_weights serve");
  if (given->bias != nullptr)
    modifiers.bias = a.take("bias", given->bias, rules_of_bias(shape, a.problem.pattern), parameter_dtype(a.dtype()),
                            Layout::any_strides);
}

Arguments take_inputs(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key, const nf_tensor* value,
                      const nf_modifiers* modifiers, const nf_options* options, Memory memory) {
  Arguments a;
  a.memory = memory;
  const nf_pattern& given = check_pattern_head(pattern);
  take_query_key_value(a, given, query, key, value);
  a.problem.pattern = validate_pattern(given, a.problem.shape);
  take_modifiers(a, modifiers);
  take_options(a.problem, options);
  a.options = options;
  return a;
}

// ---- what comes out ------------------------------------------------------------------------------------------------

// Outputs, for the checks between arguments at the end.
struct Outputs {
  Arguments& inputs;
  NamedView views[7];
  int count = 0;

  TensorView take(const char* name, const nf_tensor* tensor, const DimRules& dims, const DTypeRule& rule,
                  Layout layout) {
    const TensorView view = take_tensor(name, tensor, dims, rule, layout, inputs.memory);
    views[count++] = {name, view};
    return view;
  }
  // What needs the memory's addresses or contents, once all shapes are known to be right.
  void check_memory() const {
    check_outputs(inputs.views, inputs.count, views, count);
    if (const nf_options* o = inputs.options) {
      check_workspace(o->workspace, o->workspace_size, inputs.views, inputs.count);
      check_workspace(o->workspace, o->workspace_size, views, count);
    }
    if (inputs.memory == Memory::read) check_weights("key_weights", inputs.key_weights);
  }
};

// A gradient is wanted if it is given; it has the shape of its tensor.
Gradients take_gradients(Outputs& o, const nf_modifiers* modifiers, const nf_gradients& given) {
  refuse_orphans(given, modifiers);
  const Shape& shape = o.inputs.problem.shape;
  const DTypeRule same = same_dtype(o.inputs.dtype()), parameter = parameter_dtype(o.inputs.dtype());
  constexpr Layout kChannels = Layout::contiguous_channels;
  Gradients g;
  if (given.query) g.query = o.take("gradients.query", given.query, rules_of_query_gradient(shape), same, kChannels);
  if (given.key)
    g.key = o.take("gradients.key", given.key, rules_of_key(shape, o.inputs.keys, shape.heads_kv), same, kChannels);
  if (given.value)
    g.value =
        o.take("gradients.value", given.value, rules_of_value(shape, o.inputs.keys, shape.head_dim_v), same, kChannels);
  if (given.additional_keys)
    g.additional_keys = o.take("gradients.additional_keys", given.additional_keys,
                               rules_of_additional(shape, true, shape.additional), same, kChannels);
  if (given.additional_values)
    g.additional_values = o.take("gradients.additional_values", given.additional_values,
                                 rules_of_additional(shape, false, shape.additional), same, kChannels);
  if (given.key_weights) {
    const bool has_batch = o.inputs.key_weights.rank == shape.rank + 1;
    g.key_weights = with_batch(o.take("gradients.key_weights", given.key_weights,
                                      has_batch ? o.inputs.keys.with_batch(shape) : rules_of_grid(shape, o.inputs.keys),
                                      parameter, Layout::any_strides),
                               shape);
  }
  if (given.bias)
    g.bias = o.take("gradients.bias", given.bias, rules_of_bias(shape, o.inputs.problem.pattern), parameter,
                    Layout::any_strides);
  return g;
}

}  // namespace

Problem validate_forward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                         const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                         const nf_tensor* out, const nf_tensor* logsumexp, ForwardOutputs& outputs, Memory memory) {
  Arguments a = take_inputs(pattern, query, key, value, modifiers, options, memory);
  const Shape& shape = a.problem.shape;
  Outputs o{.inputs = a, .views = {}};
  outputs.out = o.take("out", out, rules_of_out(shape), same_dtype(a.dtype()), Layout::contiguous_channels);
  outputs.logsumexp = {};
  if (logsumexp != nullptr)
    outputs.logsumexp =
        o.take("logsumexp", logsumexp, rules_of_logsumexp(shape), accumulator_dtype(a.dtype()), Layout::any_strides);
  o.check_memory();
  return a.problem;
}

Problem validate_inputs(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key, const nf_tensor* value,
                        const nf_modifiers* modifiers, const nf_options* options) {
  return take_inputs(pattern, query, key, value, modifiers, options, Memory::ignored).problem;
}

GradientsWanted validate_wanted(const nf_gradients* gradients, const nf_modifiers* modifiers) {
  check_gradients_head(gradients);
  refuse_orphans(*gradients, modifiers);
  const nf_gradients& g = *gradients;
  return {g.query != nullptr,
          g.key != nullptr,
          g.value != nullptr,
          g.additional_keys != nullptr,
          g.additional_values != nullptr,
          g.key_weights != nullptr,
          g.bias != nullptr};
}

Problem validate_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                          const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                          const nf_tensor* out, const nf_tensor* logsumexp, const nf_tensor* dout,
                          const nf_tensor* dlogsumexp, const nf_gradients* gradients, BackwardInputs& inputs,
                          Gradients& outputs, Memory memory) {
  check_gradients_head(gradients);
  Arguments a = take_inputs(pattern, query, key, value, modifiers, options, memory);
  const Shape& shape = a.problem.shape;
  const DTypeRule same = same_dtype(a.dtype()), accumulator = accumulator_dtype(a.dtype());
  inputs.out = a.take("out", out, rules_of_out(shape), same, Layout::contiguous_channels);
  inputs.logsumexp = a.take("logsumexp", logsumexp, rules_of_logsumexp(shape), accumulator, Layout::any_strides);
  inputs.dout = a.take("dout", dout, rules_of_out(shape), same, Layout::contiguous_channels);
  inputs.dlogsumexp = {};
  if (dlogsumexp != nullptr)
    inputs.dlogsumexp = a.take("dlogsumexp", dlogsumexp, rules_of_logsumexp(shape), accumulator, Layout::any_strides);
  Outputs o{.inputs = a, .views = {}};
  outputs = take_gradients(o, modifiers, *gradients);
  o.check_memory();
  return a.problem;
}

}  // namespace nearfield::core
