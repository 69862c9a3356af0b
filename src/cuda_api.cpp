// The C ABI of cuda.h: translates, never computes.
#include <cstdio>
#include <string>

#include "api_guard.h"
#include "base/error.h"
#include "dispatch/dispatch_cuda.h"
#include "dispatch/validate.h"
#include "engine/cuda/device_plan.h"
#include "nearfield/cuda.h"

namespace core = nearfield::core;
using core::guarded, core::refuse_unknown_fields, core::require;

namespace {

core::CudaRequest request_of(const nf_cuda_launch* launch) {
  require(launch, "launch");
  refuse_unknown_fields(launch, "launch");
  if (launch->struct_size < sizeof(nf_cuda_launch))
    core::invalid_argument("launch.struct_size=", launch->struct_size, ": must be at least ", sizeof(nf_cuda_launch));
  if (launch->reserved != 0) core::invalid_argument("launch.reserved=", launch->reserved, ": must be 0");
  return {launch->device, launch->stream, launch->workspace, launch->workspace_size};
}

void check_common(const nf_modifiers* modifiers, const nf_options* options) {
  refuse_unknown_fields(modifiers, "modifiers");
  refuse_unknown_fields(options, "options");
}

// What of valid options has no meaning on a GPU.
void check_options(const nf_options* options) {
  if (options == nullptr) return;
  if (options->engine != NF_ENGINE_AUTO)
    core::invalid_argument("engine=", options->engine, ": must be 0 (auto) on a GPU");
  if (options->workspace != nullptr)
    core::invalid_argument("options.workspace: must be NULL: a GPU's is launch.workspace");
}

}  // namespace

const char* nf_cuda_unavailable(void) {
  // The answer does not change: a machine does not grow a GPU.
  static std::string obstacle;
  static const nf_status status = guarded([] { obstacle = core::cuda_obstacle(); });
  if (status != NF_OK) return "asking for it failed";
  return obstacle.empty() ? nullptr : obstacle.c_str();
}

int32_t nf_cuda_device_count(void) {
  int count = 0;
  if (nf_cuda_unavailable() != nullptr) return 0;
  guarded([&] {
    const nearfield::cuda::Table& table = core::cuda_runtime();
    core::check(table, table.device_count(&count), "looking for devices");
  });
  return count;
}

nf_status nf_cuda_device(int32_t device, char* name, size_t size, int32_t* major, int32_t* minor) {
  return guarded([&] {
    require(name, "name");
    require(major, "major");
    require(minor, "minor");
    const nearfield::cuda::Table& table = core::cuda_runtime();
    nearfield::cuda::DeviceFacts facts;
    core::check(table, table.device_facts(device, &facts), "asking for a device");
    std::snprintf(name, size, "%s", facts.name);
    *major = facts.major;
    *minor = facts.minor;
  });
}

nf_status nf_cuda_forward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                          const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                          const nf_cuda_launch* launch, const nf_tensor* out, const nf_tensor* logsumexp) {
  return guarded([&] {
    check_common(modifiers, options);
    const core::CudaRequest request = request_of(launch);
    core::ForwardOutputs outputs;
    const core::Problem problem = core::validate_forward(pattern, query, key, value, modifiers, options, out, logsumexp,
                                                         outputs, core::Memory::unreadable);
    check_options(options);
    core::dispatch_cuda_forward(core::cuda_runtime(), problem, outputs, request);
  });
}

nf_status nf_cuda_forward_workspace(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                    const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                                    int32_t device, size_t* bytes) {
  return guarded([&] {
    check_common(modifiers, options);
    require(bytes, "bytes");
    const core::Problem problem = core::validate_inputs(pattern, query, key, value, modifiers, options);
    check_options(options);
    *bytes = core::dispatch_cuda_workspace(core::cuda_runtime(), problem, {}, device);
  });
}

nf_status nf_cuda_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                           const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                           const nf_cuda_launch* launch, const nf_tensor* out, const nf_tensor* logsumexp,
                           const nf_tensor* dout, const nf_tensor* dlogsumexp, const nf_gradients* gradients) {
  return guarded([&] {
    check_common(modifiers, options);
    refuse_unknown_fields(gradients, "gradients");
    const core::CudaRequest request = request_of(launch);
    core::BackwardInputs inputs;
    core::Gradients outputs;
    const core::Problem problem =
        core::validate_backward(pattern, query, key, value, modifiers, options, out, logsumexp, dout, dlogsumexp,
                                gradients, inputs, outputs, core::Memory::unreadable);
    check_options(options);
    core::dispatch_cuda_backward(core::cuda_runtime(), problem, inputs, outputs, request);
  });
}

nf_status nf_cuda_backward_workspace(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                     const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                                     const nf_gradients* gradients, int32_t device, size_t* bytes) {
  return guarded([&] {
    check_common(modifiers, options);
    refuse_unknown_fields(gradients, "gradients");
    require(bytes, "bytes");
    const core::GradientsWanted wanted = core::validate_wanted(gradients, modifiers);
    const core::Problem problem = core::validate_inputs(pattern, query, key, value, modifiers, options);
    check_options(options);
    *bytes = wanted.any() ? core::dispatch_cuda_workspace(core::cuda_runtime(), problem, wanted, device) : 0;
  });
}

nf_status nf_cuda_release_plans(void) {
  return guarded([] { core::release_device_plans(core::cuda_runtime()); });
}
