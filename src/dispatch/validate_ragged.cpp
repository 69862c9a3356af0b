#include "dispatch/validate_ragged.h"

#include <algorithm>

#include "base/error.h"
#include "dispatch/modifier_rules.h"
#include "dispatch/option_rules.h"
#include "dispatch/pattern_rules.h"
#include "dispatch/piece_rules.h"
#include "dispatch/tensor_rules.h"
#include "dispatch/validate.h"

namespace nearfield::core {
namespace {

constexpr Layout kChannels = Layout::contiguous_channels, kAny = Layout::any_strides;

DimRules rules_of(std::initializer_list<DimRule> dims) {
  DimRules rules;
  for (const DimRule& dim : dims) rules.add(dim);
  return rules;
}

// The tensors of one call, under their names, for the checks between them at the end.
class Call {
 public:
  Ragged ragged;

  Call(const nf_pattern* pattern, const nf_ragged* pieces, const nf_tensor* query, const nf_tensor* key,
       const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options) {
    ragged.pattern = &check_pattern_head(pattern);
    if (pattern->kind == NF_SPHERE)
      invalid_argument("pattern.kind=4 (sphere): must be another: pieces have grids of their own, a sphere has one");
    if (pieces == nullptr) invalid_argument("ragged: must not be NULL");
    if (pieces->struct_size < sizeof(nf_ragged))
      invalid_argument("ragged.struct_size=", pieces->struct_size, ": must be at least ", sizeof(nf_ragged));
    take_query_key_value(pattern->rank, query, key, value);
    // What is wrong with the pattern whatever the grids; then what one of them does not allow.
    Shape no_tokens = shape();
    std::fill_n(no_tokens.grid, no_tokens.rank, 0);
    ragged.packed.pattern = validate_pattern(*ragged.pattern, no_tokens);
    take_pieces(ragged, *pieces, tokens_);
    if (modifiers != nullptr) take_modifiers(*modifiers);
    take_options(ragged.packed, options);
    if (options != nullptr && options->workspace != nullptr)
      invalid_argument("workspace: must be NULL: a ragged call allocates what its pieces need");
  }

  DType dtype() const { return ragged.packed.query.dtype; }

  TensorView take_input(const char* name, const nf_tensor* tensor, const DimRules& dims, const DTypeRule& rule,
                        Layout layout) {
    return keep(inputs_, input_count_, name, tensor, dims, rule, layout);
  }
  TensorView take_output(const char* name, const nf_tensor* tensor, const DimRules& dims, const DTypeRule& rule,
                         Layout layout) {
    return keep(outputs_, output_count_, name, tensor, dims, rule, layout);
  }
  // What needs the memory's addresses or contents, once all shapes are known to be right.
  void check_memory() const {
    check_outputs(inputs_, input_count_, outputs_, output_count_);
    check_weights("key_weights", ragged.packed.modifiers.key_weights);
  }

  DimRules rules_of_out() const { return rules_of({tokens(), heads(), head_dim_v()}); }
  DimRules rules_of_logsumexp() const { return rules_of({tokens(), heads()}); }
  Gradients take_gradients(const nf_gradients& given, const nf_modifiers* modifiers);

 private:
  Shape& shape() { return ragged.packed.shape; }
  const Shape& shape() const { return ragged.packed.shape; }
  DimRule tokens() const { return exactly("tokens", tokens_, kAsInQuery); }
  DimRule heads() const { return exactly("heads", shape().heads, kAsInQuery); }
  DimRule heads_kv() const { return exactly("heads_kv", shape().heads_kv, "as in key"); }
  DimRule head_dim() const { return exactly("head_dim", shape().head_dim, kAsInQuery); }
  DimRule head_dim_v() const { return exactly("head_dim_v", shape().head_dim_v, "as in value"); }
  DimRules rules_of_additional(const DimRule& additional, const DimRule& channels) const {
    return rules_of({exactly("pieces", ragged.count, "the count of ragged"), additional, heads_kv(), channels});
  }
  DimRule as_in_additional_keys() const {
    return exactly("additional keys", shape().additional, "as in additional_keys");
  }

  static TensorView keep(NamedView* views, int& count, const char* name, const nf_tensor* tensor, const DimRules& dims,
                         const DTypeRule& rule, Layout layout) {
    views[count] = {name, take_tensor(name, tensor, dims, rule, layout, Memory::read)};
    return views[count++].view;
  }

  void take_query_key_value(int rank, const nf_tensor* query, const nf_tensor* key, const nf_tensor* value);
  void take_modifiers(const nf_modifiers& given);

