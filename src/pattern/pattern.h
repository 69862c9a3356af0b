// A pattern says which keys a query sees: one rule for each axis of the grid, or one for the positions along an order
// of its tokens. It knows no hardware and no tiles.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <variant>

#include "pattern/neighborhood.h"
#include "pattern/runs.h"
#include "pattern/sphere_pattern.h"
#include "pattern/token_order.h"

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
//   kernel_size         of a grid's axis: a bias table has 2*kernel_size - 1 entries there (bias_extents.h)
using AxisRule = std::variant<NeighborhoodAxis, RunsAxis, LatitudeAxis, LongitudeAxis>;

struct Pattern {
  int rank = 0;  // of the rules
  AxisRule axes[kMaxGridRank];
  // Not null: the grid has order->key.rank axes, and the only rule is for positions along the order.
  std::shared_ptr<const TokenOrder> order;
  // Not null: the grid is one of latitudes and longitudes, and keys have the sphere's weights. If it is not global, the
  // rules are LatitudeAxis and LongitudeAxis.
  std::shared_ptr<const Sphere> sphere;

  bool has_arcs() const { return sphere && !sphere->key.is_global; }
  int grid_rank() const { return order ? order->key.rank : rank; }
  // The rules alone.
  Pattern without_order() const {
    Pattern rules = *this;
    rules.order.reset();
    return rules;
  }
  bool operator==(const Pattern& other) const {
    const bool same_order = order && other.order ? order->key == other.order->key : order == other.order;
    return same_order && sphere == other.sphere && rank == other.rank &&
           std::equal(axes, axes + kMaxGridRank, other.axes);
  }
};

}  // namespace nearfield::core
