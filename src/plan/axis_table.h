// One axis of a plan: from the interval of each near token to tiles, runs of steps and spans.
//
// A tile's hull is (first start, last end) over its non-empty intervals. A wrapped hull longer than the axis is clipped
// to one lap, unless laps are kept; membership is then modulo n. The hull is cut at the seam, and each part into the
// fewest pieces of at most far_extent tokens; among those so that most tokens lie in full pieces; among those into
// nearly equal ones: 83 tokens in pieces of 64 are 42 + 41, not 64 + 19. Pieces that nobody sees are dropped.
//
// A wide window is never walked piece by piece: between two cuts, places where some near token's interval begins or
// ends, equal pieces are alike and become one run. So a table's size, and the time to build it and to go through it,
// depend on how many cuts its tiles have, which is at most two for each near token, and not on the windows' width.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/plan.h"

namespace nearfield::core {

struct AxisRequest {
  std::vector<Interval> intervals;  // [near tokens], un-reduced
  int64_t far = 0;                  // far tokens
  bool wraps = false;
  int64_t phase = 0;        // tiles begin at -phase
  int64_t near_extent = 1;  // near tokens of a tile at most
  int64_t far_extent = 1;   // far tokens of a step at most
  bool keep_laps = false;
};

// Throws internal_error if starts or ends decrease, or an interval is longer than the axis or leaves it unwrapped;
// unsupported if the table would have 2^31 runs or spans.
AxisTable build_axis_table(AxisRequest request);

// Un-reduced far tokens: the hull of a tile's intervals, and the part of it that every near token sees.
struct Hull {
  int64_t begin = 0, end = 0;
  int64_t common_begin = 0, common_end = 0;
  bool modular = false;  // clipped to one lap
};

// clips: a hull longer than the n far tokens is clipped to one lap.
Hull hull_of(std::span<const Interval> intervals, int64_t n, bool clips);

// Where an interval lies within a piece of a hull.
Span span_within(const Piece& piece, Interval interval, int64_t n, bool modular);

struct EqualPieces {
  int64_t size = 0, count = 0;
};

// The pieces of a hull part of `size` tokens of which [common_begin, common_end) is seen by every near token (empty if
// the two are equal), in order. Added to `pieces`: at most six entries, none of them empty.
void split_evenly(int64_t size, int64_t common_begin, int64_t common_end, int64_t far_extent,
                  std::vector<EqualPieces>& pieces);

}  // namespace nearfield::core
