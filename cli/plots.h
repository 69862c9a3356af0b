// The pictures of `nearfield plot`. Each throws nearfield::Error, or UsageError for what is too large to be drawn.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "picture.h"
#include "simulation.h"

namespace nearfield::cli {

// Which keys a query sees, over the grid: one axis as a row, two as they are, three as slices. Without a query that in
// the middle; of one axis all queries, a row each.
Picture plot_window(const AnyPattern& pattern, const Axes& grid, const std::optional<Axes>& query);
// What tiles of queries visit, full, masked and empty steps, in the order of the tiles; and the waste of each.
Picture plot_plan(const AnyPattern& pattern, const Axes& grid, const TileSizes& tiles);
// What a block-sparse kernel visits, tokens in a row.
Picture plot_blocks(const AnyPattern& pattern, const Axes& grid, int64_t block);
// An order's walk through a grid of 2 axes, over the windows that a pattern along it cuts, if there is one.
Picture plot_curve(nf_order order, const Axes& grid, const AnyPattern* pattern);
// The keys that a query on the sphere sees, on Mollweide's equal-area map.
Picture plot_sphere(const nf_sphere& pattern, const std::optional<Axes>& query);

// ---- what they share ----

// Lines that are too long for the width are broken after a semicolon.
std::vector<std::string> fit_title(const std::vector<std::string>& lines, double width);
// The lines at the top left, in title_height() of them.
void draw_title(Picture& picture, const std::vector<std::string>& lines);
double title_height(const std::vector<std::string>& lines);
struct LegendEntry {
  Colour colour;
  std::string text;
};
void draw_legend(Picture& picture, double x, double y, const std::vector<LegendEntry>& entries);
// Where x is true, runs of a row as one rectangle each: cells of `cell` pixels.
void draw_row(Picture& picture, const std::vector<bool>& row, Point origin, double cell, double height, Colour colour);
// The query of a picture, its coordinates checked.
int64_t token_of(const Axes& grid, const Axes& query);
// Keys that one query sees, row-major tokens of the keys' grid.
std::vector<int64_t> keys_of(const AnyPattern& pattern, const Axes& grid, int64_t token);
std::string place_text(const Axes& place);  // "(2, 7)"
// UsageError if a picture would have more than `most` of what is counted.
void refuse_to_draw(const char* name, int64_t count, int64_t most, const char* what);
int64_t tokens_of(const Axes& grid);

}  // namespace nearfield::cli
