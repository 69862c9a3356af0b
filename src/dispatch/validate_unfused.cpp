#include "dispatch/validate_unfused.h"

#include <algorithm>

#include "base/error.h"
#include "dispatch/modifier_rules.h"
#include "dispatch/option_rules.h"
#include "dispatch/pattern_rules.h"
#include "dispatch/tensor_rules.h"
#include "dispatch/validate.h"
#include "plan/slots.h"

namespace nearfield::core {
namespace {

constexpr const char* kAsInWeights = "as in weights";
constexpr const char* kColumns = "the slots of nf_weight_slots and the additional keys";

constexpr DTypeRule value_dtype(DType value) { return {{value}, 1, ", as in value"}; }

// (batch, *grid, heads, ...)
DimRules rules_of(const Shape& shape, int64_t heads, const char* heads_name, const char* because) {
  DimRules rules;
  rules.add(exactly("batch", shape.batch, because));
  for (int a = 0; a < shape.rank; ++a) rules.add(exactly(kAxisNames[a], shape.grid[a], because));
  rules.add(heads < 0 ? between(heads_name, 1, kMaxAxis) : exactly(heads_name, heads, because));
  return rules;
}

// What is collected on the way, for the checks between tensors at the end.
struct Taken {
  const char* base;  // "as in query": where batch, grid and heads come from
  UnfusedProblem problem = {};
  double scale = 1;
  NamedView inputs[6] = {}, outputs[5] = {};
  int input_count = 0, output_count = 0;

  TensorView input(const char* name, const nf_tensor* tensor, const DimRules& dims, const DTypeRule& dtype,
                   Layout layout = Layout::contiguous_channels) {
    const TensorView view = take_tensor(name, tensor, dims, dtype, layout, Memory::read);
    inputs[input_count++] = {name, view};
    return view;
  }
  TensorView output(const char* name, const nf_tensor* tensor, const DimRules& dims, const DTypeRule& dtype,
                    Layout layout = Layout::contiguous_channels) {
    const TensorView view = take_tensor(name, tensor, dims, dtype, layout, Memory::read);
    outputs[output_count++] = {name, view};
    return view;
  }
  void check_memory() const { check_outputs(inputs, input_count, outputs, output_count); }

