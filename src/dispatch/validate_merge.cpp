#include "dispatch/validate_merge.h"

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dispatch/option_rules.h"
#include "dispatch/tensor_rules.h"
#include "dispatch/validate.h"

namespace nearfield::core {
namespace {

constexpr const char* kAsInFirst = "as in parts[0].out";

DimRules rules_of_first(int grid_rank) {
  DimRules rules;
  rules.add(between("batch", 0, kMaxSpan));
  for (int a = 0; a < grid_rank; ++a) rules.add(between(kAxisNames[a], 0, kMaxAxis));
  rules.add(between("heads", 1, kMaxAxis));
  rules.add(between("head_dim_v", 1, kMaxChannels));
  return rules;
}

DimRules rules_of_logsumexp(const Shape& shape) {
  DimRules rules;
  rules.add(exactly("batch", shape.batch, kAsInFirst));
  for (int a = 0; a < shape.rank; ++a) rules.add(exactly(kAxisNames[a], shape.grid[a], kAsInFirst));
  rules.add(exactly("heads", shape.heads, kAsInFirst));
  return rules;
}

DimRules rules_of_out(const Shape& shape) {
  DimRules rules = rules_of_logsumexp(shape);
  rules.add(exactly("head_dim_v", shape.head_dim_v, kAsInFirst));
  return rules;
}

// The tensors of one call, under their names, for the checks between them at the end.
class Call {
 public:
  MergeProblem problem;

  Call(int32_t count, const nf_merge_part* parts, const nf_options* options) {
    if (count < 1) invalid_argument("count=", count, ": must be at least 1");
    if (count > kMaxMergeParts) invalid_argument("count=", count, ": must be at most ", kMaxMergeParts);
    if (parts == nullptr) invalid_argument("parts: must not be NULL");
    problem.count = count;
    take_first(parts[0].out);
    for (int i = 0; i < count; ++i) {
      const std::string part = concat("parts[", i, "].");
      problem.parts[i].out = i == 0 ? inputs_[0].view : take_input(part + "out", parts[i].out);
      problem.parts[i].logsumexp = take_input_logsumexp(part + "logsumexp", parts[i].logsumexp);
    }
    Problem threads_only;
    threads_only.shape.head_dim = 1;  // no scale is made from it
    take_options(threads_only, options);
    problem.threading = threads_only.threading;
  }

  TensorView take_input(std::string name, const nf_tensor* tensor) {
    return keep(inputs_, std::move(name), tensor, rules_of_out(problem.shape), out_dtype(), kChannels);
  }
  TensorView take_input_logsumexp(std::string name, const nf_tensor* tensor) {
    return keep(inputs_, std::move(name), tensor, rules_of_logsumexp(problem.shape), logsumexp_dtype(), kAny);
  }
  TensorView take_output(std::string name, const nf_tensor* tensor) {
    return keep(outputs_, std::move(name), tensor, rules_of_out(problem.shape), out_dtype(), kChannels);
  }
  TensorView take_output_logsumexp(std::string name, const nf_tensor* tensor) {
    if (tensor == nullptr) return {};
    return keep(outputs_, std::move(name), tensor, rules_of_logsumexp(problem.shape), logsumexp_dtype(), kAny);
  }
  void check_memory() const {
    check_outputs(inputs_.data(), static_cast<int>(inputs_.size()), outputs_.data(), static_cast<int>(outputs_.size()));
  }

 private:
  static constexpr Layout kChannels = Layout::contiguous_channels, kAny = Layout::any_strides;

  // Every other tensor's shape follows from this one.
  void take_first(const nf_tensor* out) {
    const char* const name = "parts[0].out";
    if (out == nullptr) invalid_argument(name, ": must not be NULL");
    if (out->rank < 4 || out->rank > 3 + kMaxGridRank)
      invalid_argument(name, ".rank=", out->rank, ": must be 4, 5 or 6 (batch, *grid, heads, head_dim_v)");
    Shape& shape = problem.shape;
    shape.rank = out->rank - 3;
    keep(inputs_, name, out, rules_of_first(shape.rank), {}, kChannels);
    shape.batch = out->sizes[0];
    for (int a = 0; a < shape.rank; ++a) shape.grid[a] = out->sizes[1 + a];
    shape.heads = out->sizes[shape.rank + 1];
    shape.head_dim_v = out->sizes[shape.rank + 2];
  }

  DTypeRule out_dtype() const { return {{inputs_[0].view.dtype}, 1, ", as in parts[0].out"}; }
  DTypeRule logsumexp_dtype() const {
    const bool is_double = inputs_[0].view.dtype == DType::float64;
    return {{accumulator_of(inputs_[0].view.dtype)}, 1, is_double ? " for a float64 out" : " unless out is float64"};
  }

  TensorView keep(std::vector<NamedView>& views, std::string name, const nf_tensor* tensor, const DimRules& dims,
                  const DTypeRule& dtype, Layout layout) {
    names_.push_back(std::move(name));
    const char* const kept = names_.back().c_str();
    views.push_back({kept, take_tensor(kept, tensor, dims, dtype, layout, Memory::read)});
    return views.back().view;
  }

  std::deque<std::string> names_;  // never move, so that the views can point to them
  std::vector<NamedView> inputs_, outputs_;
};

}  // namespace

MergeProblem validate_merge(int32_t count, const nf_merge_part* parts, const nf_options* options, const nf_tensor* out,
                            const nf_tensor* logsumexp, ForwardOutputs& outputs) {
  Call call(count, parts, options);
  outputs.out = call.take_output("out", out);
  outputs.logsumexp = call.take_output_logsumexp("logsumexp", logsumexp);
  call.check_memory();
  return call.problem;
}

MergeProblem validate_merge_backward(int32_t count, const nf_merge_part* parts, const nf_options* options,
                                     const nf_tensor* dout, const nf_tensor* dlogsumexp, const nf_merge_part* gradients,
                                     MergePart& derivatives, MergePart* wanted) {
  if (gradients == nullptr) invalid_argument("gradients: must not be NULL");
  Call call(count, parts, options);
  derivatives.out = call.take_input("dout", dout);
  derivatives.logsumexp = {};
  if (dlogsumexp != nullptr) derivatives.logsumexp = call.take_input_logsumexp("dlogsumexp", dlogsumexp);
  for (int i = 0; i < count; ++i) {
    const std::string part = concat("gradients[", i, "].");
    wanted[i] = {};
    if (gradients[i].out != nullptr) wanted[i].out = call.take_output(part + "out", gradients[i].out);
    wanted[i].logsumexp = call.take_output_logsumexp(part + "logsumexp", gradients[i].logsumexp);
  }
  call.check_memory();
  return call.problem;
}

}  // namespace nearfield::core