  int64_t tokens_ = 0;
  NamedView inputs_[16], outputs_[8];
  int input_count_ = 0, output_count_ = 0;
};

void Call::take_query_key_value(int rank, const nf_tensor* query, const nf_tensor* key, const nf_tensor* value) {
  // All three before any of their contents.
  if (query == nullptr) invalid_argument("query: must not be NULL");
  if (key == nullptr) invalid_argument("key: must not be NULL");
  if (value == nullptr) invalid_argument("value: must not be NULL");
  Problem& packed = ragged.packed;
  shape().rank = rank;
  shape().batch = 1;
  packed.query = take_input(
      "query", query,
      rules_of({between("tokens", 0, kMaxSpan), between("heads", 1, kMaxAxis), between("head_dim", 1, kMaxChannels)}),
      {}, kChannels);
  tokens_ = query->sizes[0];
  shape().heads = query->sizes[1];
  shape().head_dim = query->sizes[2];
  packed.key = take_input("key", key, rules_of({tokens(), between("heads_kv", 1, kMaxAxis), head_dim()}),
                          same_dtype(dtype()), kChannels);
  shape().heads_kv = key->sizes[1];
  if (shape().heads % shape().heads_kv != 0)
    invalid_argument("key.sizes[1]=", shape().heads_kv, " (heads_kv): must divide the ", shape().heads,
                     " heads of query");
  packed.value = take_input("value", value, rules_of({tokens(), heads_kv(), between("head_dim_v", 1, kMaxChannels)}),
                            same_dtype(dtype()), kChannels);
  shape().head_dim_v = value->sizes[2];
}

void Call::take_modifiers(const nf_modifiers& given) {
  check_modifiers_head(given);
  Modifiers& modifiers = ragged.packed.modifiers;
  modifiers.softcap = given.softcap;
  if (given.additional_keys != nullptr) {
    modifiers.additional_keys = take_input("additional_keys", given.additional_keys,
                                           rules_of_additional(between("additional keys", 0, kMaxAxis), head_dim()),
                                           same_dtype(dtype()), kChannels);
    shape().additional = given.additional_keys->sizes[1];
    modifiers.additional_values =
        take_input("additional_values", given.additional_values,
                   rules_of_additional(as_in_additional_keys(), head_dim_v()), same_dtype(dtype()), kChannels);
  }
  if (given.key_mask != nullptr)
    modifiers.key_mask = take_input("key_mask", given.key_mask, rules_of({tokens()}), {{DType::boolean}, 1, ""}, kAny);
  if (given.key_weights != nullptr)
    modifiers.key_weights =
        take_input("key_weights", given.key_weights, rules_of({tokens()}), parameter_dtype(dtype()), kAny);
  if (given.bias != nullptr && ragged.packed.pattern.order)
    invalid_argument("bias: must be NULL where the pattern lies along an order: each piece would need its own table");
  if (given.bias != nullptr)
    modifiers.bias =
        take_input("bias", given.bias, rules_of_bias(shape(), ragged.packed.pattern), parameter_dtype(dtype()), kAny);
}

// A gradient is wanted if it is given; it has the shape of its tensor.
Gradients Call::take_gradients(const nf_gradients& given, const nf_modifiers* modifiers) {
  refuse_orphans(given, modifiers);
  const DTypeRule same = same_dtype(dtype()), parameter = parameter_dtype(dtype());
  Gradients g;
  const auto take = [&](TensorView& view, const char* name, const nf_tensor* tensor, const DimRules& dims,
                        const DTypeRule& rule, Layout layout) {
    if (tensor != nullptr) view = take_output(name, tensor, dims, rule, layout);
  };
  take(g.query, "gradients.query", given.query, rules_of({tokens(), heads(), head_dim()}), same, kChannels);
  take(g.key, "gradients.key", given.key, rules_of({tokens(), heads_kv(), head_dim()}), same, kChannels);
  take(g.value, "gradients.value", given.value, rules_of({tokens(), heads_kv(), head_dim_v()}), same, kChannels);
  take(g.additional_keys, "gradients.additional_keys", given.additional_keys,
       rules_of_additional(as_in_additional_keys(), head_dim()), same, kChannels);
  take(g.additional_values, "gradients.additional_values", given.additional_values,
       rules_of_additional(as_in_additional_keys(), head_dim_v()), same, kChannels);
  take(g.key_weights, "gradients.key_weights", given.key_weights, rules_of({tokens()}), parameter, kAny);
  take(g.bias, "gradients.bias", given.bias, rules_of_bias(shape(), ragged.packed.pattern), parameter, kAny);
  return g;
}

}  // namespace

Ragged validate_forward_ragged(const nf_pattern* pattern, const nf_ragged* pieces, const nf_tensor* query,
                               const nf_tensor* key, const nf_tensor* value, const nf_modifiers* modifiers,
                               const nf_options* options, const nf_tensor* out, const nf_tensor* logsumexp,
                               ForwardOutputs& outputs) {
  Call call(pattern, pieces, query, key, value, modifiers, options);
  outputs.out = call.take_output("out", out, call.rules_of_out(), same_dtype(call.dtype()), kChannels);
  outputs.logsumexp = {};
  if (logsumexp != nullptr)
    outputs.logsumexp =
        call.take_output("logsumexp", logsumexp, call.rules_of_logsumexp(), accumulator_dtype(call.dtype()), kAny);
  call.check_memory();
  return call.ragged;
}

Ragged validate_backward_ragged(const nf_pattern* pattern, const nf_ragged* pieces, const nf_tensor* query,
                                const nf_tensor* key, const nf_tensor* value, const nf_modifiers* modifiers,
                                const nf_options* options, const nf_tensor* out, const nf_tensor* logsumexp,
                                const nf_tensor* dout, const nf_tensor* dlogsumexp, const nf_gradients* gradients,
                                BackwardInputs& inputs, Gradients& wanted) {
  check_gradients_head(gradients);
  Call call(pattern, pieces, query, key, value, modifiers, options);
  const DTypeRule same = same_dtype(call.dtype()), accumulator = accumulator_dtype(call.dtype());
  inputs.out = call.take_input("out", out, call.rules_of_out(), same, kChannels);
  inputs.logsumexp = call.take_input("logsumexp", logsumexp, call.rules_of_logsumexp(), accumulator, kAny);
  inputs.dout = call.take_input("dout", dout, call.rules_of_out(), same, kChannels);
  inputs.dlogsumexp = {};
  if (dlogsumexp != nullptr)
    inputs.dlogsumexp = call.take_input("dlogsumexp", dlogsumexp, call.rules_of_logsumexp(), accumulator, kAny);
  wanted = call.take_gradients(*gradients, modifiers);
  call.check_memory();
  return call.ragged;
}

}  // namespace nearfield::core
