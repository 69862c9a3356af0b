#include "check_problem.h"

#include <algorithm>
#include <variant>

#include "base/error.h"

namespace nearfield::cli {
namespace {

// nf_modifiers points to tensors; here they live.
struct PublicModifiers {
  explicit PublicModifiers(const core::Modifiers& from) {
    modifiers.struct_size = sizeof modifiers;
    modifiers.additional_keys = keep(0, from.additional_keys);
    modifiers.additional_values = keep(1, from.additional_values);
    modifiers.key_mask = keep(2, from.key_mask);
    modifiers.key_weights = keep(3, from.key_weights);
    modifiers.bias = keep(4, from.bias);
    modifiers.softcap = from.softcap;
  }
  PublicModifiers(const PublicModifiers&) = delete;
  PublicModifiers& operator=(const PublicModifiers&) = delete;

  nf_modifiers modifiers{};

 private:
  const nf_tensor* keep(size_t place, const core::TensorView& view) {
    if (!view) return nullptr;
    tensors_[place] = public_tensor(view);
    return &tensors_[place];
  }
  nf_tensor tensors_[5] = {};
};

}  // namespace

nf_tensor public_tensor(const core::TensorView& view) {
  nf_tensor tensor{};
  tensor.data = view.data;
  tensor.dtype = static_cast<int32_t>(view.dtype);
  tensor.rank = view.rank;
  std::copy_n(view.sizes, view.rank, tensor.sizes);
  std::copy_n(view.strides, view.rank, tensor.strides);
  return tensor;
}

nf_neighborhood public_pattern(const core::Pattern& pattern) {
  int64_t kernel_size[NF_MAX_GRID_RANK] = {};
  nf_neighborhood result = nf_make_neighborhood(pattern.rank, kernel_size);
  for (int a = 0; a < pattern.rank; ++a) {
    const auto& axis = std::get<core::NeighborhoodAxis>(pattern.axes[a]);
    result.kernel_size[a] = axis.kernel_size;
    result.stride[a] = axis.stride;
    result.dilation[a] = axis.dilation;
    result.is_causal[a] = axis.is_causal ? 1 : 0;
    result.boundary[a] = static_cast<int32_t>(axis.boundary);
  }
  return result;
}

std::vector<nf_isa> available_isas() {
  std::vector<nf_isa> isas;
  for (int32_t isa = NF_ISA_AUTO + 1; nf_isa_name(isa) != nullptr; ++isa)
    if (nf_isa_unavailable(isa) == nullptr) isas.push_back(static_cast<nf_isa>(isa));
  return isas;
}

std::string describe(const CheckSetting& setting) {
  return core::concat("--isa ", nf_isa_name(setting.isa), " --kernel ", nf_kernel_name(setting.kernel), " --threads ",
                      setting.threads);
}

CallOutcome run_forward(const core::Problem& problem, const core::ForwardOutputs& outputs,
                        const CheckSetting& setting) {
  const nf_neighborhood pattern = public_pattern(problem.pattern);
  const nf_tensor query = public_tensor(problem.query), key = public_tensor(problem.key),
                  value = public_tensor(problem.value), out = public_tensor(outputs.out),
                  logsumexp = public_tensor(outputs.logsumexp);
  const PublicModifiers modifiers(problem.modifiers);
  nf_options options = nf_default_options();
  options.engine = NF_ENGINE_CPU;
  options.isa = setting.isa;
  options.kernel = setting.kernel;
  options.num_threads = setting.threads;
  options.has_scale = 1;
  options.scale = problem.scale;
  const nf_status status = nf_forward(&pattern.pattern, &query, &key, &value, &modifiers.modifiers, &options, &out,
                                      outputs.logsumexp ? &logsumexp : nullptr);
  return {status, status == NF_OK ? "" : nf_last_error()};
}

}  // namespace nearfield::cli
