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
Simulated simulate_call(const GnaUse& use, const AnyPattern& pattern, const nf_explanation& explanation) {
  const size_t rank = use.grid.size();
  TileSizes tiles = {{explanation.tile, explanation.tile + rank}, {explanation.step, explanation.step + rank}};
  for (size_t a = 0; a < rank; ++a) {
    tiles.tile[a] = std::min(tiles.tile[a], use.grid[a]);
    tiles.key_tile[a] = std::min(tiles.key_tile[a], use.grid[a]);
  }
  return simulate_pattern(pattern, use.grid, tiles, std::nullopt);
}

void check_all(GnaResult& result, std::vector<Run>& runs, const Options& options) {
  for (size_t i = 0; i < runs.size() && result.failure.empty(); ++i) {
    CheckReport report;
    result.failure = check(runs[i], options, report);
    if (i == 0) continue;
    GnaTimes& times = result.times[i - 1];
    if (!result.failure.empty()) result.failure += " (" + describe(times.stride) + ")";
    times.check = report;
    times.explanation = runs[i].problem.explain(options);
    times.simulated = simulate_call(result.use, pattern_of(runs[i].problem.bench_case()), times.explanation);
    if (times.simulated.simulation.useful_pairs != times.explanation.useful_pairs)
      result.failure =
          fmt::format("FAILED: nf_explain counts {} useful pairs, nf_simulate {} ({})", times.explanation.useful_pairs,
                      times.simulated.simulation.useful_pairs, describe(times.stride));
  }
}

void time_all(GnaResult& result, std::vector<Run>& runs, const Options& options, const TimingBudget& budget) {
  std::vector<std::function<void()>> calls;
  for (Run& run : runs) {
    run.problem.poison_outputs();
    calls.push_back([&run, &options] { run.problem.run(options); });
  }
  const std::vector<Timing> timings = time_alternately(calls, budget, [&](size_t i) {
    if (runs[i].problem.fingerprint() != runs[i].checked)
      result.failure = "FAILED: the output's bits changed while it was timed";
  });
  result.dense = timings[0];
  for (size_t i = 0; i < result.times.size(); ++i) {
    result.times[i].timing = timings[i + 1];
    result.times[i].dense_seconds = result.dense.median;
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

GnaResult time_gna(const GnaUse& use, nf_dtype dtype, const Options& options, const TimingBudget& budget,
                   double peak_gflops) {
  GnaResult result;
  result.use = use;
  result.peak_gflops = peak_gflops * options.num_threads;
  try {
    const Axes one(use.grid.size(), 1);
    std::vector<Run> runs;
    const auto add = [&](const Axes& window, const Axes& stride) {
      const BenchCase sizes = {
          .name = use.name, .grid = use.grid, .heads = 1, .head_dim = kGnaHeadDim, .kernel_size = window};
      result.failure = memory_refusal(BenchProblem::bytes(sizes, dtype, Direction::forward));
      if (result.failure.empty()) runs.emplace_back(use, window, stride, dtype);
    };
    add(use.grid, one);
    for (const Axes& stride : use.strides) {
      if (!result.failure.empty()) return result;
      add(use.window, stride);
      result.times.emplace_back().stride = stride;
    }
    if (result.failure.empty()) check_all(result, runs, options);
    if (!result.failure.empty()) return result;
    result.dense_flops = useful_flops(runs[0].problem.bench_case(), Direction::forward);
    time_all(result, runs, options, budget);
  } catch (const Error& error) {
    result.failure = fmt::format("{}: {}", nf_status_name(error.status()), error.what());
  } catch (const std::bad_alloc&) {
    result.failure = "REFUSED: out of memory";
  }
  return result;
}

}  // namespace nearfield::cli