  Shape& shape() { return problem.shape; }
  DimRules near(int64_t channels, const char* name, const char* because) {
    DimRules rules = rules_of(shape(), shape().heads, "heads", base);
    rules.add(channels < 0 ? between(name, 1, kMaxChannels) : exactly(name, channels, because));
    return rules;
  }
  DimRules far(int64_t channels, const char* name, const char* because) {
    DimRules rules = rules_of(shape(), shape().heads_kv > 0 ? shape().heads_kv : -1, "heads_kv", base);
    rules.add(channels < 0 ? between(name, 1, kMaxChannels) : exactly(name, channels, because));
    return rules;
  }
  DimRules additional(int64_t count, int64_t channels, const char* name, const char* because) {
    DimRules rules;
    rules.add(exactly("batch", shape().batch, base));
    rules.add(count < 0 ? between("additional keys", 0, kMaxAxis)
                        : exactly("additional keys", count, "as in the forward"));
    rules.add(exactly("heads_kv", shape().heads_kv, because));
    rules.add(exactly(name, channels, because));
    return rules;
  }
  DimRules weights() {
    DimRules rules = rules_of(shape(), shape().heads, "heads", base);
    rules.add(exactly("slots", problem.columns(), kColumns));
    return rules;
  }
};

void require_tensor(const char* name, const nf_tensor* tensor) {
  if (tensor == nullptr) invalid_argument(name, ": must not be NULL");
}

void check_unfused_modifiers(const nf_modifiers* given) {
  if (given == nullptr) return;
  if (given->struct_size < sizeof(nf_modifiers))
    invalid_argument("modifiers.struct_size=", given->struct_size, ": must be at least ", sizeof(nf_modifiers));
  if (given->softcap != 0)
    invalid_argument("softcap=", given->softcap, ": must be 0: apply it to the weights of nf_qk");
  if (given->key_weights != nullptr)
    invalid_argument("key_weights: must be NULL: add their logarithms to the weights of nf_qk");
}

// Batch, grid and heads from a tensor whose rank is checked.
void take_shape(Shape& shape, int rank, const nf_tensor& tensor) {
  shape.rank = rank;
  shape.batch = tensor.sizes[0];
  for (int a = 0; a < rank; ++a) shape.grid[a] = tensor.sizes[1 + a];
  shape.heads = tensor.sizes[rank + 1];
}

DimRules rules_of_first(int rank, const char* last, int64_t most) {
  DimRules rules;
  rules.add(between("batch", 0, kMaxSpan));
  for (int a = 0; a < rank; ++a) rules.add(between(kAxisNames[a], 0, kMaxAxis));
  rules.add(between("heads", 1, kMaxAxis));
  rules.add(between(last, 0, most));
  return rules;
}

void take_heads_kv(Shape& shape, const char* name, const nf_tensor& tensor, const char* of) {
  shape.heads_kv = tensor.sizes[shape.rank + 1];
  if (shape.heads % shape.heads_kv != 0)
    invalid_argument(name, ".sizes[", shape.rank + 1, "]=", shape.heads_kv, " (heads_kv): must divide the ",
                     shape.heads, " heads of ", of);
}

void take_threads(Taken& taken, const nf_options* options, int64_t head_dim) {
  Problem problem;
  problem.shape.head_dim = head_dim;
  take_options(problem, options);
  if (options != nullptr && options->workspace != nullptr)
    invalid_argument("workspace: must be NULL: unfused operators take none");
  taken.scale = problem.scale;
  taken.problem.threading = problem.threading;
}

void take_mask(Taken& taken, const nf_modifiers* modifiers) {
  if (modifiers == nullptr || modifiers->key_mask == nullptr) return;
  DimRules rules;
  rules.add(exactly("batch", taken.shape().batch, taken.base));
  for (int a = 0; a < taken.shape().rank; ++a) rules.add(exactly(kAxisNames[a], taken.shape().grid[a], taken.base));
  taken.problem.key_mask =
      taken.input("key_mask", modifiers->key_mask, rules, {{DType::boolean}, 1, ""}, Layout::any_strides);
}

// What qk and its backward have in common. `call` gets query, key, additional keys and bias.
Taken take_qk(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key, const nf_modifiers* modifiers,
              const nf_options* options, PairsCall& call) {
  Taken taken{.base = kAsInQuery};
  const nf_pattern& given = check_pattern_head(pattern);
  check_unfused_modifiers(modifiers);
  require_tensor("query", query);
  require_tensor("key", key);
  DimRules of_query = rules_of_first(given.rank, "head_dim", kMaxChannels);
  of_query.dims[of_query.count - 1].least = 1;
  call.near = taken.input("query", query, of_query, {});
  take_shape(taken.shape(), given.rank, *query);
  const int64_t head_dim = query->sizes[given.rank + 2];
  const DType dtype = static_cast<DType>(query->dtype);
  const Pattern valid = validate_pattern(given, taken.shape());
  call.far = taken.input("key", key, taken.far(head_dim, "head_dim", kAsInQuery), same_dtype(dtype));
  take_heads_kv(taken.shape(), "key", *key, "query");
  if (modifiers != nullptr && modifiers->additional_keys != nullptr) {
    call.additional = taken.input("additional_keys", modifiers->additional_keys,
                                  taken.additional(-1, head_dim, "head_dim", "as in key"), same_dtype(dtype));
    taken.shape().additional = modifiers->additional_keys->sizes[1];
  }
  take_mask(taken, modifiers);
  take_threads(taken, options, head_dim);
  taken.problem = unfused_problem(valid, taken.shape(), taken.problem.key_mask, taken.problem.threading);
  if (modifiers != nullptr && modifiers->bias != nullptr)
    call.bias = taken.input("bias", modifiers->bias, rules_of_bias(taken.shape(), valid), parameter_dtype(dtype),
                            Layout::any_strides);
  call.scale = taken.scale;
  return taken;
}

// What av and its backward have in common. `call` gets weights, value and additional values.
Taken take_av(const nf_pattern* pattern, const nf_tensor* weights, const nf_tensor* value,
              const nf_modifiers* modifiers, const nf_options* options, GatherCall& call) {
  Taken taken{.base = kAsInWeights};
  const nf_pattern& given = check_pattern_head(pattern);
  check_unfused_modifiers(modifiers);
  require_tensor("weights", weights);
  require_tensor("value", value);
  take_tensor("weights", weights, rules_of_first(given.rank, "slots", kMaxSpan), {}, Layout::contiguous_channels,
              Memory::ignored);
  take_shape(taken.shape(), given.rank, *weights);
  const Pattern valid = validate_pattern(given, taken.shape());
  call.far = taken.input("value", value, taken.far(-1, "head_dim_v", ""), {});
  take_heads_kv(taken.shape(), "value", *value, "weights");
  const DType dtype = static_cast<DType>(value->dtype);
  if (modifiers != nullptr && modifiers->additional_values != nullptr) {
    call.additional = taken.input("additional_values", modifiers->additional_values,
                                  taken.additional(-1, value->sizes[given.rank + 2], "head_dim_v", "as in value"),
                                  value_dtype(dtype));
    taken.shape().additional = modifiers->additional_values->sizes[1];
  }
  take_mask(taken, modifiers);
  take_threads(taken, options, 1);
  taken.problem = unfused_problem(valid, taken.shape(), taken.problem.key_mask, taken.problem.threading);
  DTypeRule rule = parameter_dtype(dtype);
  if (rule.count == 1) rule = value_dtype(dtype);
  call.weights = taken.input("weights", weights, taken.weights(), rule);
  return taken;
}

template <class Given>
void check_head(const Given* gradients) {
  if (gradients == nullptr) invalid_argument("gradients: must not be NULL");
  if (gradients->struct_size < sizeof(Given))
    invalid_argument("gradients.struct_size=", gradients->struct_size, ": must be at least ", sizeof(Given));
}

void refuse_orphan(const char* name, const nf_tensor* gradient, bool has_tensor) {
  if (gradient != nullptr && !has_tensor) invalid_argument("gradients.", name, ": must be NULL where ", name, " is");
}

}  // namespace

UnfusedProblem unfused_problem(const Pattern& pattern, const Shape& shape, const TensorView& key_mask,
                               const Threading& threading, bool tight) {
  if (pattern.sphere)
    unsupported("pattern: explicit weights have no slots on the sphere, where every latitude has windows of its own");
  UnfusedProblem problem{.pattern = pattern, .shape = shape, .key_mask = key_mask, .threading = threading};
  slots_of(pattern, tight, problem.slots);
  int64_t volume = shape.additional;
  int64_t product = 1;
  for (int a = 0; a < pattern.rank; ++a) {
    if (problem.slots[a] > kMaxSpan / product)
      invalid_argument("kernel_size[", a, "]=", problem.slots[a],
                       ": must be smaller: explicit weights have at most 2^60 slots");
    product *= problem.slots[a];
  }
  volume += product;
  if (volume > kMaxSpan) invalid_argument("additional_keys: explicit weights must have at most 2^60 columns");
  return problem;
}

QkCall validate_qk(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                   const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* weights) {
  QkCall call;
  Taken taken = take_qk(pattern, query, key, modifiers, options, call.pairs);
  call.pairs.weights =
      taken.output("weights", weights, taken.weights(), parameter_dtype(static_cast<DType>(query->dtype)));
  taken.check_memory();
  call.problem = taken.problem;
  return call;
}

QkCall validate_qk_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                            const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* dweights,
                            const nf_qk_gradients* gradients) {
  check_head(gradients);
  QkCall call;
  Taken taken = take_qk(pattern, query, key, modifiers, options, call.pairs);
  const int64_t head_dim = query->sizes[taken.shape().rank + 2];
  const auto dtype = static_cast<DType>(query->dtype);
  const TensorView weights = taken.input("dweights", dweights, taken.weights(), parameter_dtype(dtype));
  call.dquery = {.weights = weights, .far = call.pairs.far, .additional = call.pairs.additional, .factor = taken.scale};
  call.dkey = {.weights = weights, .near = call.pairs.near, .factor = taken.scale};
  call.dbias = {.weights = weights};
  const nf_qk_gradients& g = *gradients;
  refuse_orphan("additional_keys", g.additional_keys, modifiers != nullptr && modifiers->additional_keys != nullptr);
  refuse_orphan("bias", g.bias, modifiers != nullptr && modifiers->bias != nullptr);
  if (g.query != nullptr)
    call.dquery.near =
        taken.output("gradients.query", g.query, taken.near(head_dim, "head_dim", kAsInQuery), same_dtype(dtype));
  if (g.key != nullptr)
    call.dkey.far =
        taken.output("gradients.key", g.key, taken.far(head_dim, "head_dim", kAsInQuery), same_dtype(dtype));
  if (g.additional_keys != nullptr)
    call.dkey.additional =
        taken.output("gradients.additional_keys", g.additional_keys,
                     taken.additional(taken.shape().additional, head_dim, "head_dim", "as in key"), same_dtype(dtype));
  if (g.bias != nullptr)
    call.dbias.bias = taken.output("gradients.bias", g.bias, rules_of_bias(taken.shape(), taken.problem.pattern),
                                   parameter_dtype(dtype), Layout::any_strides);
  taken.check_memory();
  call.problem = taken.problem;
  return call;
}

