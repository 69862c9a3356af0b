// Timing of one call or of several alternately.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace nearfield::cli {

struct TimingBudget {
  double seconds = 10;   // for all subjects together; the least number of repetitions may exceed it
  int repetitions = 20;  // at most; at least min(3, repetitions)
};

struct Timing {
  double median = 0;  // seconds of one call
  double spread = 0;  // (90th percentile - 10th percentile) / median, over the repetitions
  int repetitions = 0;
  int calls = 0;  // in one repetition: calls too short for the clock are timed in groups
};

// Quantile of `values` (not empty), linear between neighbours; 0 <= fraction <= 1.
double quantile(std::vector<double> values, double fraction);

// Warms up, then repeats subject 0, subject 1, ..., subject 0, ... so that a change of the machine's speed meets them
// alike. One Timing for each. after(s), if given, follows each repetition of subject s and is not timed.
std::vector<Timing> time_alternately(std::span<const std::function<void()>> subjects, const TimingBudget& budget,
                                     const std::function<void(size_t)>& after = {});

}  // namespace nearfield::cli
