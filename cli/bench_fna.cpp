#include "bench_fna.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <new>

#include "bench_fna_floor.h"
#include "bench_machine.h"
#include "commands.h"

namespace nearfield::cli {
namespace {

BenchCase fna_case(std::vector<int64_t> grid, std::vector<int64_t> window, int64_t heads, int64_t head_dim,
                   int64_t dilation = 1, bool causal = false) {
  BenchCase result;
  const auto text = [](const std::vector<int64_t>& sizes) { return fmt::format("{}", fmt::join(sizes, "x")); };
  result.name = fmt::format("{} k{} h{} d{}{}{}", text(grid), text(window), heads, head_dim,
                            dilation > 1 ? fmt::format(" dil{}", dilation) : "", causal ? " causal" : "");
  result.grid = std::move(grid);
  result.kernel_size = std::move(window);
  result.heads = heads;
  result.head_dim = head_dim;
  result.dilation.assign(result.grid.size(), dilation);
  result.is_causal = causal;
  return result;
}

// Some of each: a minute or two.
std::vector<BenchCase> quick_cases() {
  return {fna_case({1024}, {3}, 4, 32),
          fna_case({1024}, {31}, 2, 64),
          fna_case({1024}, {127}, 2, 32, 4),
          fna_case({1024}, {511}, 1, 128, 1, true),
          fna_case({1024}, {1024}, 1, 64),
          fna_case({32, 32}, {3, 3}, 4, 32),
          fna_case({32, 32}, {7, 7}, 2, 32),
          fna_case({28, 28}, {7, 7}, 2, 64, 4),
          fna_case({32, 32}, {13, 13}, 1, 128, 1, true),
          fna_case({32, 32}, {32, 32}, 1, 64),
          fna_case({8, 12, 12}, {3, 3, 3}, 2, 32),
          fna_case({8, 12, 12}, {5, 7, 7}, 1, 64)};
}

std::vector<BenchCase> full_cases() {
  std::vector<BenchCase> cases;
  for (const int64_t head_dim : {32, 64, 128}) {
    for (const int64_t length : {1024, 4096})
      for (const int64_t window : {int64_t{3}, int64_t{7}, int64_t{31}, int64_t{127}, int64_t{511}, length}) {
        cases.push_back(fna_case({length}, {window}, 2, head_dim));
        if (window == 31 || window == 127) cases.push_back(fna_case({length}, {window}, 2, head_dim, 4));
        if (window == 511) cases.push_back(fna_case({length}, {window}, 2, head_dim, 1, true));
      }
    for (const int64_t side : {32, 56})
      for (const int64_t window : {int64_t{3}, int64_t{7}, int64_t{13}, int64_t{25}, side}) {
        cases.push_back(fna_case({side, side}, {window, window}, 2, head_dim));
        if (window == 7) cases.push_back(fna_case({side, side}, {window, window}, 2, head_dim, 4));
        if (window == 13) cases.push_back(fna_case({side, side}, {window, window}, 2, head_dim, 1, true));
      }
    for (const int64_t window : {3, 5, 7})
      cases.push_back(fna_case({8, 16, 16}, {window, window, window}, 2, head_dim));
    cases.push_back(fna_case({16, 16, 16}, {3, 7, 7}, 1, head_dim, 2));
    cases.push_back(fna_case({8, 12, 12}, {8, 12, 12}, 1, head_dim));
  }
  return cases;
}

struct Run {
  BenchProblem forward;
  BenchProblem backward;  // its prepare() is a forward
  Options options;
  std::vector<std::byte> workspace;  // of the unfused methods: the weights, as a framework's allocator keeps them
  uint64_t checked = 0, checked_backward = 0;
};

// "" or what is wrong with an output.
std::string check(Run& run, bool with_backward, double& error) {
  run.forward.poison_outputs();
  run.forward.run(run.options);
  run.checked = run.forward.fingerprint();
  CheckReport report = check_output(run.forward);
  error = report.error_max;
  if (!report.failure.empty() || !with_backward) return report.failure;
  run.backward.poison_outputs();
  run.backward.prepare(run.options);
  run.backward.run(run.options);
  run.checked_backward = run.backward.fingerprint();
  report = check_output(run.backward);
  error = std::max(error, report.error_max);
  return report.failure;
}

double least_seconds(const Run& run, const FnaTimes& times, const FnaParts& parts) {
  const nf_explanation e = run.forward.explain(run.options);
  const BenchCase& bench_case = run.forward.bench_case();
  // A dense product includes what its tiles hold and nobody sees.
  const double waste = e.engine == NF_ENGINE_GEMM ? e.waste : 1;
  const double seconds = e.engine == NF_ENGINE_CPU
                             ? least_fused_seconds(parts, bench_case, times.with_backward)
                             : least_unfused_seconds(parts, bench_case, times.with_backward, waste);
  return seconds / run.options.num_threads;
}

void check_and_time(FnaTimes& times, const Options& options, const TimingBudget& budget) {
  std::vector<Run> runs;
  for (const nf_engine engine : kFnaEngines) {
    Options own = options;
    own.engine = engine;
    runs.push_back({BenchProblem(times.bench_case, times.dtype, Direction::forward),
                    BenchProblem(times.bench_case, times.dtype, Direction::backward),
                    own,
                    {}});
    if (engine == NF_ENGINE_CPU) continue;
    Run& run = runs.back();
    run.workspace.resize(2 * run.forward.explain(own).workspace);  // a backward has two tensors of weights
    run.options.with_workspace(run.workspace);
  }
  const FnaParts parts =
      measure_fna_parts(times.bench_case, times.dtype, runs[kNaive].forward.explain(runs[kNaive].options).isa);
  times.product_gflops = parts.product_gflops;
  std::vector<std::function<void()>> calls;
  for (size_t m = 0; m < runs.size(); ++m) {
    const std::string failure = check(runs[m], times.with_backward, times.errors[m]);
    if (!failure.empty()) times.failure = fmt::format("FAILED: {} ({})", failure, kFnaNames[m]);
    if (!times.failure.empty()) return;
    calls.push_back([&run = runs[m], &times] {
      if (!times.with_backward) return run.forward.run(run.options);
      run.backward.prepare(run.options);
      run.backward.run(run.options);
    });
  }
  for (size_t m = 0; m < runs.size(); ++m) times.least_seconds[m] = least_seconds(runs[m], times, parts);
  times.weights_bytes = static_cast<double>(runs[kGemm].forward.explain(runs[kGemm].options).workspace);
  const std::vector<Timing> timings = time_alternately(calls, budget, [&](size_t m) {
    const bool same = times.with_backward ? runs[m].backward.fingerprint() == runs[m].checked_backward
                                          : runs[m].forward.fingerprint() == runs[m].checked;
    if (!same) times.failure = fmt::format("FAILED: the output's bits changed while it was timed ({})", kFnaNames[m]);
  });
  std::copy(timings.begin(), timings.end(), times.timings.begin());
}

}  // namespace

std::vector<BenchCase> fna_cases(bool full) { return full ? full_cases() : quick_cases(); }

FnaTimes time_fna(const BenchCase& bench_case, nf_dtype dtype, bool with_backward, const Options& options,
                  const TimingBudget& budget) {
  FnaTimes times;
  times.bench_case = bench_case;
  times.dtype = dtype;
  times.with_backward = with_backward;
  times.failure = memory_refusal(2 * kFnaMethods * BenchProblem::bytes(bench_case, dtype, Direction::backward));
  if (!times.failure.empty()) return times;
  try {
    check_and_time(times, options, budget);
  } catch (const Error& error) {
    times.failure = fmt::format("{}: {}", nf_status_name(error.status()), error.what());
  } catch (const std::bad_alloc&) {
    times.failure = "REFUSED: out of memory";
  }
  return times;
}

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::met: return "met";
    case Verdict::missed: return "missed";
    case Verdict::bound: return "bound";
    case Verdict::unknown: return "not measured";
  }
  return "";
}

