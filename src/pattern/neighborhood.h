// Neighborhood attention, one axis: the only window arithmetic in the code base. Plain integers, constexpr, for host
// and device.
//
// Axis length L, window k, dilation d, stride s. Dilation splits the axis into d residue classes; all below is in
// coordinates x of one class of n = ceil((L - residue) / d) tokens. With left = floor(k/2), right = k - 1 - left
// (an even window has its extra key on the left), half = floor(s/2):
//   clamp   leader c = min(s*floor(x/s) + half, n-1); start = clamp(c - left, 0, n - k); k keys (n if k > n)
//   cut     same leader; [max(c - left, 0), min(c + right + 1, n))
//   wrap    same leader; k keys from c - left, modulo n; k >= n: the whole class, centred on the query
//   causal  leader c = min(s*floor(x/s) + s - 1, n-1); [max(c - k + 1, 0), x + 1)
// Sources: Hassani et al., "Neighborhood Attention Transformer" (2023), "Dilated Neighborhood Attention Transformer"
// (2022), "Faster Neighborhood Attention" (2024), "Generalized Neighborhood Attention" (2025).
#pragma once

#include <cstdint>

#include "pattern/interval.h"

namespace nearfield::core {

enum class Boundary : int32_t { clamp = 0, wrap = 1, cut = 2 };

struct NeighborhoodAxis {
  int64_t queries = 0;  // length of the axis
  int64_t keys = 0;     // the same
  int64_t kernel_size = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  bool is_causal = false;
  Boundary boundary = Boundary::clamp;
  static constexpr int64_t phase = 0;

  constexpr bool wraps() const { return boundary == Boundary::wrap; }
  constexpr bool operator==(const NeighborhoodAxis&) const = default;

  // The key around which the window of query x is laid; shared by the `stride` queries of its group.
  constexpr int64_t leader(int64_t n, int64_t x) const {
    const int64_t group = x / stride * stride;
    return min_of(group + (is_causal ? stride - 1 : stride / 2), n - 1);
  }

  // Keys that query x sees, in a class of n keys. 0 <= x < n.
  constexpr Interval keys_of(int64_t n, int64_t x) const {
    const int64_t k = kernel_size, left = k / 2, right = k - 1 - left;
    const int64_t c = leader(n, x);
    if (is_causal) {
      const int64_t start = max_of(c - k + 1, 0);
      return {start, x + 1 - start};
    }
    if (wraps()) {
      // A whole class is centred on the query itself, so that offsets lie in (-n/2, n/2].
      if (k >= n) return {x - (n - 1) / 2, n};
      return {c - left, k};
    }
    if (boundary == Boundary::cut) {
      const int64_t start = max_of(c - left, 0);
      return {start, min_of(c + right + 1, n) - start};
    }
    return {clamp_to(c - left, 0, max_of(n - k, 0)), min_of(k, n)};
  }

  // Keys of the longest window that any query of a class of n has.
  constexpr int64_t longest_window(int64_t n) const {
    if (is_causal || boundary != Boundary::cut || n == 0) return min_of(kernel_size, n);
    // A leader at key k/2 would see all min(k, n), and the farther from there the fewer: the groups on both sides.
    const int64_t x = clamp_to(kernel_size / 2 - stride / 2, 0, n - 1);
    return max_of(keys_of(n, x).length, keys_of(n, min_of(x + min_of(stride, n), n - 1)).length);
  }

  // Queries that see key y, in a class of n queries: one interval, un-reduced on a wrapped axis. 0 <= y < n.
  constexpr Interval queries_of(int64_t n, int64_t y) const {
    const int64_t k = kernel_size, left = k / 2, right = k - 1 - left;
    if (is_causal) {
      // Seen by x >= y whose leader is at most y + k - 1; the last group's leader is n - 1.
      const int64_t end = k >= n - y ? n : min_of(n, groups_led_up_to(y + k - 1) * stride);
      return {y, end - y};
    }
    if (wraps()) {
      if (k >= n) return {y - (n - 1 - (n - 1) / 2), n};
      const int64_t low = first_led_from(n, y - right), high = first_led_from(n, y + left + 1);
      return {low, min_of(high - low, n)};
    }
    // The border queries' windows have all moved to the border: clamp only.
    const bool at_low = boundary == Boundary::clamp && y < k;
    const bool at_high = boundary == Boundary::clamp && y >= n - k;
    const int64_t low = at_low ? 0 : max_of(0, ceil_div(y - right - stride / 2, stride)) * stride;
    const int64_t high = at_high || y + left >= n - 1 ? n : min_of(n, groups_led_up_to(y + left) * stride);
    return {low, high - low};
  }

 private:
  // How many groups, from the first, have an uncapped leader <= c. c >= the first leader.
  constexpr int64_t groups_led_up_to(int64_t c) const {
    return floor_div(c - (is_causal ? stride - 1 : stride / 2), stride) + 1;
  }
  // The first un-reduced query whose leader is >= c, on a periodic class: leader(x + n) = leader(x) + n.
  constexpr int64_t first_led_from(int64_t n, int64_t c) const {
    const int64_t lap = floor_div(c, n), rest = floor_mod(c, n);
    const int64_t group = max_of(0, ceil_div(rest - stride / 2, stride)) * stride;
    return lap * n + min_of(group, n);
  }
};

}  // namespace nearfield::core
