#include "simulation.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>

#include "arguments.h"

namespace nearfield::cli {
namespace {

int64_t product(const Axes& axes) { return std::accumulate(axes.begin(), axes.end(), int64_t{1}, std::multiplies<>()); }

Axes default_tile(const AnyPattern& pattern, const Axes& lengths) {
  static const Axes kTiles[] = {{64}, {8, 8}, {4, 4, 4}};
  Axes tile = std::holds_alternative<nf_sphere>(pattern) ? Axes{1, 64} : kTiles[lengths.size() - 1];
  for (size_t a = 0; a < tile.size(); ++a) tile[a] = std::clamp<int64_t>(lengths[a], 1, tile[a]);
  return tile;
}

Axes resolve_tile(const std::string& text, std::string_view name, const Axes& otherwise) {
  if (text.empty()) return otherwise;
  return broadcast(parse_integers(text, name), static_cast<int>(otherwise.size()), name);
}

double at_least_0(const std::string& text, std::string_view name) {
  const double value = parse_number(text, name);
  if (!(value >= 0)) throw UsageError(fmt::format("{}={}: must be at least 0", name, text));
  return value;
}

}  // namespace

Simulated simulate_pattern(const AnyPattern& pattern, const Axes& grid, const TileSizes& tiles,
                           const std::optional<nf_rates>& rates) {
  return {pattern, grid, tiles,
          simulate(head_of(pattern), grid, tiles.tile, tiles.key_tile, rates ? &*rates : nullptr)};
}

TiledGrids tiled_grids(const AnyPattern& pattern, const Axes& grid) {
  if (std::holds_alternative<nf_curve>(pattern)) return {{product(grid)}, {product(grid)}};
  return {grid, key_grid_of(pattern, grid)};
}

void GridArguments::add_to(CLI::App& command) {
  command.add_option("--grid", grid, "Lengths of the grid's 1 to 3 axes")->type_name("N[,N...]");
  pattern.add_to(command);
  const std::string group = "Tiles (of an axis: one value for all axes, or one for each)";
  command.add_option("--tile", tile, "Queries of a tile (default: 64 in all; on the sphere along one latitude)")
      ->type_name("N[,N...]")
      ->group(group);
  command.add_option("--key-tile", key_tile, "Keys of a key tile, and of a step at most (default: as --tile)")
      ->type_name("N[,N...]")
      ->group(group);
}

Axes GridArguments::resolve_grid() const {
  if (grid.empty()) throw UsageError("grid: is missing: give --grid, the lengths of its axes");
  Axes lengths = parse_integers(grid, "grid");
  if (lengths.size() > NF_MAX_GRID_RANK)
    throw UsageError(fmt::format("grid={}: has {} axes: must have 1, 2 or 3", grid, lengths.size()));
  return lengths;
}

AnyPattern GridArguments::resolve_pattern() const {
  const Axes lengths = resolve_grid();
  return pattern.resolve({lengths, lengths});
}

TileSizes GridArguments::resolve_tiles(const AnyPattern& resolved) const {
  const TiledGrids grids = tiled_grids(resolved, resolve_grid());
  TileSizes tiles;
  tiles.tile = resolve_tile(tile, "tile", default_tile(resolved, grids.query));
  Axes keys = tiles.tile;
  for (size_t a = 0; a < keys.size(); ++a) keys[a] = std::min(keys[a], std::max<int64_t>(grids.key[a], 1));
  tiles.key_tile = resolve_tile(key_tile, "key_tile", keys);
  return tiles;
}

void RateArguments::add_to(CLI::App& command) {
  const std::string group = "Machine (for a predicted time)";
  const auto add = [&](const char* name, std::string& value, const char* help, const char* type) {
    command.add_option(name, value, help)->type_name(type)->group(group);
  };
  add("--gflops", gflops, "What it does of products with keys and values, in GFLOP/s", "X");
  add("--head-dim", head_dim, "Channels of query, key and value (default 64)", "N");
  add("--mask-cost", mask_cost, "What a mask adds to the time of its keys, as a share of it (default 0)", "X");
  add("--step-us", step_time, "Microseconds to begin a key tile or step (default 0)", "X");
  add("--tile-us", tile_time, "Microseconds to begin and end a tile of queries (default 0)", "X");
}

std::optional<nf_rates> RateArguments::resolve(const Axes& tile) const {
  if (gflops.empty()) {
    const std::pair<const char*, const std::string&> others[] = {
        {"head_dim", head_dim}, {"mask_cost", mask_cost}, {"step_us", step_time}, {"tile_us", tile_time}};
    for (const auto& [name, value] : others)
      if (!value.empty()) throw UsageError(fmt::format("{}={}: must come with --gflops", name, value));
    return std::nullopt;
  }
  const double speed = parse_number(gflops, "gflops") * 1e9;
  if (!(speed > 0)) throw UsageError(fmt::format("gflops={}: must be above 0", gflops));
  const int64_t channels = head_dim.empty() ? 64 : parse_integer(head_dim, "head_dim");
  if (channels < 1) throw UsageError(fmt::format("head_dim={}: must be at least 1", head_dim));
  nf_rates rates = {};
  rates.per_key = 4.0 * static_cast<double>(channels) * static_cast<double>(product(tile)) / speed;
  if (!mask_cost.empty()) rates.per_masked_key = at_least_0(mask_cost, "mask_cost") * rates.per_key;
  if (!step_time.empty()) rates.per_step = at_least_0(step_time, "step_us") * 1e-6;
  if (!tile_time.empty()) rates.per_tile = at_least_0(tile_time, "tile_us") * 1e-6;
  return rates;
}

void write_file(const std::string& path, std::string_view bytes) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) throw Failure(fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  if (std::fclose(file) != 0 || !written)
    throw Failure(fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
}

}  // namespace nearfield::cli
