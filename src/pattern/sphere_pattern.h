// Neighborhoods on the sphere as a pattern: latitudes are an axis with rules of its own; longitudes are the one axis
// whose intervals depend on the line, an arc for each pair of latitudes (sphere.h). Latitudes near the poles see whole
// circles, at the equator a few points.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "pattern/sphere.h"

namespace nearfield::core {

struct SphereKey {
  SphereGrids grids;
  bool is_global = false;  // every key is seen, whatever the cutoff
  bool operator==(const SphereKey&) const = default;
};

struct Sphere {
  SphereKey key;
  std::vector<double> log_weights;  // [key latitude]: ln of the quadrature weight of one point
  std::vector<Interval> queries;    // [key latitude]: the query latitudes that see any of it
  SphereReach reach;                // not of a global one
  int64_t widest = -1;              // half-width
  int64_t most_keys = 0;            // that one query sees

  explicit Sphere(const SphereKey& key);
  size_t bytes() const {
    return sizeof *this + log_weights.capacity() * sizeof(double) + queries.capacity() * sizeof(Interval) +
           reach.bytes();
  }
};

// From a cache of those used last. Errors: check_sphere, unless global its cutoff too. Thread-safe.
std::shared_ptr<const Sphere> cached_sphere(const SphereKey& key);

// The axis of latitudes. Rules as in pattern.h; n is not looked at: there is one class.
struct LatitudeAxis {
  int64_t queries = 0, keys = 0;
  const Sphere* sphere = nullptr;  // the pattern's own
  static constexpr int64_t kernel_size = 1, stride = 1, dilation = 1, phase = 0;
  static constexpr bool is_causal = false;
  static constexpr bool wraps() { return false; }
  bool operator==(const LatitudeAxis&) const = default;

  Interval keys_of(int64_t, int64_t x) const { return sphere->reach.keys_of(x); }
  Interval queries_of(int64_t, int64_t y) const { return sphere->queries[static_cast<size_t>(y)]; }
  int64_t longest_window(int64_t) const {
    int64_t longest = 0;
    for (int64_t x = 0; x < queries; ++x) longest = max_of(longest, keys_of(0, x).length);
    return longest;
  }
};

// The axis of longitudes, as wide as its widest arc; which arc it is, a plan looks up.
struct LongitudeAxis {
  int64_t queries = 0, keys = 0;
  int64_t half_width = -1;
  static constexpr int64_t kernel_size = 1, stride = 1, dilation = 1, phase = 0;
  static constexpr bool is_causal = false;
  static constexpr bool wraps() { return true; }
  bool operator==(const LongitudeAxis&) const = default;

  SphereArc arc() const { return {queries, keys}; }
  Interval keys_of(int64_t, int64_t x) const { return arc().keys_of(half_width, x); }
  Interval queries_of(int64_t, int64_t y) const { return arc().queries_of(half_width, y); }
  int64_t longest_window(int64_t) const { return arc().longest_window(half_width); }
};

}  // namespace nearfield::core
