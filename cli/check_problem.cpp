#include "check_problem.h"

#include <algorithm>

#include "base/error.h"
#include "check/public_pattern.h"

namespace nearfield::cli {
namespace {

// Key weights that all images share have a batch stride of 0 inside and no batch outside.
core::TensorView without_shared_batch(core::TensorView view, int grid_rank) {
  if (!view || view.rank == grid_rank || view.strides[0] != 0) return view;
  --view.rank;
  std::copy_n(view.sizes + 1, view.rank, view.sizes);
  std::copy_n(view.strides + 1, view.rank, view.strides);
  return view;
}

// nf_modifiers points to tensors; here they live.
struct PublicModifiers {
  PublicModifiers(const core::Modifiers& from, int grid_rank) {
    modifiers.struct_size = sizeof modifiers;
    modifiers.additional_keys = keep(0, from.additional_keys);
    modifiers.additional_values = keep(1, from.additional_values);
    modifiers.key_mask = keep(2, from.key_mask);
    modifiers.key_weights = keep(3, without_shared_batch(from.key_weights, grid_rank));
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

std::vector<nf_isa> available_isas() {
  std::vector<nf_isa> isas;
  for (int32_t isa = NF_ISA_AUTO + 1; nf_isa_name(isa) != nullptr; ++isa)
    if (isa != NF_ISA_PORTABLE16 && nf_isa_unavailable(isa) == nullptr) isas.push_back(static_cast<nf_isa>(isa));
  return isas;
}

std::string describe(const CheckSetting& setting) {
  const std::string engine =
      setting.engine == NF_ENGINE_CPU ? "" : core::concat(" --engine ", nf_engine_name(setting.engine));
  return core::concat("--isa ", nf_isa_name(setting.isa), " --kernel ", nf_kernel_name(setting.kernel), " --threads ",
                      setting.threads, engine);
}

namespace {

// A problem in the public structs.
struct PublicProblem {
  core::PublicPattern pattern;
  nf_tensor query, key, value;
  PublicModifiers modifiers;
  nf_options options = nf_default_options();

  PublicProblem(const core::Problem& problem, const CheckSetting& setting)
      : pattern(core::public_pattern(problem.pattern)),
        query(public_tensor(problem.query)),
        key(public_tensor(problem.key)),
        value(public_tensor(problem.value)),
        modifiers(problem.modifiers, problem.shape.rank) {
    options.engine = setting.engine;
    options.isa = setting.isa;
    options.kernel = setting.kernel;
    options.num_threads = setting.threads;
    options.has_scale = 1;
    options.scale = problem.scale;
  }
};

CallOutcome outcome_of(nf_status status) { return {status, status == NF_OK ? "" : nf_last_error()}; }

}  // namespace

CallOutcome run_forward(const core::Problem& problem, const core::ForwardOutputs& outputs,
                        const CheckSetting& setting) {
  const PublicProblem p(problem, setting);
  const nf_tensor out = public_tensor(outputs.out), logsumexp = public_tensor(outputs.logsumexp);
  return outcome_of(nf_forward(core::head_of(p.pattern), &p.query, &p.key, &p.value, &p.modifiers.modifiers, &p.options,
                               &out, outputs.logsumexp ? &logsumexp : nullptr));
}

CallOutcome run_backward(const core::Problem& problem, const core::BackwardInputs& inputs,
                         const core::Gradients& gradients, const CheckSetting& setting) {
  const PublicProblem p(problem, setting);
  const nf_tensor out = public_tensor(inputs.out), logsumexp = public_tensor(inputs.logsumexp),
                  dout = public_tensor(inputs.dout), dlogsumexp = public_tensor(inputs.dlogsumexp);
  const core::TensorView views[] = {gradients.query,
                                    gradients.key,
                                    gradients.value,
                                    gradients.additional_keys,
                                    gradients.additional_values,
                                    without_shared_batch(gradients.key_weights, problem.shape.rank),
                                    gradients.bias};
  nf_tensor tensors[7];
  const nf_tensor* wanted[7];
  for (int i = 0; i < 7; ++i) {
    tensors[i] = public_tensor(views[i]);
    wanted[i] = views[i] ? &tensors[i] : nullptr;
  }
  const nf_gradients g = {
      sizeof(nf_gradients), wanted[0], wanted[1], wanted[2], wanted[3], wanted[4], wanted[5], wanted[6]};
  return outcome_of(nf_backward(core::head_of(p.pattern), &p.query, &p.key, &p.value, &p.modifiers.modifiers,
                                &p.options, &out, &logsumexp, &dout, inputs.dlogsumexp ? &dlogsumexp : nullptr, &g));
}

}  // namespace nearfield::cli
