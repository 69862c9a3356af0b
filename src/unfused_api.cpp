// The C ABI's unfused operators.
#include <algorithm>

#include "api_guard.h"
#include "dispatch/dispatch_unfused.h"
#include "dispatch/geometry_rules.h"
#include "dispatch/validate.h"
#include "dispatch/validate_unfused.h"
#include "nearfield/unfused.h"
#include "plan/slots.h"

namespace core = nearfield::core;
using core::guarded, core::refuse_unknown_fields, core::require;

nf_status nf_weight_slots(const nf_pattern* pattern, const int64_t* grid, int64_t* slots) {
  return guarded([&] {
    const core::Pattern on_grid = core::validate_on_grid(pattern, grid);
    require(slots, "slots");
    if (on_grid.sphere)
      core::unsupported(
          "pattern: explicit weights have no slots on the sphere, where every latitude has windows of its own");
    int64_t all[NF_MAX_GRID_RANK];
    core::slots_of(on_grid, false, all);
    std::copy_n(all, on_grid.grid_rank(), slots);
  });
}

nf_status nf_qk(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key, const nf_modifiers* modifiers,
                const nf_options* options, const nf_tensor* weights) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    core::dispatch_qk(core::validate_qk(pattern, query, key, modifiers, options, weights), core::request_of(options));
  });
}

nf_status nf_qk_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                         const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* dweights,
                         const nf_qk_gradients* gradients) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    refuse_unknown_fields(gradients, "gradients");
    core::dispatch_qk_backward(core::validate_qk_backward(pattern, query, key, modifiers, options, dweights, gradients),
                               core::request_of(options));
  });
}

nf_status nf_av(const nf_pattern* pattern, const nf_tensor* weights, const nf_tensor* value,
                const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* out) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    core::dispatch_av(core::validate_av(pattern, weights, value, modifiers, options, out), core::request_of(options));
  });
}

nf_status nf_av_backward(const nf_pattern* pattern, const nf_tensor* weights, const nf_tensor* value,
                         const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* dout,
                         const nf_av_gradients* gradients) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    refuse_unknown_fields(gradients, "gradients");
    core::dispatch_av_backward(core::validate_av_backward(pattern, weights, value, modifiers, options, dout, gradients),
                               core::request_of(options));
  });
}

nf_status nf_forward_weights(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                             const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                             const nf_tensor* out, const nf_tensor* logsumexp, const nf_tensor* weights) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    core::ForwardOutputs outputs;
    const core::Problem problem =
        core::validate_forward(pattern, query, key, value, modifiers, options, out, logsumexp, outputs);
    const core::TensorView view = core::validate_weights(problem, outputs, weights);
    core::dispatch_forward_weights(problem, outputs, view, core::request_of(options));
  });
}
