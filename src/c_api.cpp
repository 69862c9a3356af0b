// The C ABI: translates, never computes. Every function that can fail goes through `guarded` (api_guard.h). That of the
// geometry is in geometry_api.cpp.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>

#include "api_guard.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "dispatch/dispatch.h"
#include "dispatch/ragged.h"
#include "dispatch/validate.h"
#include "dispatch/validate_merge.h"
#include "dispatch/validate_ragged.h"
#include "engine/cpu/cpu.h"
#include "engine/merge/merge.h"
#include "nearfield/nearfield.h"

namespace core = nearfield::core;
using core::guarded, core::refuse_unknown_fields, core::require;

static_assert(static_cast<int>(core::Status::internal_error) == NF_INTERNAL_ERROR &&
              static_cast<int>(core::Status::out_of_memory) == NF_OUT_OF_MEMORY &&
              static_cast<int>(core::Status::unsupported) == NF_UNSUPPORTED &&
              static_cast<int>(core::Status::invalid_argument) == NF_INVALID_ARGUMENT);
static_assert(static_cast<int>(core::EngineId::reference) == NF_ENGINE_REFERENCE &&
              static_cast<int>(core::EngineId::cpu) == NF_ENGINE_CPU);
static_assert(static_cast<int>(core::Isa::portable) == NF_ISA_PORTABLE &&
              static_cast<int>(core::Isa::avx2) == NF_ISA_AVX2 &&
              static_cast<int>(core::Isa::avx512) == NF_ISA_AVX512 &&
              static_cast<int>(core::Isa::neon) == NF_ISA_NEON &&
              static_cast<int>(core::Isa::portable16) == NF_ISA_PORTABLE16);
static_assert(static_cast<int>(core::CpuKernel::band) == NF_KERNEL_BAND &&
              static_cast<int>(core::CpuKernel::tile) == NF_KERNEL_TILE);
static_assert(static_cast<int>(core::DType::float64) == NF_FLOAT64 &&
              static_cast<int>(core::DType::float32) == NF_FLOAT32 &&
              static_cast<int>(core::DType::bfloat16) == NF_BFLOAT16 &&
              static_cast<int>(core::DType::float16) == NF_FLOAT16 &&
              static_cast<int>(core::DType::boolean) == NF_BOOL);
static_assert(core::kMaxDims == NF_MAX_DIMS && core::kMaxGridRank == NF_MAX_GRID_RANK &&
              core::kMaxMergeParts == NF_MAX_MERGE_PARTS);

namespace {

// A plain array: it needs no memory when memory has run out, and no destructor when the thread ends.
thread_local char last_error[1024] = "";

// Gives the caller the fields that it knows; a reason that its struct cuts off still ends.
void copy_out(const nf_explanation& from, nf_explanation* to) {
  const size_t size = std::min(to->struct_size, sizeof from), head = sizeof to->struct_size;
  char* const bytes = reinterpret_cast<char*>(to);
  std::memcpy(bytes + head, reinterpret_cast<const char*>(&from) + head, size - head);
  constexpr size_t kReason = offsetof(nf_explanation, reason);
  if (size > kReason && size < kReason + sizeof from.reason) bytes[size - 1] = '\0';
}

void require_explanation(const nf_explanation* explanation) {
  require(explanation, "explanation");
  if (explanation->struct_size < sizeof explanation->struct_size)
    core::invalid_argument("explanation.struct_size=", explanation->struct_size,
                           ": must be sizeof(nf_explanation) as the caller's header has it");
}

core::Isa checked_isa(int32_t isa) {
  if (nf_isa_name(isa) == nullptr) core::invalid_argument("isa=", isa, ": must be ", core::isa_values());
  const auto wanted = static_cast<core::Isa>(isa);
  if (wanted == core::Isa::automatic) return core::select_isa();
  if (const char* why = core::isa_unavailable(wanted)) core::unsupported("isa=", core::isa_name(wanted), ": ", why);
  return wanted;
}

}  // namespace

nf_status core::keep_failure(nf_status status, const char* message) noexcept {
  std::snprintf(last_error, sizeof last_error, "%s", message);
  return status;
}

// ---- status and names ----------------------------------------------------------------------------------------------

