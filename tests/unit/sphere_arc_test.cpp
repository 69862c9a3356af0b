// Arcs of longitude and their transpose against the definition: every pair of small circles, enumerated.
#include "pattern/sphere_arc.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nearfield::core {
namespace {

// By hand, at compile time.
static_assert(SphereArc{10, 10}.keys_of(2, 0) == Interval{-2, 5});
static_assert(SphereArc{10, 10}.keys_of(2, 9) == Interval{7, 5});
static_assert(SphereArc{10, 10}.keys_of(5, 0) == Interval{-5, 10});  // the key opposite comes once
static_assert(SphereArc{10, 10}.keys_of(-1, 4).length == 0);
static_assert(SphereArc{5, 10}.keys_of(1, 2) == Interval{3, 3});  // keys are finer: query 2 lies at key 4
static_assert(SphereArc{10, 5}.keys_of(0, 3).length == 0);        // between the keys 1 and 2
static_assert(SphereArc{10, 5}.keys_of(1, 3) == Interval{1, 2});
static_assert(SphereArc{10, 5}.queries_of(1, 0) == Interval{-1, 3});
static_assert(SphereArc{1, 1}.whole_circle() == 0 && SphereArc{1, 1}.keys_of(0, 0) == Interval{0, 1});

// One side against the definition: `from` points of one circle, whose intervals are of `to` points of the other.
template <class IntervalOf>
std::string compare(int64_t from, int64_t to, int64_t half_width, int64_t longest, IntervalOf interval_of) {
  const int64_t finer = max_of(from, to), from_unit = finer / from, to_unit = finer / to;
  int64_t longest_met = 0;
  Interval previous = interval_of(0);
  for (int64_t x = 0; x < from; ++x) {
    const std::string where = " at " + std::to_string(x);
    const Interval interval = interval_of(x);
    if (interval.start < previous.start || interval.end() < previous.end()) return "not monotone" + where;
    if (interval.length < 0) return "negative length" + where;
    longest_met = max_of(longest_met, interval.length);
    previous = interval;
    std::vector<int> met(static_cast<size_t>(to));
    for (int64_t y = interval.start; y < interval.end(); ++y) {
      ++met[static_cast<size_t>(floor_mod(y, to))];
      const int64_t offset = y * to_unit - x * from_unit;
      if (offset < -half_width || offset > half_width) return "offset" + where;
    }
    for (int64_t y = 0; y < to; ++y) {
      const int64_t apart = floor_mod(y * to_unit - x * from_unit, finer);
      const bool is_seen = min_of(apart, finer - apart) <= half_width;
      if (met[static_cast<size_t>(y)] != (is_seen ? 1 : 0)) return "key " + std::to_string(y) + where;
    }
    if ((half_width == finer / 2) != (interval.length == to) && from_unit == 1 && to_unit == 1)
      return "whole circle" + where;
  }
  return longest_met == longest ? "" : "longest window";
}

TEST(SphereArc, EverySmallPairOfCirclesMatchesTheDefinition) {
  int64_t arcs = 0;
  for (int64_t coarse = 1; coarse <= 14; ++coarse) {
    for (int64_t finer = coarse; finer <= 30; finer += coarse) {
      for (const SphereArc arc : {SphereArc{coarse, finer}, SphereArc{finer, coarse}}) {
        ASSERT_EQ(arc.whole_circle(), finer / 2);
        for (int64_t w = -1; w <= arc.whole_circle(); ++w, ++arcs) {
          const std::string keys =
              compare(arc.queries, arc.keys, w, arc.longest_window(w), [&](int64_t x) { return arc.keys_of(w, x); });
          const std::string queries = compare(arc.keys, arc.queries, w, arc.transposed().longest_window(w),
                                              [&](int64_t y) { return arc.queries_of(w, y); });
          ASSERT_EQ(keys + queries, "") << arc.queries << " queries, " << arc.keys << " keys, half-width " << w;
        }
      }
    }
  }
  EXPECT_GT(arcs, 1000);
}

}  // namespace
}  // namespace nearfield::core