AvCall validate_av(const nf_pattern* pattern, const nf_tensor* weights, const nf_tensor* value,
                   const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* out) {
  AvCall call;
  Taken taken = take_av(pattern, weights, value, modifiers, options, call.out);
  const int64_t head_dim_v = value->sizes[taken.shape().rank + 2];
  call.out.near = taken.output("out", out, taken.near(head_dim_v, "head_dim_v", "as in value"),
                               value_dtype(static_cast<DType>(value->dtype)));
  taken.check_memory();
  call.problem = taken.problem;
  return call;
}

AvCall validate_av_backward(const nf_pattern* pattern, const nf_tensor* weights, const nf_tensor* value,
                            const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* dout,
                            const nf_av_gradients* gradients) {
  check_head(gradients);
  AvCall call;
  Taken taken = take_av(pattern, weights, value, modifiers, options, call.out);
  const int64_t head_dim_v = value->sizes[taken.shape().rank + 2];
  const auto dtype = static_cast<DType>(value->dtype);
  const TensorView near =
      taken.input("dout", dout, taken.near(head_dim_v, "head_dim_v", "as in value"), value_dtype(dtype));
  call.dweights = {.near = near, .far = call.out.far, .additional = call.out.additional};
  call.dvalue = {.weights = call.out.weights, .near = near};
  const nf_av_gradients& g = *gradients;
  refuse_orphan("additional_values", g.additional_values,
                modifiers != nullptr && modifiers->additional_values != nullptr);
  if (g.weights != nullptr) {
    DTypeRule rule = parameter_dtype(dtype);
    if (rule.count == 1) rule = value_dtype(dtype);
    call.dweights.weights = taken.output("gradients.weights", g.weights, taken.weights(), rule);
  }
  if (g.value != nullptr)
    call.dvalue.far = taken.output("gradients.value", g.value, taken.far(head_dim_v, "head_dim_v", "as in value"),
                                   value_dtype(dtype));
  if (g.additional_values != nullptr)
    call.dvalue.additional = taken.output(
        "gradients.additional_values", g.additional_values,
        taken.additional(taken.shape().additional, head_dim_v, "head_dim_v", "as in value"), value_dtype(dtype));
  taken.check_memory();
  call.problem = taken.problem;
  return call;
}

