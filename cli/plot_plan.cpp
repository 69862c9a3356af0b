#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "format.h"
#include "plots.h"

namespace nearfield::cli {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 14, kMostBlocks = 512;
constexpr double kSide = 520, kLeft = 50;

Axes dilations_of(const AnyPattern& pattern) {
  if (const auto* curve = std::get_if<nf_curve>(&pattern)) return {curve->dilation};
  if (const auto* given = std::get_if<nf_neighborhood>(&pattern))
    return {given->dilation, given->dilation + given->pattern.rank};
  return Axes(static_cast<size_t>(head_of(pattern)->rank), 1);
}

// Row-major tokens of a box of a residue class.
std::vector<int64_t> tokens_of_box(const int64_t* first, const int64_t* size, const int64_t* residue, const Axes& grid,
                                   const Axes& dilation) {
  std::vector<int64_t> tokens = {0};
  for (size_t a = 0; a < grid.size(); ++a) {
    std::vector<int64_t> longer;
    for (const int64_t begun : tokens)
      for (int64_t i = 0; i < size[a]; ++i)
        longer.push_back(begun * grid[a] + (first[a] + i) * dilation[a] + residue[a]);
    tokens = std::move(longer);
  }
  return tokens;
}

struct Tiles {
  std::vector<int64_t> begins;     // where each one's queries begin, in the order of the tiles; and the end
  std::vector<int64_t> positions;  // of each token in that order
};

Tiles order_of_tiles(const std::vector<nf_plan_step>& steps, const Axes& grid, const Axes& dilation) {
  Tiles tiles;
  tiles.positions.assign(static_cast<size_t>(tokens_of(grid)), 0);
  int64_t next = 0, tile = -1;
  for (const nf_plan_step& step : steps) {
    if (step.tile == tile) continue;
    tile = step.tile;
    tiles.begins.push_back(next);
    for (const int64_t token : tokens_of_box(step.query_first, step.query_size, step.residue, grid, dilation))
      tiles.positions[static_cast<size_t>(token)] = next++;
  }
  tiles.begins.push_back(next);
  return tiles;
}

// Pairs of the boxes over useful ones, beside each tile.
void draw_waste(Picture& picture, const std::vector<nf_plan_step>& steps, const Tiles& tiles, Point at, double cell) {
  constexpr double kWidth = 120, kMost = 4;  // pixels; of the waste that is drawn
  const size_t count = tiles.begins.size() - 1;
  std::vector<double> executed(count), useful(count);
  size_t row = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (i > 0 && steps[i].tile != steps[i - 1].tile) ++row;
    const auto* key = steps[i].key_size;
    const auto* query = steps[i].query_size;
    executed[row] += static_cast<double>(key[0] * key[1] * key[2] * query[0] * query[1] * query[2]);
    useful[row] += static_cast<double>(steps[i].pairs);
  }
  double most = 1.25;
  for (size_t t = 0; t < count; ++t) most = std::max(most, executed[t] / useful[t]);
  most = std::min(most, kMost);
  for (size_t t = 0; t < count; ++t) {
    const double waste = std::min(executed[t] / useful[t], most);
    const double y = at.y + cell * static_cast<double>(tiles.begins[t]);
    picture.rectangle(at.x, y, kWidth * waste / most, cell * static_cast<double>(tiles.begins[t + 1] - tiles.begins[t]),
                      colours::kMasked);
    picture.rectangle(at.x, y, kWidth / most, cell * static_cast<double>(tiles.begins[t + 1] - tiles.begins[t]),
                      colours::kFull);
  }
  const double all =
      std::accumulate(executed.begin(), executed.end(), 0.0) / std::accumulate(useful.begin(), useful.end(), 0.0);
  picture.text({at.x, at.y - 6}, fmt::format("waste: {:.3f} in all", all), 12);
  picture.text({at.x + kWidth / most, at.y + kSide + 14}, "1", 11, Anchor::middle);
  picture.text({at.x + kWidth, at.y + kSide + 14}, fmt::format("{:.2f}", most), 11, Anchor::middle);
}

void draw_axes(Picture& picture, double top, const char* what) {
  picture.text({kLeft + kSide / 2, top + kSide + 16}, fmt::format("keys, {}", what), 12, Anchor::middle);
  picture.text({kLeft, top - 6}, fmt::format("queries downwards, {}", what), 12);
}

}  // namespace

