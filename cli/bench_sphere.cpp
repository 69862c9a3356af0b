#include "bench_sphere.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <new>

#include "bench_machine.h"
#include "commands.h"

namespace nearfield::cli {
namespace {

const BenchCase& case_of(const SphereSubject& subject, size_t which) {
  return which == kOnSphere ? subject.on_sphere : subject.on_plane;
}
const char* describe(size_t which) { return which == kOnSphere ? "on the sphere" : "on the plane"; }

// One of the two, with memory of its own.
struct Run {
  BenchProblem problem;
  uint64_t checked = 0;  // fingerprint of the output that was checked
};

// "" or what is wrong with its output.
std::string check(Run& run, const Options& options, SphereTimes& times, size_t which) {
  run.problem.poison_outputs();
  run.problem.prepare(options);
  run.problem.run(options);
  run.checked = run.problem.fingerprint();
  times.checks[which] = check_output(run.problem);
  if (!times.checks[which].failure.empty()) return "FAILED: " + times.checks[which].failure;
  times.explanations[which] = run.problem.explain(options);
  times.pairs[which] = static_cast<double>(useful_pairs(run.problem.bench_case()));
  if (times.explanations[which].useful_pairs != times.pairs[which])
    return fmt::format("FAILED: nf_explain counts {} useful pairs, the definition {}",
                       times.explanations[which].useful_pairs, times.pairs[which]);
  times.useful_flops[which] = useful_flops(run.problem.bench_case(), times.direction);
  return "";
}

void check_and_time(SphereTimes& times, nf_dtype dtype, const Options& options, const TimingBudget& budget) {
  std::vector<Run> runs;
  for (size_t i = 0; i < kSphereContenders; ++i)
    runs.push_back({BenchProblem(case_of(times.subject, i), dtype, times.direction)});
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::string failure = check(runs[i], options, times, i);
    if (!failure.empty()) times.failure = fmt::format("{} ({})", failure, describe(i));
    if (!times.failure.empty()) return;
  }
  std::vector<std::function<void()>> calls;
  for (Run& run : runs) {
    run.problem.poison_outputs();
    calls.push_back([&run, &options] { run.problem.run(options); });
  }
  const std::vector<Timing> timings = time_alternately(calls, budget, [&](size_t i) {
    if (runs[i].problem.fingerprint() != runs[i].checked)
      times.failure = fmt::format("FAILED: the output's bits changed while it was timed ({})", describe(i));
  });
  std::copy(timings.begin(), timings.end(), times.timings.begin());
}

// Ends the process.
[[noreturn]] void run_both_passes(const BenchCase& bench_case, nf_dtype dtype, const Options& options) {
  int status = 0;
  try {
    const BenchProblem problem(bench_case, dtype, Direction::backward);
    problem.prepare(options);
    problem.run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", bench_case.name, error.what());
    status = 1;
  }
  _exit(status);  // no buffer of the parent is written a second time
}

}  // namespace

SphereSubject sphere_subject(const BenchCase& on_sphere, int64_t width) {
  BenchCase on_plane = on_sphere;
  on_plane.name += "-plane";
  on_plane.pattern.reset();
  on_plane.kernel_size = {width, width};
  on_plane.boundary = {NF_CLAMP, NF_WRAP};
  return {on_sphere, on_plane};
}

std::vector<SphereSubject> sphere_subjects(bool full) {
  std::vector<SphereSubject> subjects;
  const auto add = [&](const char* name, int64_t width) {
    subjects.push_back(sphere_subject(*find_bench_case(name), width));
  };
  add("sphere-1deg", 7);
  add("sphere-1deg-default", 3);
  add("sphere-up", 7);
  if (full) add("sphere-quarter", 7);
  return subjects;
}

SphereTimes time_sphere(const SphereSubject& subject, nf_dtype dtype, Direction direction, const Options& options,
                        const TimingBudget& budget, double peak_gflops) {
  SphereTimes times;
  times.subject = subject;
  times.direction = direction;
  times.peak_gflops = peak_gflops * options.num_threads;
  int64_t bytes = 0;
  for (size_t i = 0; i < kSphereContenders; ++i) bytes += BenchProblem::bytes(case_of(subject, i), dtype, direction);
  times.failure = memory_refusal(bytes);
  if (!times.failure.empty()) return times;
  try {
    check_and_time(times, dtype, options, budget);
  } catch (const Error& error) {
    times.failure = fmt::format("{}: {}", nf_status_name(error.status()), error.what());
  } catch (const std::bad_alloc&) {
    times.failure = "REFUSED: out of memory";
  }
  return times;
}

SphereMemory measure_memory(const BenchCase& bench_case, nf_dtype dtype, const Options& options) {
  SphereMemory memory;
  memory.name = bench_case.name;
  memory.tensors = BenchProblem::bytes(bench_case, dtype, Direction::backward);
  memory.failure = memory_refusal(memory.tensors);
  if (!memory.failure.empty()) return memory;
  const pid_t child = fork();
  if (child < 0) throw Failure("fork: no process can be started");
  if (child == 0) run_both_passes(bench_case, dtype, options);
  int status = 0;
  rusage usage = {};
  if (wait4(child, &status, 0, &usage) != child) throw Failure("wait4: the process is lost");
  memory.peak = int64_t{usage.ru_maxrss} * 1024;  // Linux counts in KiB
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    memory.failure = fmt::format("FAILED: the process ended with status {}", status);
  return memory;
}

}  // namespace nearfield::cli
