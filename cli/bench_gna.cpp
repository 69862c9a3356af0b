#include "bench_gna.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <new>

#include "bench_machine.h"

namespace nearfield::cli {
namespace {

Axes halved(Axes axes) {
  for (int64_t& value : axes) value = std::max<int64_t>(value / 2, 1);
  return axes;
}

// One of the subjects, with memory of its own.
struct Run {
  BenchProblem problem;
  uint64_t checked = 0;  // fingerprint of the output that was checked

  Run(const GnaUse& use, const Axes& window, const Axes& stride, nf_dtype dtype)
      : problem({.name = use.name,
                 .grid = use.grid,
                 .heads = 1,
                 .head_dim = kGnaHeadDim,
                 .kernel_size = window,
                 .stride = stride},
                dtype, Direction::forward) {}
};

std::string describe(const Axes& stride) { return fmt::format("stride {}", fmt::join(stride, "x")); }

// "" or what is wrong with its output.
std::string check(Run& run, const Options& options, CheckReport& report) {
  run.problem.poison_outputs();
  run.problem.run(options);
  run.checked = run.problem.fingerprint();
  report = check_output(run.problem);
  return report.failure.empty() ? "" : "FAILED: " + report.failure;
}

// What the engine's plan of this call comes to. Steps have at most as many keys as there are.
Simulated simulate_call(const Axes& grid, const AnyPattern& pattern, const nf_explanation& explanation) {
  const size_t rank = grid.size();
  TileSizes tiles = {{explanation.tile, explanation.tile + rank}, {explanation.step, explanation.step + rank}};
  for (size_t a = 0; a < rank; ++a) {
    tiles.tile[a] = std::min(tiles.tile[a], grid[a]);
    tiles.key_tile[a] = std::min(tiles.key_tile[a], grid[a]);
  }
  return simulate_pattern(pattern, grid, tiles, std::nullopt);
}

// Dense attention and every stride of every use.
struct Subjects {
  std::vector<Run> runs;
  std::vector<GnaTimes*> times;  // of each run; nullptr: dense
  std::string failure;
};

Subjects prepare(std::vector<GnaResult>& results, nf_dtype dtype) {
  Subjects subjects;
  const auto add = [&](const GnaUse& use, const Axes& window, const Axes& stride, GnaTimes* times) {
    const BenchCase sizes = {
        .name = use.name, .grid = use.grid, .heads = 1, .head_dim = kGnaHeadDim, .kernel_size = window};
    if (subjects.failure.empty())
      subjects.failure = memory_refusal(BenchProblem::bytes(sizes, dtype, Direction::forward));
    if (!subjects.failure.empty()) return;
    subjects.runs.emplace_back(use, window, stride, dtype);
    subjects.times.push_back(times);
  };
  const GnaUse& first = results[0].use;
  add(first, first.grid, Axes(first.grid.size(), 1), nullptr);
  for (GnaResult& result : results) {
    result.times.resize(result.use.strides.size());
    for (size_t i = 0; i < result.times.size(); ++i) {
      result.times[i].stride = result.use.strides[i];
      add(result.use, result.use.window, result.use.strides[i], &result.times[i]);
    }
  }
  return subjects;
}

void check_all(Subjects& subjects, const Options& options) {
  for (size_t i = 0; i < subjects.runs.size() && subjects.failure.empty(); ++i) {
    const BenchCase& sizes = subjects.runs[i].problem.bench_case();
    CheckReport report;
    subjects.failure = check(subjects.runs[i], options, report);
    if (subjects.times[i] == nullptr) continue;
    GnaTimes& times = *subjects.times[i];
    const std::string name = sizes.name + ", " + describe(times.stride);
    if (!subjects.failure.empty()) subjects.failure += " (" + name + ")";
    times.check = report;
    times.explanation = subjects.runs[i].problem.explain(options);
    times.simulated = simulate_call(sizes.grid, pattern_of(sizes), times.explanation);
    if (times.simulated.simulation.useful_pairs != times.explanation.useful_pairs)
      subjects.failure = fmt::format("FAILED: nf_explain counts {} useful pairs, nf_simulate {} ({})",
                                     times.explanation.useful_pairs, times.simulated.simulation.useful_pairs, name);
  }
}

void time_all(std::vector<GnaResult>& results, Subjects& subjects, const Options& options, const TimingBudget& budget) {
  std::vector<std::function<void()>> calls;
  for (Run& run : subjects.runs) {
    run.problem.poison_outputs();
    calls.push_back([&run, &options] { run.problem.run(options); });
  }
  const std::vector<Timing> timings = time_alternately(calls, budget, [&](size_t i) {
    if (subjects.runs[i].problem.fingerprint() != subjects.runs[i].checked)
      subjects.failure = "FAILED: the output's bits changed while it was timed";
  });
  for (size_t i = 1; i < timings.size(); ++i) {
    subjects.times[i]->timing = timings[i];
    subjects.times[i]->dense_seconds = timings[0].median;
  }
  for (GnaResult& result : results) {
    result.dense = timings[0];
    result.dense_flops = useful_flops(subjects.runs[0].problem.bench_case(), Direction::forward);
  }
}

}  // namespace

std::vector<GnaUse> gna_uses(bool full) {
  const Axes one = {1, 1, 1};
  const TileSizes cube = {{4, 4, 4}, {4, 4, 4}}, slab = {{4, 8, 8}, {2, 8, 8}}, flat = {{4, 4, 16}, {4, 4, 8}};
  std::vector<GnaUse> uses = {{"cosmos-wide", {16, 44, 80}, {16, 32, 48}, {one, {1, 4, 4}, {1, 8, 8}}, cube},
                              {"cosmos", {16, 44, 80}, {16, 24, 16}, {one, {1, 4, 8}, {1, 8, 16}}, flat},
                              {"hunyuan-wide", {30, 48, 80}, {30, 40, 40}, {one, {1, 4, 4}, {1, 8, 8}}, slab},
                              {"hunyuan", {30, 48, 80}, {18, 24, 24}, {one, {8, 4, 4}, {16, 8, 8}}, slab},
                              {"flux", {256, 256}, {80, 80}, {{1, 1}, {8, 8}, {16, 16}}, {{16, 16}, {16, 16}}}};
  if (full) return uses;
  for (GnaUse& use : uses) {
    use.grid = halved(use.grid);
    use.window = halved(use.window);
    for (Axes& stride : use.strides) stride = halved(stride);
    use.block_sparse_tiles = {halved(use.block_sparse_tiles.tile), halved(use.block_sparse_tiles.key_tile)};
  }
  return uses;
}

double GnaTimes::goal() const { return simulated.simulation.steps.masked_units == 0 ? kGnaBlockSparseGoal : kGnaGoal; }

std::vector<std::vector<GnaUse>> by_grid(const std::vector<GnaUse>& uses) {
  std::vector<std::vector<GnaUse>> groups;
  for (const GnaUse& use : uses) {
    if (groups.empty() || groups.back()[0].grid != use.grid) groups.emplace_back();
    groups.back().push_back(use);
  }
  return groups;
}

std::vector<GnaResult> time_gna(const std::vector<GnaUse>& uses, nf_dtype dtype, const Options& options,
                                const TimingBudget& budget, double peak_gflops) {
  std::vector<GnaResult> results;
  for (const GnaUse& use : uses) {
    results.emplace_back().use = use;
    results.back().peak_gflops = peak_gflops * options.num_threads;
  }
  std::string failure;
  try {
    Subjects subjects = prepare(results, dtype);
    check_all(subjects, options);
    if (subjects.failure.empty()) time_all(results, subjects, options, budget);
    failure = subjects.failure;
  } catch (const Error& error) {
    failure = fmt::format("{}: {}", nf_status_name(error.status()), error.what());
  } catch (const std::bad_alloc&) {
    failure = "REFUSED: out of memory";
  }
  for (GnaResult& result : results) result.failure = failure;
  return results;
}

}  // namespace nearfield::cli
