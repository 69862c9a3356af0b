// `nearfield bench`: runs named cases, checks each output, then times it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "bench_cases.h"
#include "bench_data.h"
#include "bench_machine.h"
#include "bench_problem.h"
#include "bench_report.h"
#include "bench_rotation.h"
#include "bench_suites.h"
#include "bench_time.h"
#include "commands.h"
#include "progress.h"

namespace nearfield::cli {
namespace {

struct BenchArguments {
  std::vector<std::string> cases;
  PatternArguments pattern;  // of a problem of one's own
  std::string shape, suite, plot;
  std::string dtype = "f32", direction = "forward", threads, engine = "auto", isa = "auto", kernel = "auto";
  std::string seconds = "10", repetitions = "20";
  bool json = false, list = false, full = false, markdown = false;
};

struct BenchPlan {
  std::vector<BenchCase> cases;
  nf_dtype dtype = NF_FLOAT32;
  Direction direction = Direction::forward;
  std::vector<Options> options;  // one for each number of threads
  TimingBudget budget;
};

// --shape and the pattern's options, or nothing.
std::optional<BenchCase> resolve_custom(const BenchArguments& arguments) {
  if (arguments.shape.empty()) {
    if (arguments.pattern.any()) throw UsageError("shape: is missing: a pattern of one's own comes with --shape");
    return std::nullopt;
  }
  if (!arguments.cases.empty()) throw UsageError("shape=" + arguments.shape + ": must not come with --case");
  const std::vector<int64_t> sizes = parse_integers(arguments.shape, "shape");
  grid_rank_of(sizes.size(), "shape");
  for (size_t i = 0; i < sizes.size(); ++i)
    if (sizes[i] < 1) throw UsageError(fmt::format("shape[{}]={}: must be at least 1", i, sizes[i]));
  const std::vector<int64_t> grid(sizes.begin() + 1, sizes.end() - 2);
  BenchCase custom = {.name = "custom",
                      .batch = sizes[0],
                      .grid = grid,
                      .heads = sizes[sizes.size() - 2],
                      .head_dim = sizes.back(),
                      .pattern = arguments.pattern.resolve({grid, grid})};
  const nf_dtype dtype = parse_dtype(arguments.dtype);
  const Tensor query(nullptr, dtype, tensor_shape(custom)), key(nullptr, dtype, key_shape(custom));
  explain(head_of(*custom.pattern), query, key, key);  // the library's rules
  return custom;
}

std::vector<BenchCase> resolve_cases(const BenchArguments& arguments) {
  if (const std::optional<BenchCase> custom = resolve_custom(arguments)) return {*custom};
  const std::vector<std::string>& names = arguments.cases;
  std::vector<BenchCase> cases;
  if (names.empty())
    for (std::string_view name : quick_bench_cases()) cases.push_back(*find_bench_case(name));
  for (const std::string& name : names) {
    if (name == "all") {
      cases.insert(cases.end(), bench_cases().begin(), bench_cases().end());
      continue;
    }
    const BenchCase* found = find_bench_case(name);
    if (found == nullptr) throw UsageError("case=" + name + ": must be all or one of those that --list shows");
    cases.push_back(*found);
  }
  return cases;
}

Direction parse_direction(const std::string& text) {
  if (text == "forward") return Direction::forward;
  if (text == "backward") return Direction::backward;
  throw UsageError("direction=" + text + ": must be forward or backward");
}

BenchPlan resolve(const BenchArguments& arguments) {
  BenchPlan plan;
  plan.cases = resolve_cases(arguments);
  plan.dtype = parse_dtype(arguments.dtype);
  plan.direction = parse_direction(arguments.direction);
  for (int64_t threads : parse_integers(arguments.threads.empty() ? "0" : arguments.threads, "threads")) {
    if (threads < 0 || threads > 4096) throw UsageError(fmt::format("threads={}: must be from 0 to 4096", threads));
    Options options;
    options.engine = parse_engine(arguments.engine);
    options.isa = parse_isa(arguments.isa);
    options.kernel = parse_kernel(arguments.kernel);
    options.num_threads = static_cast<int32_t>(threads == 0 ? nf_default_num_threads() : threads);
    plan.options.push_back(options);
  }
  plan.budget.seconds = parse_number(arguments.seconds, "seconds");
  if (plan.budget.seconds < 0) throw UsageError("seconds=" + arguments.seconds + ": must be at least 0");
  const int64_t repetitions = parse_integer(arguments.repetitions, "repetitions");
  if (repetitions < 1 || repetitions > 1000000)
    throw UsageError("repetitions=" + arguments.repetitions + ": must be from 1 to 1000000");
  plan.budget.repetitions = static_cast<int>(repetitions);
  return plan;
}

// Runs once with every number of threads; the first output is compared with the reference, the others with the first.
void check_all(const BenchPlan& plan, BenchProblem& problem, std::vector<BenchResult>& results) {
  uint64_t first = 0;
  for (size_t t = 0; t < plan.options.size(); ++t) {
    BenchResult& result = results[t];
    problem.poison_outputs();
    problem.prepare(plan.options[t]);
    problem.run(plan.options[t]);
    if (t == 0) {
      first = problem.fingerprint();
      result.check = check_output(problem);
      if (!result.check.failure.empty()) result.failure = "FAILED: " + result.check.failure;
      continue;
    }
    result.check = results[0].check;
    result.failure = results[0].failure;
    if (result.failure.empty() && problem.fingerprint() != first)
      result.failure = fmt::format("FAILED: the output's bits differ from those with --threads {}", results[0].threads);
  }
}

// On one set of tensors: from cache, if they fit. The output of every repetition has to be the one that was checked.
void time_warm(const BenchPlan& plan, BenchProblem& problem, const TimingBudget& budget, uint64_t checked,
               std::vector<BenchResult>& results) {
  std::vector<std::function<void()>> calls;
  for (const Options& options : plan.options) calls.push_back([&problem, &options] { problem.run(options); });
  problem.poison_outputs();
  const std::vector<Timing> timings = time_alternately(calls, budget, [&](size_t t) {
    if (problem.fingerprint() != checked) results[t].failure = "FAILED: the output's bits changed while it was timed";
  });
  for (size_t t = 0; t < results.size(); ++t) results[t].timing = timings[t];
}

// On copies in turn, and so from memory.
void time_cold(const BenchPlan& plan, Rotation& rotation, const TimingBudget& budget, uint64_t checked,
               std::vector<BenchResult>& results) {
  // All of them use one rotation: a copy that another number of threads has just used would be warm.
  std::vector<std::function<void()>> calls;
  for (const Options& options : plan.options) calls.push_back([&rotation, &options] { rotation.run(options); });
  const std::vector<Timing> timings = time_alternately(calls, budget);
  for (size_t t = 0; t < results.size(); ++t) {
    results[t].cold = timings[t];
    if (!rotation.agrees_with(checked)) results[t].failure = "FAILED: a cold copy's output has other bits";
  }
}

void time_all(const BenchPlan& plan, BenchProblem& problem, Peaks& peaks, std::vector<BenchResult>& results) {
  const uint64_t checked = problem.fingerprint();
  const int64_t bytes = BenchProblem::bytes(problem.bench_case(), plan.dtype, plan.direction);
  const int64_t copies = Rotation::copies_for(bytes, available_memory().value_or(0));
  TimingBudget budget = plan.budget;
  if (copies > 1) budget.seconds /= 2;
  time_warm(plan, problem, budget, checked, results);
  if (copies > 1) {
    Rotation rotation(problem, copies);
    time_cold(plan, rotation, budget, checked, results);
  }
  for (size_t t = 0; t < results.size(); ++t) {
    results[t].copies = copies;
    if (copies == 1) results[t].cold = results[t].timing;
    results[t].explanation = problem.explain(plan.options[t]);
    if (results[t].explanation.useful_pairs != static_cast<double>(useful_pairs(results[t].bench_case)))
      results[t].failure = fmt::format("FAILED: nf_explain counts {} useful pairs, the definition {}",
                                       results[t].explanation.useful_pairs, useful_pairs(results[t].bench_case));
    results[t].useful_flops = useful_flops(results[t].bench_case, plan.direction);
    results[t].peak_gflops = peaks.gflops(results[t].explanation.isa);
    results[t].speedup = results[0].timing.median / results[t].timing.median;
  }
}

std::vector<BenchResult> run_case(const BenchPlan& plan, const BenchCase& bench_case, Peaks& peaks) {
  std::vector<BenchResult> results(plan.options.size());
  for (size_t t = 0; t < results.size(); ++t) {
    results[t].bench_case = bench_case;
    results[t].dtype = plan.dtype;
    results[t].direction = plan.direction;
    results[t].threads = plan.options[t].num_threads;
    results[t].failure = memory_refusal(BenchProblem::bytes(bench_case, plan.dtype, plan.direction));
  }
  if (!results[0].failure.empty()) return results;
  try {
    BenchProblem problem(bench_case, plan.dtype, plan.direction);
    check_all(plan, problem, results);
    const auto failed = [](const BenchResult& result) { return !result.failure.empty(); };
    if (std::none_of(results.begin(), results.end(), failed)) {
      time_all(plan, problem, peaks, results);
    } else {
      for (BenchResult& result : results)
        if (!failed(result)) result.failure = "not timed: it failed with another number of threads";
    }
  } catch (const Error& error) {
    for (BenchResult& result : results)
      result.failure = fmt::format("{}: {}", nf_status_name(error.status()), error.what());
  } catch (const std::bad_alloc&) {
    for (BenchResult& result : results) result.failure = "REFUSED: out of memory";
  }
  return results;
}

void list_cases() {
  for (const BenchCase& bench_case : bench_cases()) fmt::print("{:<16} {}\n", bench_case.name, describe(bench_case));
}

// What has no meaning in a suite is refused rather than ignored.
void run_suite(BenchArguments arguments) {
  const std::vector<std::string> names = suite_names();
  if (std::find(names.begin(), names.end(), arguments.suite) == names.end())
    throw UsageError(fmt::format("suite={}: must be one of {}", arguments.suite, fmt::join(names, ", ")));
  const std::pair<const char*, bool> foreign[] = {
      {"case", !arguments.cases.empty()},     {"shape", !arguments.shape.empty()},
      {"pattern", arguments.pattern.any()},   {"engine", arguments.engine != "auto"},
      {"kernel", arguments.kernel != "auto"}, {"direction", arguments.direction != "forward"}};
  for (const auto& [name, is_given] : foreign)
    if (is_given)
      throw UsageError(fmt::format("{}: must not come with --suite {}, which has its own", name, arguments.suite));
  if (arguments.suite == "fna" && arguments.dtype != "f32")
    throw UsageError("dtype=" + arguments.dtype +
                     ": must not come with --suite fna, which has float32 and both halves");
  if (arguments.suite != "fna" && !arguments.plot.empty())
    throw UsageError("plot=" + arguments.plot + ": is for --suite fna");
  if (arguments.json && arguments.markdown) throw UsageError("markdown: must not come with --json");
  if (arguments.threads.empty()) arguments.threads = "1";
  const BenchPlan plan = resolve(arguments);
  if (plan.options.size() != 1)
    throw UsageError(fmt::format("threads={}: must be one number with --suite {}", arguments.threads, arguments.suite));
  SuiteSettings settings;
  settings.dtype = plan.dtype;
  settings.options = plan.options[0];
  settings.budget = plan.budget;
  settings.full = arguments.full;
  settings.plot = arguments.plot;
  settings.format = arguments.json       ? SuiteFormat::json
                    : arguments.markdown ? SuiteFormat::markdown
                                         : SuiteFormat::table;
  if (!run_named_suite(arguments.suite, settings)) throw CLI::RuntimeError(1);
}

void run_bench(const BenchArguments& arguments) {
  if (arguments.list) return list_cases();
  if (!arguments.suite.empty()) return run_suite(arguments);
  if (arguments.full || arguments.markdown || !arguments.plot.empty())
    throw UsageError(fmt::format("{}: is for --suite", arguments.full       ? "full"
                                                       : arguments.markdown ? "markdown"
                                                                            : "plot"));
  const BenchPlan plan = resolve(arguments);
  Peaks peaks(plan.dtype);
  const BenchMachine machine = describe_machine(plan.options[0].isa, peaks);
  if (!arguments.json) {
    print_machine(machine);
    print_table_head(plan.dtype, plan.direction);
  }
  std::vector<BenchResult> results;
  Progress progress(static_cast<int64_t>(plan.cases.size()));
  for (size_t c = 0; c < plan.cases.size(); ++c) {
    progress.show(static_cast<int64_t>(c), plan.cases[c].name);
    const std::vector<BenchResult> found = run_case(plan, plan.cases[c], peaks);
    progress.clear();
    if (!arguments.json)
      for (const BenchResult& result : found) print_result(result);
    results.insert(results.end(), found.begin(), found.end());
  }
  if (arguments.json) fmt::print("{}\n", to_json(machine, results));
  if (std::any_of(results.begin(), results.end(), [](const auto& r) { return !r.failure.empty(); }))
    throw CLI::RuntimeError(1);
}

}  // namespace

void add_bench(CLI::App& app) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* command = app.add_subcommand(
      "bench", "Run named cases, a problem of one's own or a suite: check each output against float64, then time it");
  command->add_option("--case", arguments->cases, "Case to run, repeatable; all for every one (default: a quick set)");
  command->add_flag("--list", arguments->list, "Show the cases and their shapes, run nothing");
  command->add_option("--dtype", arguments->dtype, "f32, bf16, f16 or f64")->capture_default_str();
  command->add_option("--direction", arguments->direction, "forward or backward")->capture_default_str();
  command
      ->add_option("--threads", arguments->threads,
                   "Threads; 0 (default) for all, a suite has 1; with a list as 1,2 each case runs them alternately "
                   "and compares")
      ->type_name("N[,N...]");
  command->add_option("--engine", arguments->engine, engine_names())->capture_default_str();
  command->add_option("--isa", arguments->isa, isa_names())->capture_default_str();
  command->add_option("--kernel", arguments->kernel, kernel_names())->capture_default_str();
  command
      ->add_option("--seconds", arguments->seconds,
                   "Time for a case at most, but 3 repetitions in any case, warm and cold")
      ->capture_default_str();
  command->add_option("--repetitions", arguments->repetitions, "Repetitions of a case at most, warm and cold each")
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "Print one JSON object instead of the table");
  command
      ->add_option("--suite", arguments->suite,
                   "gna: windows and strides of published models, what they gain over dense attention and could; "
                   "hilbert: what the Hilbert curve is worth to block-sparse attention; sphere: the cases on the "
                   "sphere beside planar windows; fna: products of tiles and fused attention over naive")
      ->type_name("NAME")
      ->group("Suite (instead of cases)");
  command
      ->add_flag("--full", arguments->full,
                 "More sizes, of gna the published ones, of the sphere a quarter of a degree: some minutes")
      ->group("Suite (instead of cases)");
  command->add_option("--plot", arguments->plot, "Of fna: draw it, as SVG")
      ->type_name("FILE.svg")
      ->group("Suite (instead of cases)");
  command->add_flag("--markdown", arguments->markdown, "Print Markdown tables")->group("Suite (instead of cases)");
  command->add_option("--shape", arguments->shape, "Of the query: batch,*grid,heads,head_dim; with a pattern")
      ->type_name("N,N,...")
      ->group("A problem of one's own (instead of cases)");
  arguments->pattern.add_to(*command);
  command->callback([arguments] { run_bench(*arguments); });
}

}  // namespace nearfield::cli
