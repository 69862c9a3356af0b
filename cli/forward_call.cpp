#include "forward_call.h"

#include <algorithm>

#include "io/tensor.h"

namespace nearfield::cli {
namespace {

// Elements [begin, begin + size) of one dimension.
Tensor narrow(Tensor tensor, int dimension, int64_t begin, int64_t size) {
  const int64_t width = static_cast<int64_t>(size_of(static_cast<nf_dtype>(tensor.dtype)));
  if (tensor.data != nullptr)
    tensor.data = static_cast<std::byte*>(tensor.data) + begin * tensor.strides[dimension] * width;
  tensor.sizes[dimension] = size;
  return tensor;
}

void narrow(std::optional<Tensor>& tensor, int dimension, int64_t begin, int64_t size) {
  if (tensor) tensor = narrow(*tensor, dimension, begin, size);
}

ForwardCall batch_range(ForwardCall call, int64_t begin, int64_t size) {
  for (Tensor* tensor : {&call.query, &call.key, &call.value, &call.out}) *tensor = narrow(*tensor, 0, begin, size);
  narrow(call.logsumexp, 0, begin, size);
  narrow(call.modifiers.additional_keys, 0, begin, size);
  narrow(call.modifiers.additional_values, 0, begin, size);
  narrow(call.modifiers.key_mask, 0, begin, size);
  // Weights of (*grid) alone serve every batch entry.
  if (call.modifiers.key_weights && call.modifiers.key_weights->rank == call.query.rank - 2)
    narrow(call.modifiers.key_weights, 0, begin, size);
  return call;
}

// Key/value heads [begin, begin + size) and the query heads that read them.
ForwardCall head_range(ForwardCall call, int64_t begin, int64_t size) {
  const int heads = call.query.rank - 2;
  const int64_t group = call.query.sizes[heads] / call.key.sizes[heads];
  for (Tensor* tensor : {&call.key, &call.value}) *tensor = narrow(*tensor, heads, begin, size);
  for (Tensor* tensor : {&call.query, &call.out}) *tensor = narrow(*tensor, heads, begin * group, size * group);
  narrow(call.logsumexp, heads, begin * group, size * group);
  narrow(call.modifiers.additional_keys, 2, begin, size);
  narrow(call.modifiers.additional_values, 2, begin, size);
  narrow(call.modifiers.bias, 0, begin * group, size * group);
  return call;
}

// [0, total) in `parts` ranges, none empty, whose sizes differ by one at most.
template <class Body>
void for_each_range(int64_t total, int64_t parts, Body&& body) {
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t begin = total * i / parts;
    body(begin, total * (i + 1) / parts - begin);
  }
}

}  // namespace

void ForwardCall::run() const { forward(head_of(pattern), query, key, value, out, logsumexp, options, modifiers); }

nf_explanation ForwardCall::explain() const {
  return nearfield::explain(head_of(pattern), query, key, value, options, modifiers);
}

double useful_flops(const ForwardCall& call, const nf_explanation& explanation) {
  const int rank = call.query.rank;
  double pairs = explanation.useful_pairs;
  if (call.modifiers.additional_keys) {
    double rows = static_cast<double>(call.modifiers.additional_keys->sizes[1]);
    for (int i = 0; i < rank - 1; ++i) rows *= static_cast<double>(call.query.sizes[i]);
    pairs += rows;
  }
  return 2 * pairs * static_cast<double>(call.query.sizes[rank - 1] + call.value.sizes[rank - 1]);
}

std::vector<ForwardCall> split(const ForwardCall& call, int64_t parts) {
  const int64_t batch = call.query.sizes[0];
  const int64_t heads_kv = call.key.sizes[call.query.rank - 2];
  if (parts <= 1 || batch == 0 || heads_kv == 0) return {call};
  std::vector<ForwardCall> calls;
  for_each_range(batch, std::min(batch, parts), [&](int64_t begin, int64_t size) {
    const ForwardCall range = batch_range(call, begin, size);
    for_each_range(heads_kv, std::clamp(parts / batch, int64_t{1}, heads_kv),
                   [&](int64_t head, int64_t heads) { calls.push_back(head_range(range, head, heads)); });
  });
  return calls;
}

}  // namespace nearfield::cli
