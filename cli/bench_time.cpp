#include "bench_time.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace nearfield::cli {
namespace {

constexpr int kLeastRepetitions = 3;
constexpr double kLeastSeconds = 5e-3;  // of one repetition
constexpr double kWarmUpSeconds = 0.1;
constexpr double kMostCalls = 1e5;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Seconds of one call, from `calls` in a row.
double time_calls(const std::function<void()>& subject, int calls) {
  const double begin = now();
  for (int i = 0; i < calls; ++i) subject();
  return (now() - begin) / calls;
}

// Runs until caches, clock and thread pool have settled; returns how many calls make one repetition.
int warm_up(const std::function<void()>& subject) {
  const double begin = now();
  double fastest = time_calls(subject, 1);
  while (now() - begin < kWarmUpSeconds) fastest = std::min(fastest, time_calls(subject, 1));
  return static_cast<int>(std::clamp(std::ceil(kLeastSeconds / std::max(fastest, 1e-9)), 1.0, kMostCalls));
}

}  // namespace

double quantile(std::vector<double> values, double fraction) {
  std::sort(values.begin(), values.end());
  const double place = fraction * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(place), above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

std::vector<Timing> time_alternately(std::span<const std::function<void()>> subjects, const TimingBudget& budget,
                                     const std::function<void(size_t)>& after) {
  const double begin = now();
  std::vector<Timing> timings(subjects.size());
  std::vector<std::vector<double>> samples(subjects.size());
  for (size_t s = 0; s < subjects.size(); ++s) timings[s].calls = warm_up(subjects[s]);
  for (int repetition = 0; repetition < budget.repetitions; ++repetition) {
    if (repetition >= kLeastRepetitions && now() - begin >= budget.seconds) break;
    for (size_t s = 0; s < subjects.size(); ++s) {
      samples[s].push_back(time_calls(subjects[s], timings[s].calls));
      if (after) after(s);
    }
  }
  for (size_t s = 0; s < subjects.size(); ++s) {
    timings[s].median = quantile(samples[s], 0.5);
    timings[s].spread = (quantile(samples[s], 0.9) - quantile(samples[s], 0.1)) / timings[s].median;
    timings[s].repetitions = static_cast<int>(samples[s].size());
  }
  return timings;
}

}  // namespace nearfield::cli