const char* nf_last_error(void) { return last_error; }

const char* nf_status_name(nf_status status) {
  switch (status) {
    case NF_OK: return "ok";
    case NF_INVALID_ARGUMENT: return "invalid_argument";
    case NF_UNSUPPORTED: return "unsupported";
    case NF_OUT_OF_MEMORY: return "out_of_memory";
    case NF_INTERNAL_ERROR: return "internal_error";
  }
  return nullptr;
}

const char* nf_version(void) {
  static const std::string version = core::concat(NF_VERSION_MAJOR, ".", NF_VERSION_MINOR, ".", NF_VERSION_PATCH);
  return version.c_str();
}

const char* nf_isa_name(int32_t isa) { return core::isa_name(static_cast<core::Isa>(isa)); }
const char* nf_engine_name(int32_t engine) { return core::engine_name(static_cast<core::EngineId>(engine)); }
const char* nf_kernel_name(int32_t kernel) { return core::kernel_name(static_cast<core::CpuKernel>(kernel)); }
const char* nf_dtype_name(int32_t dtype) {
  return dtype < NF_FLOAT64 || dtype > NF_BOOL ? nullptr : core::name_of(static_cast<core::DType>(dtype));
}

const char* nf_order_name(int32_t order) {
  return order < NF_HILBERT || order > NF_ROW_MAJOR ? nullptr : core::order_name(static_cast<core::OrderKind>(order));
}

// ---- attention -----------------------------------------------------------------------------------------------------

nf_status nf_forward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key, const nf_tensor* value,
                     const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* out,
                     const nf_tensor* logsumexp) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    core::ForwardOutputs outputs;
    const core::Problem problem =
        core::validate_forward(pattern, query, key, value, modifiers, options, out, logsumexp, outputs);
    core::dispatch_forward(problem, outputs, core::request_of(options));
  });
}

nf_status nf_forward_workspace(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                               const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                               size_t* bytes) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    require(bytes, "bytes");
    const core::Problem problem = core::validate_inputs(pattern, query, key, value, modifiers, options);
    *bytes = core::dispatch_workspace(problem, core::request_of(options), {});
  });
}

nf_status nf_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key, const nf_tensor* value,
                      const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* out,
                      const nf_tensor* logsumexp, const nf_tensor* dout, const nf_tensor* dlogsumexp,
                      const nf_gradients* gradients) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    refuse_unknown_fields(gradients, "gradients");
    core::BackwardInputs inputs;
    core::Gradients outputs;
    const core::Problem problem = core::validate_backward(pattern, query, key, value, modifiers, options, out,
                                                          logsumexp, dout, dlogsumexp, gradients, inputs, outputs);
    core::dispatch_backward(problem, inputs, outputs, core::request_of(options));
  });
}

nf_status nf_explain(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key, const nf_tensor* value,
                     const nf_modifiers* modifiers, const nf_options* options, nf_explanation* explanation) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    require_explanation(explanation);
    const core::Problem problem = core::validate_inputs(pattern, query, key, value, modifiers, options);
    copy_out(core::dispatch_explain(problem, core::request_of(options), {}), explanation);
  });
}

nf_status nf_backward_workspace(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                                const nf_gradients* gradients, size_t* bytes) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    refuse_unknown_fields(gradients, "gradients");
    require(bytes, "bytes");
    const core::GradientsWanted wanted = core::validate_wanted(gradients, modifiers);
    const core::Problem problem = core::validate_inputs(pattern, query, key, value, modifiers, options);
    *bytes = wanted.any() ? core::dispatch_workspace(problem, core::request_of(options), wanted) : 0;
  });
}

nf_status nf_explain_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                              const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                              const nf_gradients* gradients, nf_explanation* explanation) {
  return guarded([&] {
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    refuse_unknown_fields(gradients, "gradients");
    require_explanation(explanation);
    const core::GradientsWanted wanted = core::validate_wanted(gradients, modifiers);
    if (!wanted.any()) core::invalid_argument("gradients: must ask for one at least, else there is nothing to explain");
    const core::Problem problem = core::validate_inputs(pattern, query, key, value, modifiers, options);
    copy_out(core::dispatch_explain(problem, core::request_of(options), wanted), explanation);
  });
}

