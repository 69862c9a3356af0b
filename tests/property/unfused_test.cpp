// Explicit weights: each operator and its gradients against the float64 reference, on every instruction set; and whole
// attention put together from them, which is the same as the fused engine's.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "base/error.h"
#include "cases.h"
#include "check/compare.h"
#include "unfused_case.h"
#include "views.h"

namespace nearfield::property {
namespace {

using cli::CheckSetting;
using core::concat;

constexpr std::array kEngines = {NF_ENGINE_NAIVE, NF_ENGINE_GEMM};

Outcome failed(const std::string& description, const CheckSetting& setting, const std::string& what) {
  return {true, concat(what, "\n  ", nf_engine_name(setting.engine), " ", cli::describe(setting), "\n  ", description)};
}

Outcome check_operators(uint64_t seed, const UnfusedOptions& options) {
  UnfusedCase random(seed, options);
  if (!random.is_usable()) return {};
  for (const nf_isa isa : isas_of(seed))
    for (const nf_engine engine : kEngines) {
      const CheckSetting setting = {isa, NF_KERNEL_AUTO, 1, engine};
      const std::string failure = random.check(setting);
      if (!failure.empty()) return failed(random.describe(), setting, failure);
    }
  return {true, ""};
}

TEST(Property, UnfusedOperatorsAgreeWithTheReference) {
  for_cases(0.02, 0.4, [](uint64_t seed) { return check_operators(seed, {}); });
}

// Hidden slots hold NaN in all of these; here an element that is read is none, too, and only who sees it may know.
TEST(Property, UnfusedOperatorsKeepWhatIsNotFiniteWhereItIsSeen) {
  for_cases(0.01, 0.4, [](uint64_t seed) { return check_operators(seed, {.not_finite = true}); });
}

TEST(Property, UnfusedOperatorsGiveTheSameBitsWithAnyThreads) {
  for_cases(0.006, 0.4, [](uint64_t seed) {
    UnfusedCase random(seed, {});
    if (!random.is_usable()) return Outcome{};
    for (const nf_engine engine : kEngines) {
      CheckSetting setting = {one_isa_of(seed), NF_KERNEL_AUTO, 1, engine};
      std::string failure;
      const std::vector<std::byte> alone = random.bits(setting, failure);
      for (const int32_t threads : {2, 5}) {
        setting.threads = threads;
        std::string other;
        const bool same = random.bits(setting, other) == alone;
        if (failure.empty()) failure = other;
        if (failure.empty() && !same) failure = "the bits differ from those of one thread";
      }
      if (!failure.empty()) return failed(random.describe(), setting, failure);
    }
    return Outcome{true, ""};
  });
}

// qk, softmax, av; and back.
TEST(Property, AttentionThroughExplicitWeightsAgreesWithTheReference) {
  for_cases(0.02, 1.0, [](uint64_t seed) {
    core::RandomProblemOptions options;
    options.spheres = options.key_weights = options.softcap = false;
    options.gradients = true;
    options.max_pairs = 20000;
    options.max_multiplies = 200000;
    core::RandomProblem random(seed, options);
    const core::ExpectedForward forward(random.problem());
    const core::ExpectedGradients backward(random.problem(), random.backward_inputs(), random.gradients());
    for (const nf_isa isa : isas_of(seed))
      for (const nf_engine engine : kEngines) {
        const CheckSetting setting = {isa, NF_KERNEL_AUTO, 1 + static_cast<int32_t>(seed % 2), engine};
        const auto judge = [&](const cli::CallOutcome& call, const auto& compare) {
          if (call.status != NF_OK) return concat(nf_status_name(call.status), ": ", call.message);
          const std::string damage = random.damage();
          return damage.empty() ? compare() : damage;
        };
        random.poison();
        std::string failure = judge(cli::run_forward(random.problem(), random.outputs(), setting),
                                    [&] { return forward.compare(random.outputs()).failure; });
        random.poison();
        if (failure.empty())
          failure = judge(cli::run_backward(random.problem(), random.backward_inputs(), random.gradients(), setting),
                          [&] { return backward.compare(random.gradients()).failure; });
        if (!failure.empty()) return failed(random.describe(), setting, failure);
      }
    return Outcome{true, ""};
  });
}

}  // namespace
}  // namespace nearfield::property
