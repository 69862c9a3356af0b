// What simulate and plot share: a pattern on a grid, tiles of queries and keys, and what nf_simulate finds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nearfield/nearfield.hpp"
#include "pattern_arguments.h"

namespace nearfield::cli {

using Axes = std::vector<int64_t>;

// One value for each axis of the rules: of the grid, or one in all for the positions along an order.
struct TileSizes {
  Axes tile, key_tile;
};

struct Simulated {
  AnyPattern pattern;
  Axes grid;
  TileSizes tiles;
  nf_simulation simulation{};
  bool is_block_sparse() const { return nearfield::is_block_sparse(simulation); }
};
// Throws nearfield::Error.
Simulated simulate_pattern(const AnyPattern& pattern, const Axes& grid, const TileSizes& tiles,
                           const std::optional<nf_rates>& rates);

// --grid, the pattern, --tile and --key-tile
struct GridArguments {
  std::string grid, tile, key_tile;
  PatternArguments pattern;

  void add_to(CLI::App& command);
  Axes resolve_grid() const;
  AnyPattern resolve_pattern() const;
  // Tiles that were not given: 64 queries, as near to a cube as powers of two allow, and as many keys; fewer on an axis
  // that is shorter.
  TileSizes resolve_tiles(const AnyPattern& pattern) const;
};

// The axes' lengths of queries and of keys that tiles lie on.
struct TiledGrids {
  Axes query, key;
};
TiledGrids tiled_grids(const AnyPattern& pattern, const Axes& grid);

// --gflops and so on: rates of a machine for tiles of so many queries. None if --gflops was not given.
struct RateArguments {
  std::string gflops, head_dim, mask_cost, step_time, tile_time;

  void add_to(CLI::App& command);
  std::optional<nf_rates> resolve(const Axes& tile) const;
};

// Writes a file whole, or throws Failure that names it.
void write_file(const std::string& path, std::string_view bytes);

}  // namespace nearfield::cli