nf_status nf_forward_ragged(const nf_pattern* pattern, const nf_ragged* ragged, const nf_tensor* query,
                            const nf_tensor* key, const nf_tensor* value, const nf_modifiers* modifiers,
                            const nf_options* options, const nf_tensor* out, const nf_tensor* logsumexp) {
  return guarded([&] {
    refuse_unknown_fields(ragged, "ragged");
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    core::ForwardOutputs outputs;
    const core::Ragged pieces =
        core::validate_forward_ragged(pattern, ragged, query, key, value, modifiers, options, out, logsumexp, outputs);
    core::dispatch_forward_ragged(pieces, outputs, core::request_of(options));
  });
}

nf_status nf_backward_ragged(const nf_pattern* pattern, const nf_ragged* ragged, const nf_tensor* query,
                             const nf_tensor* key, const nf_tensor* value, const nf_modifiers* modifiers,
                             const nf_options* options, const nf_tensor* out, const nf_tensor* logsumexp,
                             const nf_tensor* dout, const nf_tensor* dlogsumexp, const nf_gradients* gradients) {
  return guarded([&] {
    refuse_unknown_fields(ragged, "ragged");
    refuse_unknown_fields(modifiers, "modifiers");
    refuse_unknown_fields(options, "options");
    refuse_unknown_fields(gradients, "gradients");
    core::BackwardInputs inputs;
    core::Gradients wanted;
    const core::Ragged pieces =
        core::validate_backward_ragged(pattern, ragged, query, key, value, modifiers, options, out, logsumexp, dout,
                                       dlogsumexp, gradients, inputs, wanted);
    core::dispatch_backward_ragged(pieces, inputs, wanted, core::request_of(options));
  });
}

nf_status nf_merge(int32_t count, const nf_merge_part* parts, const nf_options* options, const nf_tensor* out,
                   const nf_tensor* logsumexp) {
  return guarded([&] {
    refuse_unknown_fields(options, "options");
    core::ForwardOutputs outputs;
    const core::MergeProblem problem = core::validate_merge(count, parts, options, out, logsumexp, outputs);
    core::merge_forward(problem, outputs);
  });
}

nf_status nf_merge_backward(int32_t count, const nf_merge_part* parts, const nf_options* options, const nf_tensor* dout,
                            const nf_tensor* dlogsumexp, const nf_merge_part* gradients) {
  return guarded([&] {
    refuse_unknown_fields(options, "options");
    core::MergePart derivatives, wanted[core::kMaxMergeParts];
    const core::MergeProblem problem =
        core::validate_merge_backward(count, parts, options, dout, dlogsumexp, gradients, derivatives, wanted);
    core::merge_backward(problem, derivatives, wanted);
  });
}

// ---- the machine ---------------------------------------------------------------------------------------------------

const char* nf_cpu_model(void) {
  const char* model = "";
  guarded([&] { model = core::cpu_model(); });
  return model;
}

int32_t nf_default_num_threads(void) {
  int32_t threads = 0;
  guarded([&] { threads = core::default_num_threads(); });
  return threads;
}

const char* nf_isa_unavailable(int32_t isa) {
  if (nf_isa_name(isa) == nullptr) return "there is no such instruction set";
  return core::isa_unavailable(static_cast<core::Isa>(isa));
}

const char* nf_engine_unavailable(int32_t engine) {
  return core::engine_unavailable(static_cast<core::EngineId>(engine));
}

int32_t nf_selected_isa(void) {
  core::Isa isa = core::Isa::automatic;
  guarded([&] { isa = core::select_isa(); });
  return static_cast<int32_t>(isa);
}

nf_status nf_measure_peak(int32_t isa, int32_t dtype, double seconds, double* gflops) {
  return guarded([&] {
    require(gflops, "gflops");
    if (dtype != NF_FLOAT32 && dtype != NF_FLOAT64)
      core::invalid_argument("dtype=", dtype, ": must be NF_FLOAT32 or NF_FLOAT64");
    if (!(seconds > 0 && seconds <= 60)) core::invalid_argument("seconds=", seconds, ": must be in (0, 60]");
    *gflops = core::measure_peak(checked_isa(isa), static_cast<core::DType>(dtype), seconds);
  });
}
