// The units of a backward that adds to keys tile by tile: slabs of tiles, in colours that run one after another.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/cpu/tile_walk.h"
#include "plan/colouring.h"

namespace nearfield::core {

// Tiles [first, end) of the plan, on a run of the first axis' tiles.
struct Slab {
  int64_t first, end;
};

// A slab is about half as thick as what it sees beyond itself: three colours or so, and not too few tasks.
inline std::vector<std::vector<Slab>> slabs_by_colour(const Plan& plan, const TileRange& range) {
  const PlanAxis& axis = plan.axis(0);
  std::vector<std::vector<Slab>> slabs;
  const int64_t inner = plan.tile_count() / std::max<int64_t>(axis.tiles(), 1);
  int64_t tile = 0;
  for (int64_t residue = 0; residue < axis.classes; ++residue) {
    const AxisTable& table = axis.table(residue);
    const auto tiles = static_cast<int64_t>(table.tiles.size());
    const std::vector<int32_t> fine = colour_tiles(table, axis.wraps);
    const int64_t thickness = std::max<int64_t>(1, (*std::max_element(fine.begin(), fine.end()) + 1) / 2);
    const std::vector<int32_t> colours = colour_tiles(table, axis.wraps, thickness);
    for (size_t i = 0; i < colours.size(); ++i) {
      const int64_t first = static_cast<int64_t>(i) * thickness, end = std::min(first + thickness, tiles);
      const Slab slab = {std::max(range.first, (tile + first) * inner), std::min(range.end, (tile + end) * inner)};
      if (slab.first >= slab.end) continue;
      const auto colour = static_cast<size_t>(colours[i]);
      if (slabs.size() <= colour) slabs.resize(colour + 1);
      slabs[colour].push_back(slab);
    }
    tile += tiles;
  }
  return slabs;
}

}  // namespace nearfield::core
