// Runs, one axis: tokens are cut into runs of `size`, and a query sees its own run. Windows that do not overlap, as in
// Liu et al., "Swin Transformer" (2021), on each axis of a grid; or along a curve, "Hilbert-Guided Block-Sparse Local
// Attention" (2025). Plain integers, constexpr, for host and device.
//
// In coordinates x of one residue class of n tokens (as in neighborhood.h), x belongs to run floor((x + shift) / size):
// the first run is short by the shift, the last may be ragged, nothing wraps around. Causal: of its run, a query sees
// the keys up to itself.
#pragma once

#include <cstdint>

#include "pattern/interval.h"

namespace nearfield::core {

struct RunsAxis {
  int64_t queries = 0;      // length of the axis
  int64_t keys = 0;         // the same
  int64_t kernel_size = 1;  // of a run
  int64_t phase = 0;        // the shift, 0 to kernel_size - 1
  int64_t stride = 1;       // = kernel_size: tiles of queries that stay within a run need no mask
  int64_t dilation = 1;
  bool is_causal = false;

  constexpr bool wraps() const { return false; }
  constexpr bool operator==(const RunsAxis&) const = default;

  // The run of token x, in a class of n tokens. 0 <= x < n.
  constexpr Interval run_of(int64_t n, int64_t x) const {
    const int64_t begin = (x + phase) / kernel_size * kernel_size - phase;
    const int64_t start = max_of(begin, 0);
    return {start, min_of(begin + kernel_size, n) - start};
  }

  // Keys that query x sees.
  constexpr Interval keys_of(int64_t n, int64_t x) const {
    const Interval run = run_of(n, x);
    return is_causal ? Interval{run.start, x + 1 - run.start} : run;
  }

  // Queries that see key y.
  constexpr Interval queries_of(int64_t n, int64_t y) const {
    const Interval run = run_of(n, y);
    return is_causal ? Interval{y, run.end() - y} : run;
  }

  // Keys of the longest window in a class of n: of the first run, the second, or what there is.
  constexpr int64_t longest_window(int64_t n) const {
    return n == 0 ? 0 : max_of(run_of(n, 0).length, run_of(n, min_of(kernel_size - phase, n - 1)).length);
  }
};

}  // namespace nearfield::core
