// Which tile shapes are worth scoring for an engine. A short list; cost_model.h picks from it.
//
// Near extents are powers of two, the lanes halved again and again, the class length where a tile can hold it (a class
// of 7 tokens wants a tile of 7) and the stride (a tile within one group of queries needs no mask). A shape is left out
// if the tiles of another one are unions of its tiles: that one visits no more keys in all and can only lose by
// masking. So the rule is applied twice: among all shapes, and among those within one group on every strided axis.
//
// Far extents follow from the near ones: the last axis is as long as the longest hull of a tile or the limit allows
// (keys of a line are adjacent in memory), then the axes before it fill up what the limit leaves.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan.h"

namespace nearfield::core {

// Tokens of the longest residue class of an axis: the near tokens that a tile could hold on it at most. Transposed:
// of keys. 0 <= axis < pattern.rank. 0 if the axis has no tokens.
int64_t longest_class(const Pattern& pattern, int axis, bool transposed = false);

// lanes: near tokens of a tile at most; step_keys: far tokens of a step at most. Never empty, no duplicates, always in
// the same order. Errors: invalid_argument if a limit is below 1 or the rank is not 1 to 3.
std::vector<TileShape> tile_candidates(const Pattern& pattern, int64_t lanes, int64_t step_keys,
                                       bool transposed = false);

}  // namespace nearfield::core
