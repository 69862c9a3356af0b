// What the tiles of a query circle visit of a key circle, counted without walking the pieces: a circle of a million
// longitudes that sees all of itself has as many pieces as tiles, and each is a step.
#pragma once

#include <cstdint>

#include "pattern/sphere_arc.h"

namespace nearfield::core {

// All tiles of one pair of latitudes.
struct ArcSums {
  int64_t full = 0, masked = 0;             // pieces that all of a tile's queries see, and others that some do
  int64_t useful = 0, executed = 0;         // pairs: that see each other, and of the tiles' pieces
  int64_t visited = 0, masked_visited = 0;  // keys of the pieces, and of those that are masked
};

// Whether a tile takes constant time; else its pieces are walked.
bool has_closed_sums(const SphereArc& arc, int64_t half_width);

// Of one tile; `useful` is left out.
ArcSums arc_sums_of_tile(const SphereArc& arc, int64_t half_width, int64_t begin, int64_t size, int64_t far_extent);

// Tiles of near_extent longitudes, each arc cut as by expand_arcs.
ArcSums arc_sums(const SphereArc& arc, int64_t half_width, int64_t near_extent, int64_t far_extent);

}  // namespace nearfield::core
