// Copies of a benchmark's problem that are called in turn, so that a call finds its tensors in memory and not in cache.
#pragma once

#include <cstdint>
#include <vector>

#include "bench_problem.h"

namespace nearfield::cli {

class Rotation {
 public:
  // Copies of `bytes` each that make a rotation: as few as exceed 64 MiB together, but 64 at most and no more than fit
  // into a quarter of `available` bytes. At least 1, which is no rotation: the problem alone exceeds 64 MiB, or there
  // is no room for more.
  static int64_t copies_for(int64_t bytes, int64_t available);

  // Copies all tensors of `problem` and poisons the outputs. copies >= 1.
  Rotation(const BenchProblem& problem, int64_t copies);

  int64_t size() const { return static_cast<int64_t>(copies_.size()); }
  // In the order in which they are called.
  BenchProblem& copy(int64_t index) { return copies_[static_cast<size_t>(index)]; }

  // The call that is timed, on the next copy.
  void run(const Options& options);
  // Have all copies that were called the outputs of this fingerprint? False if none was called.
  bool agrees_with(uint64_t fingerprint) const;

 private:
  std::vector<BenchProblem> copies_;
  int64_t calls_ = 0;
};

}  // namespace nearfield::cli
