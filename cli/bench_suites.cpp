#include "bench_suites.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "bench_fna.h"
#include "bench_gna.h"
#include "bench_hilbert.h"
#include "bench_machine.h"
#include "bench_sphere.h"
#include "commands.h"
#include "progress.h"

namespace nearfield::cli {
namespace {

bool run_hilbert_suite(const SuiteSettings& settings) {
  const SuiteFormat format = settings.format;
  const bool quiet = format == SuiteFormat::json;
  HilbertReport report;
  Peaks peaks(settings.dtype);
  report.machine = describe_machine(settings.options.isa, peaks);
  report.dtype = settings.dtype;
  report.threads = settings.options.num_threads;
  const std::vector<HilbertSize> timed = timed_sizes(settings.full);
  Progress progress(static_cast<int64_t>(counted_sizes().size() + std::size(kLocalKinds) * timed.size()));
  int64_t done = 0;
  const auto show = [&](const char* what, const HilbertSize& size) {
    progress.show(done++, fmt::format("{} {}x{}, k = {}", what, size.side, size.side, size.width));
  };
  if (!quiet) print_machine(report.machine);
  if (!quiet) print_blocks_head(format);
  for (const HilbertSize& size : counted_sizes()) {
    show("blocks", size);
    report.blocks.push_back(count_empty_blocks(size));
    progress.clear();
    if (!quiet) print_blocks(report.blocks.back(), format);
  }
  if (!quiet) print_times_head(report, format);
  for (const LocalKind kind : kLocalKinds)
    for (const HilbertSize& size : timed) {
      show(std::string(name_of(kind)).c_str(), size);
      report.times.push_back(
          time_hilbert(kind, size, settings.dtype, settings.options, settings.budget, report.machine.peak_gflops));
      progress.clear();
      if (!quiet) print_times(report.times.back(), format);
    }
  quiet ? fmt::print("{}\n", to_json(report)) : print_goal(report.times);
  return std::all_of(report.times.begin(), report.times.end(), [](const auto& t) { return t.failure.empty(); });
}

bool run_sphere_suite(const SuiteSettings& settings) {
  const SuiteFormat format = settings.format;
  const bool quiet = format == SuiteFormat::json;
  SphereReport report;
  Peaks peaks(settings.dtype);
  report.machine = describe_machine(settings.options.isa, peaks);
  report.dtype = settings.dtype;
  report.threads = settings.options.num_threads;
  const std::vector<SphereSubject> subjects = sphere_subjects(settings.full);
  Progress progress(3 * static_cast<int64_t>(subjects.size()));
  int64_t done = 0;
  if (!quiet) print_machine(report.machine);
  // First, while this process is small: those that are measured begin as copies of it.
  for (const SphereSubject& subject : subjects) {
    progress.show(done++, subject.on_sphere.name + ", memory");
    report.memory.push_back(measure_memory(subject.on_sphere, settings.dtype, settings.options));
  }
  progress.clear();
  if (!quiet) print_sphere_head(report, format);
  for (const SphereSubject& subject : subjects)
    for (const Direction direction : {Direction::forward, Direction::backward}) {
      progress.show(done++, fmt::format("{}, {}", subject.on_sphere.name, name_of(direction)));
      report.times.push_back(time_sphere(subject, settings.dtype, direction, settings.options, settings.budget,
                                         report.machine.peak_gflops));
      progress.clear();
      if (!quiet) print_sphere_times(report.times.back(), format);
    }
  quiet ? fmt::print("{}\n", to_json(report)) : print_sphere_memory(report);
  const auto succeeded = [](const auto& each) { return each.failure.empty(); };
  return std::all_of(report.times.begin(), report.times.end(), succeeded) &&
         std::all_of(report.memory.begin(), report.memory.end(), succeeded);
}

bool run_gna_suite(const SuiteSettings& settings) {
  const SuiteFormat format = settings.format;
  const bool quiet = format == SuiteFormat::json;
  GnaReport report;
  Peaks peaks(settings.dtype);
  report.machine = describe_machine(settings.options.isa, peaks);
  report.dtype = settings.dtype;
  report.threads = settings.options.num_threads;
  report.full = settings.full;
  TimingBudget budget = settings.budget;
  budget.repetitions = std::min(budget.repetitions, 3);  // dense attention takes seconds, with --full minutes
  const std::vector<std::vector<GnaUse>> groups = by_grid(gna_uses(settings.full));
  Progress progress(static_cast<int64_t>(groups.size()));
  if (!quiet) print_machine(report.machine);
  if (!quiet) print_gna_head(report, format);
  for (size_t i = 0; i < groups.size(); ++i) {
    progress.show(static_cast<int64_t>(i), groups[i][0].name);
    const std::vector<GnaResult> found =
        time_gna(groups[i], settings.dtype, settings.options, budget, report.machine.peak_gflops);
    progress.clear();
    report.results.insert(report.results.end(), found.begin(), found.end());
    if (!quiet)
      for (const GnaResult& result : found) print_gna(result, format);
  }
  quiet ? fmt::print("{}\n", to_json(report)) : print_gna_goal(report.results);
  return std::all_of(report.results.begin(), report.results.end(), [](const auto& r) { return r.failure.empty(); });
}

// All dtypes in one run; the quick one's budget is that of its cases, which are many.
bool run_fna_suite(const SuiteSettings& settings) {
  const bool quiet = settings.format == SuiteFormat::json;
  FnaReport report;
  Peaks peaks(NF_FLOAT32);
  report.machine = describe_machine(settings.options.isa, peaks);
  report.threads = settings.options.num_threads;
  TimingBudget budget = settings.budget;
  budget.seconds = std::min(budget.seconds, settings.full ? 2.0 : 0.25);
  std::ofstream plot;
  if (!settings.plot.empty()) plot.open(settings.plot);
  if (!settings.plot.empty() && !plot) throw Failure(fmt::format("plot={}: can't be written", settings.plot));
  const std::vector<BenchCase> cases = fna_cases(settings.full);
  Progress progress(6 * static_cast<int64_t>(cases.size()));
  int64_t done = 0;
  if (!quiet) print_machine(report.machine);
  if (!quiet) print_fna_head(report, settings.format);
  for (const BenchCase& bench_case : cases)
    for (const nf_dtype dtype : {NF_FLOAT32, NF_BFLOAT16, NF_FLOAT16})
      for (const bool with_backward : {false, true}) {
        progress.show(done++, fmt::format("{} {}", bench_case.name, nf_dtype_name(dtype)));
        report.times.push_back(time_fna(bench_case, dtype, with_backward, settings.options, budget));
        progress.clear();
        if (!quiet) print_fna_times(report.times.back(), settings.format);
      }
  quiet ? fmt::print("{}\n", to_json(report)) : print_fna_headlines(report, settings.format);
  if (plot.is_open() && !(plot << fna_svg(report) << std::flush))
    throw Failure(fmt::format("plot={}: can't be written", settings.plot));
  return succeeded(report);
}

struct Suite {
  const char* name;
  bool (*run)(const SuiteSettings&);
};
constexpr Suite kSuites[] = {
    {"fna", run_fna_suite}, {"gna", run_gna_suite}, {"hilbert", run_hilbert_suite}, {"sphere", run_sphere_suite}};

}  // namespace

std::vector<std::string> suite_names() {
  std::vector<std::string> names;
  for (const Suite& suite : kSuites) names.emplace_back(suite.name);
  return names;
}

bool run_named_suite(std::string_view name, const SuiteSettings& settings) {
  for (const Suite& suite : kSuites)
    if (name == suite.name) return suite.run(settings);
  throw Failure(fmt::format("suite={}: there is none", name));
}

}  // namespace nearfield::cli
