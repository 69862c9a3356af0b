#include "plan/colouring.h"

#include <algorithm>

namespace nearfield::core {
namespace {

// Un-reduced far tokens [begin, end) that a run of tiles sees between them; empty if none is seen.
struct Hull {
  int64_t begin = 0, end = 0;
};

Hull hull_of(const AxisTable& table, size_t first_tile, size_t end_tile) {
  const AxisTile &first = table.tiles[first_tile], &last = table.tiles[end_tile - 1];
  Hull hull;
  bool any = false;
  for (int64_t x = first.begin; x < last.begin + last.size; ++x) {
    const Interval& interval = table.intervals[static_cast<size_t>(x)];
    if (interval.length == 0) continue;
    if (!any) hull.begin = interval.start;
    hull.end = interval.end();
    any = true;
  }
  return hull;
}

// Starts and ends never decrease, so of all tiles of a colour the latest is the nearest, and across the seam the first.
bool meets(const Hull& earlier, const Hull& later, int64_t n, bool wraps) {
  if (earlier.begin == earlier.end || later.begin == later.end) return false;
  return later.begin < earlier.end || (wraps && earlier.begin + n < later.end);
}

}  // namespace

std::vector<int32_t> colour_tiles(const AxisTable& table, bool wraps, int64_t group) {
  struct Used {
    Hull first, latest;
  };
  std::vector<Used> used;  // of each colour
  std::vector<int32_t> colours;
  const auto step = static_cast<size_t>(group);
  for (size_t tile = 0; tile < table.tiles.size(); tile += step) {
    const Hull hull = hull_of(table, tile, std::min(tile + step, table.tiles.size()));
    size_t colour = 0;
    while (colour < used.size() &&
           (meets(used[colour].latest, hull, table.far, wraps) || meets(used[colour].first, hull, table.far, wraps)))
      ++colour;
    if (colour == used.size()) {
      used.push_back({hull, hull});
    } else {
      used[colour].latest = hull;
    }
    colours.push_back(static_cast<int32_t>(colour));
  }
  return colours;
}

}  // namespace nearfield::core
