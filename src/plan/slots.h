// Where windows meet the slots of explicit weights (pattern/windows.h): on an axis slot j of a query has the j-th key
// of its window or, where the window is the whole residue class, key j of the class.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan.h"

namespace nearfield::core {

// The slots of explicit weights on each axis of the pattern's rules; 1 beyond its rank. Tight: no more than the longest
// window on the axis fills, for weights that nobody else sees.
void slots_of(const Pattern& pattern, bool tight, int64_t (&slots)[kMaxGridRank]);

// The slot of key y, un-reduced by a lap or two or not, of a window in a class of n keys.
constexpr int64_t slot_in(const Interval& window, int64_t n, int64_t y) {
  int64_t slot = window.length == n ? y : y - window.start;
  while (slot < 0) slot += n;
  while (slot >= n) slot -= n;
  return slot;
}

// ---- one axis, token by token
// ----------------------------------------------------------------------------------------

struct SlotKey {
  int64_t slot = 0, key = 0;  // token of the axis
  int64_t bias = 0;           // entry of a bias table along the axis, of a pattern on the grid's own axes
};
struct SlotQuery {
  int64_t slot = 0, query = 0;
};

// `count` adjacent slots from `slot` on have keys `dilation` tokens apart from `key` on, and adjacent entries of a bias
// table.
struct SlotSpan {
  int64_t slot = 0, key = 0, bias = 0, count = 0;
};

// The spans of query token `query` of an axis, by slot: as many as are returned.
int spans_seen(const AxisRule& rule, int64_t query, SlotSpan (&spans)[2]);
int64_t dilation_of(const AxisRule& rule);

// What query token `query` of an axis sees, by slot; and who sees key token `key`, by query, one after the other in
// steps of the dilation but for at most one seam.
void keys_seen(const AxisRule& rule, int64_t query, std::vector<SlotKey>& keys);
void queries_that_see(const AxisRule& rule, int64_t key, std::vector<SlotQuery>& queries);

// ---- a step of a plan
// ------------------------------------------------------------------------------------------------

// `count` adjacent keys of a step's box, from number `key` on, are in as many adjacent slots of the tile's query number
// `query`, from `slot` on.
struct SlotRun {
  int64_t query = 0, key = 0, slot = 0, count = 0;
};

// Where a step's keys are in the slots of the tile's tokens, axis by axis: all that its runs depend on.
struct StepSlots {
  struct Run {
    int64_t key = 0, slot = 0, count = 0;
    bool operator==(const Run&) const = default;
  };
  int64_t keys[kMaxGridRank] = {1, 1, 1}, tokens[kMaxGridRank] = {1, 1, 1};  // of the step, of the tile
  std::vector<Run> runs[kMaxGridRank];                                       // of all tokens
  std::vector<int64_t> first[kMaxGridRank];                                  // [tokens + 1] into runs
  bool operator==(const StepSlots&) const = default;
};

// The runs of steps: each pair that is seen is in exactly one. Of plans that are not transposed, without laps, and not
// of the sphere. Steps of tiles that are alike have equal StepSlots.
class SlotRuns {
 public:
  SlotRuns(const Plan& plan, const int64_t (&slots)[kMaxGridRank]);
  void find(const Tile& tile, const Step& step, StepSlots& found) const;
  void add(const StepSlots& found, std::vector<SlotRun>& runs) const;
  // Whether each slot of the tile's query number `query` has a key.
  bool is_whole(const Tile& tile, int64_t query) const;

 private:
  const Plan& plan_;
  int64_t slots_[kMaxGridRank];
};

}  // namespace nearfield::core