Picture plot_plan(const AnyPattern& pattern, const Axes& grid, const TileSizes& tiles) {
  if (key_grid_of(pattern, grid) != grid) throw UsageError("key_grid: must be the queries' grid to be drawn");
  refuse_to_draw("grid", tokens_of(grid), kMostTokens, "tokens");
  const Axes lengths = tiled_grids(pattern, grid).query, dilation = dilations_of(pattern);
  const nf_simulation found = simulate(head_of(pattern), grid, tiles.tile, tiles.key_tile);
  const auto steps = plan_steps(head_of(pattern), grid, tiles.tile, tiles.key_tile);
  const Tiles order = order_of_tiles(steps, lengths, dilation);
  const int64_t tokens = tokens_of(grid);
  constexpr double kWidth = kLeft + kSide + 180;
  const std::vector<std::string> title =
      fit_title({pattern_text(pattern), fmt::format("{} tokens; tiles of {} queries, steps of at most {} keys",
                                                    axes_text(grid), axes_text(tiles.tile), axes_text(tiles.key_tile))},
                kWidth);
  const double cell = kSide / static_cast<double>(tokens), top = title_height(title) + 18;
  Picture picture(kWidth, top + kSide + 66);
  draw_title(picture, title);
  picture.rectangle(kLeft, top, kSide, kSide, colours::kOther);
  std::vector<bool> rows[2];  // masked, full
  size_t tile = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    for (auto& row : rows) row.resize(static_cast<size_t>(tokens));
    auto& row = rows[steps[i].full];
    for (const int64_t key : tokens_of_box(steps[i].key_first, steps[i].key_size, steps[i].residue, lengths, dilation))
      row[static_cast<size_t>(order.positions[static_cast<size_t>(key)])] = true;
    if (i + 1 < steps.size() && steps[i + 1].tile == steps[i].tile) continue;
    const double y = top + cell * static_cast<double>(order.begins[tile]);
    const double height = cell * static_cast<double>(order.begins[tile + 1] - order.begins[tile]);
    draw_row(picture, rows[0], {kLeft, y}, cell, height, colours::kMasked);
    draw_row(picture, rows[1], {kLeft, y}, cell, height, colours::kFull);
    for (auto& each : rows) each.clear();
    ++tile;
  }
  draw_axes(picture, top, "in the order of the tiles");
  if (!steps.empty()) draw_waste(picture, steps, order, {kLeft + kSide + 24, top}, cell);
  draw_legend(picture, kLeft, top + kSide + 46,
              {{colours::kFull, fmt::format("full: {:.0f} steps", found.steps.full_units)},
               {colours::kMasked, fmt::format("masked: {:.0f} steps", found.steps.masked_units)},
               {colours::kOther, "empty: not visited"}});
  return picture;
}

Picture plot_blocks(const AnyPattern& pattern, const Axes& grid, int64_t block) {
  const int64_t tokens = tokens_of(grid);
  refuse_to_draw("grid", tokens, int64_t{1} << 31, "tokens");
  if (block >= 1) refuse_to_draw("block", (tokens + block - 1) / block, kMostBlocks, "blocks on each side");
  const BlockMap map = block_map(head_of(pattern), grid, block);
  constexpr double kWidth = kLeft + kSide + 30;
  const std::vector<std::string> title =
      fit_title({pattern_text(pattern), fmt::format("{} tokens; {:.1f}% of the blocks of {} x {} are empty",
                                                    axes_text(grid), 100 * map.empty_ratio(), block, block)},
                kWidth);
  const double cell = kSide / static_cast<double>(tokens), top = title_height(title) + 18;
  Picture picture(kWidth, top + kSide + 66);
  draw_title(picture, title);
  picture.rectangle(kLeft, top, kSide, kSide, colours::kOther);
  const auto side = static_cast<double>(block);
  for (const bool full : {false, true})
    for (const nf_block& each : map.blocks) {
      if ((each.full != 0) != full) continue;
      const double x = static_cast<double>(each.key_block) * side, y = static_cast<double>(each.query_block) * side;
      const auto most = static_cast<double>(tokens);
      picture.rectangle(kLeft + cell * x, top + cell * y, cell * std::min(side, most - x),
                        cell * std::min(side, most - y), full ? colours::kFull : colours::kMasked);
    }
  draw_axes(picture, top, std::holds_alternative<nf_curve>(pattern) ? "along the order" : "in row-major order");
  draw_legend(picture, kLeft, top + kSide + 46,
              {{colours::kFull, fmt::format("full: {}", map.counts.full)},
               {colours::kMasked, fmt::format("masked: {}", map.counts.masked)},
               {colours::kOther, fmt::format("empty: {}", map.counts.empty)}});
  return picture;
}

}  // namespace nearfield::cli
