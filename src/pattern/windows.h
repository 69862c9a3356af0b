// Windows written out key by key: for weights that no engine computes, and for pictures.
//
// An axis has as many slots as its longest window has keys, and a query's slots are the row-major product of its axes'.
// Slot j of an axis is the j-th key of the window there, reduced to the axis; or key j of the class, where the window
// is the whole class of a periodic axis, whose intervals begin anywhere. Along an order there is one axis of slots, for
// positions.
#pragma once

#include <cstdint>

#include "pattern/pattern.h"

namespace nearfield::core {

// slots: per axis, 0 where it has no tokens; 1 beyond the rank of the pattern's rules.
void window_slots(const Pattern& pattern, int64_t (&slots)[kMaxGridRank]);

// Slots of explicit weights: the rule's own window on each axis, however short the axis. The sphere has none.
void weight_slots(const Pattern& pattern, int64_t (&slots)[kMaxGridRank]);

// For queries first .. first + count - 1, of tokens numbered row-major: keys [count][product of slots], the token in
// each slot, and bias_index, of the same shape or null, the pair's entry of one head's bias table (2*extent - 1 per
// axis of the grid, row-major: curve.h). -1 where a window is shorter than the slots. The queries must exist, and
// tables have at most 2^63-1 entries where bias_index is given.
void write_windows(const Pattern& pattern, int64_t first, int64_t count, int64_t* keys, int64_t* bias_index);
// The same with more slots than window_slots() says, which nothing fills. Not with arcs.
void write_windows(const Pattern& pattern, const int64_t (&slots)[kMaxGridRank], int64_t first, int64_t count,
                   int64_t* keys, int64_t* bias_index);

}  // namespace nearfield::core
