// Random numbers that are the same on every machine.
#pragma once

#include <cstdint>

namespace denoise {

// SplitMix64 (Steele, Lea, Flood 2014): one 64-bit state.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // In (0, 1], so that its logarithm is finite.
  double uniform() { return (static_cast<double>(next() >> 11) + 1.0) * 0x1p-53; }

 private:
  uint64_t state_;
};

}  // namespace denoise
