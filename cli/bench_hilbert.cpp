#include "bench_hilbert.h"

#include <fmt/format.h>

#include <functional>
#include <new>

#include "bench_machine.h"

namespace nearfield::cli {
namespace {

struct Subject {
  bool on_curve;
  nf_engine engine;
};
constexpr Subject kSubjects[kContenders] = {
    {false, NF_ENGINE_BLOCK_SPARSE}, {true, NF_ENGINE_BLOCK_SPARSE}, {false, NF_ENGINE_CPU}, {true, NF_ENGINE_CPU}};

BenchCase case_of(LocalKind kind, const HilbertSize& size, bool on_curve) {
  return {.name = std::string(name_of(kind)),
          .grid = {size.side, size.side},
          .heads = kHilbertHeads,
          .head_dim = kHilbertHeadDim,
          .pattern = on_curve ? pattern_on_curve(kind, size.width) : pattern_on_grid(kind, size.width)};
}

// One of the four ways, with memory of its own.
struct Run {
  BenchProblem problem;
  Options options;
  uint64_t checked = 0;  // fingerprint of the output that was checked

  Run(LocalKind kind, const HilbertSize& size, const Subject& subject, nf_dtype dtype, const Options& given)
      : problem(case_of(kind, size, subject.on_curve), dtype, Direction::forward), options(given) {
    options.engine = subject.engine;
  }
};

// "" or what is wrong with its output.
std::string check(Run& run, HilbertTimes& times, size_t which) {
  run.problem.poison_outputs();
  run.problem.run(run.options);
  run.checked = run.problem.fingerprint();
  times.checks[which] = check_output(run.problem);
  if (!times.checks[which].failure.empty()) return "FAILED: " + times.checks[which].failure;
  times.explanations[which] = run.problem.explain(run.options);
  const auto pairs = static_cast<double>(useful_pairs(run.problem.bench_case()));
  if (times.explanations[which].useful_pairs != pairs)
    return fmt::format("FAILED: nf_explain counts {} useful pairs, the definition {}",
                       times.explanations[which].useful_pairs, pairs);
  times.useful_flops[which] = useful_flops(run.problem.bench_case(), Direction::forward);
  return "";
}

std::string describe(const Subject& subject) {
  return fmt::format("{} {}", nf_engine_name(subject.engine), subject.on_curve ? "Hilbert" : "row-major");
}

}  // namespace

std::string_view name_of(LocalKind kind) {
  switch (kind) {
    case LocalKind::window: return "window";
    case LocalKind::slide: return "slide";
    case LocalKind::neighborhood: return "neighborhood";
  }
  return "unknown";
}

AnyPattern pattern_on_grid(LocalKind kind, int64_t width) {
  const int64_t widths[2] = {width, width};
  if (kind == LocalKind::window) return nf_make_window(2, widths);
  nf_neighborhood result = nf_make_neighborhood(2, widths);
  if (kind == LocalKind::slide) result.boundary[0] = result.boundary[1] = NF_CUT;
  return result;
}

AnyPattern pattern_on_curve(LocalKind kind, int64_t width) {
  const nf_curve_form form = kind == LocalKind::window  ? NF_CURVE_WINDOW
                             : kind == LocalKind::slide ? NF_CURVE_SLIDE
                                                        : NF_CURVE_NEIGHBORHOOD;
  return nf_make_curve(2, NF_HILBERT, form, width * width);
}

double empty_ratio(const nf_block_counts& counts) {
  return counts.blocks == 0 ? 0 : static_cast<double>(counts.empty) / static_cast<double>(counts.blocks);
}

EmptyBlocks count_empty_blocks(const HilbertSize& size) {
  EmptyBlocks result;
  result.size = size;
  const int64_t grid[2] = {size.side, size.side};
  for (size_t kind = 0; kind < std::size(kLocalKinds); ++kind) {
    const auto count = [&](const AnyPattern& pattern, nf_block_counts& counts) {
      detail::check(nf_block_map(head_of(pattern), grid, kPaperBlock, 0, nullptr, &counts));
    };
    count(pattern_on_grid(kLocalKinds[kind], size.width), result.row_major[kind]);
    count(pattern_on_curve(kLocalKinds[kind], size.width), result.hilbert[kind]);
  }
  return result;
}

std::vector<HilbertSize> counted_sizes() {
  return {{56, 7},  {64, 4},  {64, 8},  {64, 16},  {96, 4},   {96, 8},
          {96, 16}, {96, 32}, {128, 8}, {128, 16}, {128, 32}, {256, 16}};
}

std::vector<HilbertSize> timed_sizes(bool full) {
  if (!full) return {{64, 8}, kGoalSize};
  return {{56, 7}, {64, 8}, {64, 16}, kGoalSize, {128, 8}, {128, 16}, {128, 32}};
}

HilbertTimes time_hilbert(LocalKind kind, const HilbertSize& size, nf_dtype dtype, const Options& options,
                          const TimingBudget& budget, double peak_gflops) {
  HilbertTimes times;
  times.kind = kind;
  times.size = size;
  times.peak_gflops = peak_gflops * options.num_threads;
  times.failure =
      memory_refusal(kContenders * BenchProblem::bytes(case_of(kind, size, false), dtype, Direction::forward));
  if (!times.failure.empty()) return times;
  try {
    std::vector<Run> runs;
    for (const Subject& subject : kSubjects) runs.emplace_back(kind, size, subject, dtype, options);
    for (size_t i = 0; i < runs.size(); ++i) {
      const std::string failure = check(runs[i], times, i);
      if (!failure.empty()) times.failure = failure + " (" + describe(kSubjects[i]) + ")";
      if (!times.failure.empty()) return times;
    }
    std::vector<std::function<void()>> calls;
    for (Run& run : runs) {
      run.problem.poison_outputs();
      calls.push_back([&run] { run.problem.run(run.options); });
    }
    const std::vector<Timing> timings = time_alternately(calls, budget, [&](size_t i) {
      if (runs[i].problem.fingerprint() != runs[i].checked)
        times.failure = "FAILED: the output's bits changed while it was timed (" + describe(kSubjects[i]) + ")";
    });
    std::copy(timings.begin(), timings.end(), times.timings.begin());
  } catch (const Error& error) {
    times.failure = fmt::format("{}: {}", nf_status_name(error.status()), error.what());
  } catch (const std::bad_alloc&) {
    times.failure = "REFUSED: out of memory";
  }
  return times;
}

}  // namespace nearfield::cli