TensorView validate_weights(const Problem& problem, const ForwardOutputs& outputs, const nf_tensor* weights) {
  const Modifiers& m = problem.modifiers;
  if (m.softcap != 0) unsupported("softcap=", m.softcap, ": attention that leaves its weights takes none");
  if (m.key_weights.rank > 0) unsupported("key_weights: attention that leaves its weights takes none");
  const UnfusedProblem unfused = unfused_problem(problem.pattern, problem.shape, m.key_mask, problem.threading);
  DimRules rules = rules_of(problem.shape, problem.shape.heads, "heads", kAsInQuery);
  rules.add(exactly("slots", unfused.columns(), kColumns));
  const TensorView view = take_tensor("weights", weights, rules, parameter_dtype(problem.query.dtype),
                                      Layout::contiguous_channels, Memory::read);
  const NamedView inputs[] = {{"query", problem.query},
                              {"key", problem.key},
                              {"value", problem.value},
                              {"additional_keys", m.additional_keys},
                              {"additional_values", m.additional_values},
                              {"key_mask", m.key_mask},
                              {"bias", m.bias},
                              {"out", outputs.out},
                              {"logsumexp", outputs.logsumexp}};
  const NamedView output = {"weights", view};
  check_outputs(inputs, static_cast<int>(std::size(inputs)), &output, 1);
  return view;
}

}  // namespace nearfield::core
