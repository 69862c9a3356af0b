#include "bench_rotation.h"

#include <algorithm>

namespace nearfield::cli {
namespace {

constexpr int64_t kTotalBytes = int64_t{64} << 20;
constexpr int64_t kMostCopies = 64;

}  // namespace

int64_t Rotation::copies_for(int64_t bytes, int64_t available) {
  const int64_t each = std::max<int64_t>(bytes, 1);
  const int64_t wanted = kTotalBytes / each + 1;
  return std::max<int64_t>(1, std::min({wanted, kMostCopies, available / 4 / each}));
}

Rotation::Rotation(const BenchProblem& problem, int64_t copies) {
  copies_.reserve(static_cast<size_t>(copies));
  for (int64_t i = 0; i < copies; ++i) copies_.emplace_back(problem.copy()).poison_outputs();
}

void Rotation::run(const Options& options) { copies_[static_cast<size_t>(calls_++ % size())].run(options); }

bool Rotation::agrees_with(uint64_t fingerprint) const {
  const auto called = copies_.begin() + std::min(calls_, size());
  return calls_ > 0 && std::all_of(copies_.begin(), called,
                                   [&](const BenchProblem& copy) { return copy.fingerprint() == fingerprint; });
}

}  // namespace nearfield::cli
