// `nearfield simulate --sweep`: every stride of a window, tiles of several shapes, and windows of other sizes.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "simulation.h"

namespace nearfield::cli {

struct SweepRequest {
  AnyPattern pattern;
  Axes grid;
  std::vector<TileSizes> tiles;  // of which each is tried
  std::function<std::optional<nf_rates>(const Axes& tile)> rates;
};

struct Sweep {
  std::vector<Simulated> strides;  // of the given window, best first
  bool all_strides = true;         // else powers of two and the window itself only: there are too many
  // The largest window that visits as many key tiles as the best does; empty if the given one is. Only its kernel_size
  // (size) differs.
  std::optional<Simulated> same_cost;
  // Windows from half to twice as long on each axis, of which no other is at least as large and as fast, smallest
  // first, with the best's tiles.
  std::vector<Simulated> pareto;
};

using ShowProgress = std::function<void(int64_t done, int64_t total, std::string_view label)>;
// Patterns without strides (windows, the sphere) have one entry for each shape of tiles, and no Pareto set.
Sweep sweep(const SweepRequest& request, const ShowProgress& show);

// Tiles of as many queries and as many keys as the given ones, powers of two on each axis, key tiles within
// tiles of queries or around them; the given ones first.
std::vector<TileSizes> tile_shapes(const AnyPattern& pattern, const Axes& grid, const TileSizes& given);

// Keys in the window, away from borders.
double window_keys(const AnyPattern& pattern, const Axes& grid);
// "16, 8", "16" along an order, or "-" where there is none.
std::string stride_text(const AnyPattern& pattern);
std::string window_text(const AnyPattern& pattern);

}  // namespace nearfield::cli
