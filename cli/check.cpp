// `nearfield check`: random problems on this machine, the CPU engine against the float64 reference.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "base/thread_pool.h"
#include "check/compare.h"
#include "check/random_problem.h"
#include "check_problem.h"
#include "commands.h"
#include "progress.h"

namespace nearfield::cli {
namespace {

struct CheckArguments {
  std::string cases = "2000", seed = "1", first = "0", isa = "all", kernel = "all", dtype = "all", threads = "0",
              direction = "both", engine = "cpu";
  bool plain = false;
};

struct CheckPlan {
  int64_t cases = 0, first = 0;
  uint64_t seed = 0;
  std::vector<CheckSetting> settings;
  core::RandomProblemOptions problems;
  bool forward = true, backward = true;
  std::string reproduce;  // the part of the command that all failures share
};

std::vector<nf_isa> resolve_isas(const std::string& text) {
  if (text == "all") return available_isas();
  nf_isa isa = parse_isa(text);
  if (isa == NF_ISA_AUTO) isa = selected_isa();
  if (const char* why = nf_isa_unavailable(isa)) throw Failure(fmt::format("isa={}: {}", text, why));
  return {isa};
}

std::vector<nf_kernel> resolve_kernels(const std::string& text) {
  if (text == "all") return {NF_KERNEL_AUTO, NF_KERNEL_BAND, NF_KERNEL_TILE};
  return {parse_kernel(text)};
}

int64_t parse_count(const std::string& text, const char* name, int64_t low, int64_t high) {
  const int64_t value = parse_integer(text, name);
  if (value < low || value > high)
    throw UsageError(fmt::format("{}={}: must be from {} to {}", name, value, low, high));
  return value;
}

bool has_explicit_weights(nf_engine engine) { return engine == NF_ENGINE_NAIVE || engine == NF_ENGINE_GEMM; }

// Those to compare with have one kernel, and the block-sparse one no modifiers and no backward: what is left of the
// settings.
CheckArguments of_engine(CheckArguments arguments) {
  const nf_engine engine = parse_engine(arguments.engine);
  if (engine == NF_ENGINE_CPU) return arguments;
  if (engine != NF_ENGINE_BLOCK_SPARSE && !has_explicit_weights(engine))
    throw UsageError("engine=" + arguments.engine + ": must be cpu, block_sparse, naive or gemm");
  if (arguments.kernel != "all" && arguments.kernel != "auto")
    throw UsageError("kernel=" + arguments.kernel + ": must not come with --engine " + arguments.engine);
  arguments.kernel = "auto";
  if (engine != NF_ENGINE_BLOCK_SPARSE) return arguments;
  if (arguments.direction == "backward")
    throw UsageError("direction=backward: must be forward with --engine block_sparse");
  arguments.direction = "forward";
  arguments.plain = true;
  return arguments;
}

CheckPlan resolve(const CheckArguments& given) {
  const CheckArguments arguments = of_engine(given);
  constexpr int64_t kMost = int64_t{1} << 40;
  CheckPlan plan;
  plan.cases = parse_count(arguments.cases, "cases", 1, kMost);
  plan.first = parse_count(arguments.first, "first", 0, kMost);
  plan.seed = static_cast<uint64_t>(parse_count(arguments.seed, "seed", 0, std::numeric_limits<int64_t>::max()));
  const int64_t threads = parse_count(arguments.threads, "threads", 0, 4096);
  for (nf_isa isa : resolve_isas(arguments.isa))
    for (nf_kernel kernel : resolve_kernels(arguments.kernel))
      plan.settings.push_back({isa, kernel, threads == 0 ? nf_default_num_threads() : static_cast<int32_t>(threads),
                               parse_engine(arguments.engine)});
  core::RandomProblemOptions& problems = plan.problems;
  const nf_engine engine = parse_engine(arguments.engine);
  problems.spheres = engine == NF_ENGINE_CPU;  // the others take none
  problems.additional_keys = problems.key_mask = problems.bias = !arguments.plain;
  problems.key_weights = problems.softcap = !arguments.plain && engine == NF_ENGINE_CPU;
  if (arguments.dtype != "all") problems.dtypes = {static_cast<core::DType>(parse_dtype(arguments.dtype))};
  if (arguments.direction != "forward" && arguments.direction != "backward" && arguments.direction != "both")
    throw UsageError("direction=" + arguments.direction + ": must be forward, backward or both");
  plan.forward = arguments.direction != "backward";
  plan.backward = arguments.direction != "forward";
  problems.gradients = plan.backward;
  plan.reproduce =
      fmt::format("nearfield check --seed {} --cases 1{}{}{}", plan.seed,
                  arguments.dtype == "all" ? "" : " --dtype " + arguments.dtype, arguments.plain ? " --plain" : "",
                  arguments.direction == "both" ? "" : " --direction " + arguments.direction);
  return plan;
}

struct CaseOutcome {
  std::vector<std::string> failures;  // one line each
  std::string unsupported;            // why no setting could run it; empty if one did
  bool ran = false;
};

// "" or what is wrong after a run, element values aside.
std::string verdict(const core::RandomProblem& random, const CallOutcome& outcome) {
  if (outcome.status != NF_OK) return fmt::format("{}: {}", nf_status_name(outcome.status), outcome.message);
  if (const std::string damage = random.damage(); !damage.empty()) return "memory was written " + damage;
  return "";
}

// What the reference says, of the directions that are checked.
struct Expected {
  std::optional<core::ExpectedForward> forward;
  std::optional<core::ExpectedGradients> backward;
  Expected(const CheckPlan& plan, core::RandomProblem& random) {
    if (plan.forward) forward.emplace(random.problem());
    if (plan.backward) backward.emplace(random.problem(), random.backward_inputs(), random.gradients());
  }
};

CaseOutcome check_case(const CheckPlan& plan, int64_t index) {
  // Case `index` is the same problem whatever else runs.
  const uint64_t seed = core::Random(plan.seed + static_cast<uint64_t>(index) * 0xd1342543de82ef95u).bits();
  core::RandomProblem random(seed, plan.problems);
  const Expected expected(plan, random);
  CaseOutcome result;
  for (const CheckSetting& setting : plan.settings) {
    const auto judge = [&](const char* direction, const CallOutcome& outcome, const auto& compare) {
      if (outcome.status == NF_UNSUPPORTED) {
        result.unsupported = outcome.message;
        return;
      }
      result.ran = true;
      std::string failure = verdict(random, outcome);
      if (failure.empty()) failure = compare();
      if (!failure.empty())
        result.failures.push_back(fmt::format("FAILED {}: {}; {}; reproduce: {} --first {} {}", direction, failure,
                                              random.describe(), plan.reproduce, index, describe(setting)));
    };
    random.poison();
    if (plan.forward)
      judge("forward", run_forward(random.problem(), random.outputs(), setting),
            [&] { return expected.forward->compare(random.outputs()).failure; });
    random.poison();
    if (plan.backward)
      judge("backward", run_backward(random.problem(), random.backward_inputs(), random.gradients(), setting),
            [&] { return expected.backward->compare(random.gradients()).failure; });
  }
  return result;
}

struct Totals {
  int64_t passed = 0, failed = 0, unsupported = 0;
  std::string unsupported_reason;  // of the first
};

void count(const CaseOutcome& outcome, Totals& totals) {
  for (const std::string& line : outcome.failures) fmt::print("{}\n", line);
  if (!outcome.ran) {
    if (totals.unsupported++ == 0) totals.unsupported_reason = outcome.unsupported;
  } else if (outcome.failures.empty()) {
    ++totals.passed;
  } else {
    ++totals.failed;
  }
}

Totals check_all(const CheckPlan& plan) {
  constexpr int64_t kBlock = 32;  // cases between two drawings of the bar
  core::Threading threading;
  threading.num_threads = core::default_num_threads();
  Totals totals;
  Progress progress(plan.cases);
  for (int64_t done = 0; done < plan.cases; done += kBlock) {
    progress.show(done, totals.failed == 0 ? "" : fmt::format("{} failed", totals.failed));
    std::vector<CaseOutcome> outcomes(static_cast<size_t>(std::min(kBlock, plan.cases - done)));
    core::parallel_for(threading, static_cast<int64_t>(outcomes.size()),
                       [&](int64_t i) { outcomes[static_cast<size_t>(i)] = check_case(plan, plan.first + done + i); });
    for (const CaseOutcome& outcome : outcomes) {
      if (!outcome.failures.empty()) progress.clear();
      count(outcome, totals);
    }
  }
  return totals;
}

void run_check(const CheckArguments& arguments) {
  const CheckPlan plan = resolve(arguments);
  std::string settings;
  for (const CheckSetting& setting : plan.settings)
    settings +=
        fmt::format("{}{}/{}", settings.empty() ? "" : " ", nf_isa_name(setting.isa), nf_kernel_name(setting.kernel));
  fmt::print("{}: {} random problems on {}\n", nf_cpu_model(), plan.cases, settings);
  const Totals totals = check_all(plan);
  if (totals.unsupported > 0)
    fmt::print("{} more could not run and count as nothing: {}\n", totals.unsupported, totals.unsupported_reason);
  fmt::print("{} passed, {} failed\n", totals.passed, totals.failed);
  // Nothing checked is no success.
  if (totals.failed > 0 || totals.passed == 0) throw CLI::RuntimeError(1);
}

}  // namespace

void add_check(CLI::App& app) {
  auto arguments = std::make_shared<CheckArguments>();
  CLI::App* command = app.add_subcommand("check",
                                         "Random problems of every pattern on this machine, every instruction set and "
                                         "kernel against the float64 reference");
  command->add_option("--cases", arguments->cases, "Number of problems")->capture_default_str();
  command->add_option("--seed", arguments->seed, "Which problems are drawn")->capture_default_str();
  command->add_option("--first", arguments->first, "Number of the first problem: repeats one that failed")
      ->capture_default_str();
  command
      ->add_option(
          "--engine", arguments->engine,
          "cpu; naive or gemm: explicit weights, without key weights and softcap; or block_sparse: forward only, "
          "without modifiers")
      ->capture_default_str();
  command->add_option("--isa", arguments->isa, "all that this machine has, or one of " + isa_names())
      ->capture_default_str();
  command->add_option("--kernel", arguments->kernel, "all that can run, or one of " + kernel_names())
      ->capture_default_str();
  command->add_option("--dtype", arguments->dtype, "all, or f32, bf16, f16, f64")->capture_default_str();
  command->add_option("--threads", arguments->threads, "Threads of each call, 0 for the default")
      ->capture_default_str();
  command->add_option("--direction", arguments->direction, "forward, backward or both")->capture_default_str();
  command->add_flag("--plain", arguments->plain, "Draw no masks, biases, weights, additional keys and softcaps");
  command->callback([arguments] { run_check(*arguments); });
}

}  // namespace nearfield::cli
