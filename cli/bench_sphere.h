// `nearfield bench --suite sphere`: the cases on the sphere, forward and backward, beside a planar neighborhood.
//
// What a pair of a query and a key costs on the sphere is compared with what it costs in a window of as many keys on
// the same grid, taken as a plane that wraps around in longitude: the two are timed in turn. Poles, quadrature weights
// and two different grids are what the sphere has more to do; a plane has none of them, and is no substitute for it.
// And the memory of a process that runs forward and backward once.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "bench_problem.h"
#include "bench_report.h"
#include "bench_time.h"

namespace nearfield::cli {

// Timed alternately, in this order.
enum SphereContender { kOnSphere, kOnPlane, kSphereContenders };

struct SphereSubject {
  BenchCase on_sphere, on_plane;
};
// full: a quarter of a degree, too.
std::vector<SphereSubject> sphere_subjects(bool full);
// Beside a neighborhood of width x width on the query's grid.
SphereSubject sphere_subject(const BenchCase& on_sphere, int64_t width);

struct SphereTimes {
  SphereSubject subject;
  Direction direction = Direction::forward;
  std::string failure;  // not empty: there are no times
  std::array<Timing, kSphereContenders> timings;
  std::array<nf_explanation, kSphereContenders> explanations{};  // of the forward
  std::array<CheckReport, kSphereContenders> checks;
  std::array<double, kSphereContenders> pairs{}, useful_flops{};
  double peak_gflops = 0;  // of all threads

  double seconds(SphereContender which) const { return timings[which].median; }
  double pairs_per_second(SphereContender which) const { return pairs[which] / seconds(which); }
  double useful_gflops(SphereContender which) const { return useful_flops[which] / seconds(which) * 1e-9; }
  double roofline_fraction(SphereContender which) const { return useful_gflops(which) / peak_gflops; }
  // Pairs in a second, of those on the plane: above 1 the sphere's are faster.
  double relative_speed() const { return pairs_per_second(kOnSphere) / pairs_per_second(kOnPlane); }
};
// Checks both outputs, then times them. peak_gflops: of one thread.
SphereTimes time_sphere(const SphereSubject& subject, nf_dtype dtype, Direction direction, const Options& options,
                        const TimingBudget& budget, double peak_gflops);

struct SphereMemory {
  std::string name, failure;
  int64_t peak = 0;     // bytes that a process held at most: its program, its tensors, plan and workspace
  int64_t tensors = 0;  // bytes of query, key, value, out, logsumexp and the gradients of all but logsumexp
};
// Of a process of its own, which runs forward and backward.
SphereMemory measure_memory(const BenchCase& bench_case, nf_dtype dtype, const Options& options);

// Forward and backward of sphere-quarter in float32 are to fit into this.
inline constexpr int64_t kSphereMemoryGoal = int64_t{2} << 30;

struct SphereReport {
  BenchMachine machine;
  nf_dtype dtype = NF_FLOAT32;
  int32_t threads = 1;
  std::vector<SphereTimes> times;
  std::vector<SphereMemory> memory;
};

void print_sphere_head(const SphereReport& report, SuiteFormat format);
void print_sphere_times(const SphereTimes& times, SuiteFormat format);
// A line for each case, and whether the goal is met if it was measured.
void print_sphere_memory(const SphereReport& report);
std::string to_json(const SphereReport& report);

}  // namespace nearfield::cli
