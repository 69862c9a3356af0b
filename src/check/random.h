// Random numbers that are the same bits on every platform and compiler: integer arithmetic and exact float64 sums only,
// where <random>'s distributions, and log and cos of the system's mathematics library, differ.
#pragma once

#include <cstdint>

namespace nearfield::core {

// splitmix64 (Steele, Lea, Flood 2014): any seed is a good one.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In [0, count), count >= 1; the bias of the remainder is below 2^-40 for the counts drawn here.
  int64_t below(int64_t count) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(count)); }
  // In [low, high], both included.
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  // In [1, high], each number of binary digits equally often: small ones are common, large ones do occur.
  int64_t skewed(int64_t high) {
    int64_t digits = 1;
    while (digits < 62 && (int64_t{1} << digits) <= high) ++digits;
    const int64_t low = int64_t{1} << below(digits);
    const int64_t top = 2 * low - 1;
    return between(low, top < high ? top : high);
  }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }  // [0, 1)
  bool chance(double probability) { return uniform() < probability; }
  // Mean 0, variance 1, within [-6, 6]: twelve uniforms of 32 bits (Irwin-Hall), whose sum float64 holds exactly.
  double normal() {
    double sum = -6;
    for (int i = 0; i < 6; ++i) {
      const uint64_t pair = bits();
      sum += static_cast<double>(pair >> 32) * 0x1p-32;
      sum += static_cast<double>(pair & 0xffffffffu) * 0x1p-32;
    }
    return sum;
  }

 private:
  uint64_t state_;
};

}  // namespace nearfield::core
