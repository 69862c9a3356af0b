// A pattern says which keys a query sees: one rule for each axis of the grid. It knows no hardware and no tiles.
#pragma once

#include <cstdint>
#include <variant>

#include "pattern/neighborhood.h"

namespace nearfield::core {

inline constexpr int kMaxGridRank = 3;

// What every axis rule offers, whatever its kind:
//   queries, keys       tokens on this axis, on each side
//   dilation            residue classes: token i is coordinate i / dilation of class i % dilation
//   stride              queries in a group that mostly see the same keys; tiles cut at its multiples need fewer masks
//   wraps               intervals are periodic
//   phase               tiles begin at -phase (shifted runs); 0 elsewhere
//   keys_of(n, x)       keys that query coordinate x sees, of the n in its class
//   queries_of(n, y)    queries that see key coordinate y: the transpose
//   longest_window(n)   the length of the longest keys_of(n, x); 0 if n is
//   kernel_size         a bias table has 2*kernel_size - 1 entries on this axis, for key - query + kernel_size - 1
using AxisRule = std::variant<NeighborhoodAxis>;

struct Pattern {
  int rank = 0;
  AxisRule axes[kMaxGridRank];
  bool operator==(const Pattern&) const = default;
};

}  // namespace nearfield::core
