// Arcs of longitude: which points of one circle of latitude a point on another sees. Plain integers, constexpr, for
// host and device.
//
// Circles of `queries` and `keys` equally spaced longitudes, both from longitude 0; one count divides the other. Angles
// are counted in steps of the finer circle: query x lies at x*(finer/queries), key y at y*(finer/keys), and a
// half-width w is what a query sees to either side, both ends included; -1 is nothing, finer/2 (rounded down) the whole
// circle.
//   start = ceil((x*u_q - w)/u_k), end = floor((x*u_q + w)/u_k) + 1, at most `keys` of them; u = finer / own count
// Intervals are un-reduced, and with the same w starts and ends never decrease with x. Both roundings go inwards, hence
// an arc between two coarse keys is empty. An interval as long as the circle is the whole circle, wherever it starts.
#pragma once

#include <cstdint>

#include "pattern/interval.h"

namespace nearfield::core {

struct SphereArc {
  int64_t queries = 1;  // longitudes of a query circle; >= 1
  int64_t keys = 1;     // longitudes of a key circle; >= 1
  constexpr bool operator==(const SphereArc&) const = default;

  constexpr int64_t finer() const { return max_of(queries, keys); }
  constexpr int64_t query_unit() const { return finer() / queries; }
  constexpr int64_t key_unit() const { return finer() / keys; }
  constexpr int64_t whole_circle() const { return finer() / 2; }

  // Keys that query x sees. 0 <= x < queries, -1 <= half_width <= whole_circle().
  constexpr Interval keys_of(int64_t half_width, int64_t x) const {
    const int64_t middle = x * query_unit(), unit = key_unit();
    const int64_t start = ceil_div(middle - half_width, unit);
    if (half_width < 0) return {start, 0};
    return {start, min_of(floor_div(middle + half_width, unit) + 1 - start, keys)};
  }
  // Queries that see key y. 0 <= y < keys.
  constexpr Interval queries_of(int64_t half_width, int64_t y) const { return transposed().keys_of(half_width, y); }

  // The length of the longest keys_of(half_width, x).
  constexpr int64_t longest_window(int64_t half_width) const {
    return half_width < 0 ? 0 : min_of(2 * half_width / key_unit() + 1, keys);
  }

  constexpr SphereArc transposed() const { return {keys, queries}; }
};

}  // namespace nearfield::core