std::vector<FnaHeadline> fna_headlines(const std::vector<FnaTimes>& times) {
  std::vector<FnaHeadline> headlines = {
      {"float32 GEMM, 1-D", false, kGemm, 1, 9.95}, {"float32 GEMM, 2-D", false, kGemm, 2, 3.72},
      {"half GEMM, 1-D", true, kGemm, 1, 5.96},     {"half GEMM, 2-D", true, kGemm, 2, 2.13},
      {"half fused, 1-D", true, kFused, 1, 17.07},  {"half fused, 2-D", true, kFused, 2, 6.81}};
  for (FnaHeadline& headline : headlines) {
    for (const FnaTimes& each : times) {
      if (!each.failure.empty() || each.rank() != headline.rank || (each.dtype != NF_FLOAT32) != headline.half)
        continue;
      ++headline.cases;
      headline.average += each.speedup(headline.method);
      headline.most += each.most(headline.method);
      headline.share += each.least_seconds[headline.method] / each.timings[headline.method].median;
    }
    if (headline.cases == 0) continue;
    headline.average /= headline.cases;
    headline.most /= headline.cases;
    headline.share /= headline.cases;
    headline.verdict = headline.average >= headline.paper ? Verdict::met
                       : headline.most < headline.paper   ? Verdict::bound
                                                          : Verdict::missed;
  }
  return headlines;
}

bool succeeded(const FnaReport& report) {
  const std::vector<FnaHeadline> headlines = fna_headlines(report.times);
  return std::all_of(report.times.begin(), report.times.end(), [](const FnaTimes& t) { return t.failure.empty(); }) &&
         std::none_of(headlines.begin(), headlines.end(),
                      [](const FnaHeadline& h) { return h.verdict == Verdict::missed; });
}

}  // namespace nearfield::cli
