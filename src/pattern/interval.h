// Integers of the geometry: floored division and un-reduced intervals. Usable from host and device code.
#pragma once

#include <cstdint>

namespace nearfield::core {

// [start, start + length). On a wrapped axis start may be negative or beyond the axis: key x stands for x mod n.
// Un-reduced starts and ends never decrease with the query, so a union of neighbours is (first start, last end), and
// key - query is the offset that a bias needs, also across the seam.
struct Interval {
  int64_t start = 0;
  int64_t length = 0;
  constexpr int64_t end() const { return start + length; }
  constexpr bool operator==(const Interval&) const = default;
};

constexpr int64_t floor_div(int64_t a, int64_t b) {
  int64_t q = a / b;
  return q - ((a % b != 0) && ((a < 0) != (b < 0)));
}
constexpr int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }
constexpr int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t clamp_to(int64_t x, int64_t low, int64_t high) { return max_of(low, min_of(x, high)); }

}  // namespace nearfield::core
