#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plots.h"

namespace nearfield::cli {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 20, kMostRows = 2048;
constexpr double kWidth = 560, kLeft = 46;

// A grid of up to three axes on paper: slices of the first side by side.
struct Sheet {
  int64_t depth, rows, columns, across;
  double cell, gap;

  explicit Sheet(const Axes& grid) {
    Axes padded(3 - grid.size(), 1);
    padded.insert(padded.end(), grid.begin(), grid.end());
    depth = padded[0], rows = padded[1], columns = padded[2];
    const auto down_over_across = static_cast<double>(depth * rows) / static_cast<double>(columns);
    across = depth == 1 ? 1 : std::clamp<int64_t>(std::llround(std::sqrt(1.4 * down_over_across)), 1, depth);
    gap = depth == 1 ? 0 : 20;
    cell = (kWidth - gap * static_cast<double>(across - 1)) / static_cast<double>(across * columns);
    cell = std::min({cell, depth == 1 ? 560.0 / static_cast<double>(rows) : cell, 28.0});
  }
  Point place(int64_t slice) const {
    return {static_cast<double>(slice % across) * (static_cast<double>(columns) * cell + gap),
            static_cast<double>(slice / across) * (static_cast<double>(rows) * cell + gap)};
  }
  double width() const { return place(across - 1).x + static_cast<double>(columns) * cell; }
  double height() const { return place(depth - 1).y + static_cast<double>(rows) * cell; }
};

// Numbers of some cells along an axis.
void label_cells(Picture& picture, Point origin, int64_t count, double cell, bool downwards) {
  int64_t every = 1;
  for (int64_t ten = 1; static_cast<double>(every) * cell < 30; ten *= 10)
    for (const int64_t step : {1, 2, 5})
      if (static_cast<double>(every) * cell < 30) every = step * ten;
  for (int64_t i = 0; i < count; i += every) {
    const double middle = (static_cast<double>(i) + 0.5) * cell;
    if (downwards)
      picture.text({origin.x - 6, origin.y + middle + 4}, std::to_string(i), 11, Anchor::end);
    else
      picture.text({origin.x + middle, origin.y + 14}, std::to_string(i), 11, Anchor::middle);
  }
}

void draw_lines(Picture& picture, Point at, const Sheet& sheet) {
  if (sheet.cell < 7) return;
  const double right = at.x + static_cast<double>(sheet.columns) * sheet.cell;
  const double bottom = at.y + static_cast<double>(sheet.rows) * sheet.cell;
  for (int64_t i = 1; i < sheet.columns; ++i) {
    const double x = at.x + static_cast<double>(i) * sheet.cell;
    picture.line({{x, at.y}, {x, bottom}}, colours::kWhite, 0.7);
  }
  for (int64_t i = 1; i < sheet.rows; ++i) {
    const double y = at.y + static_cast<double>(i) * sheet.cell;
    picture.line({{at.x, y}, {right, y}}, colours::kWhite, 0.7);
  }
}

void mark(Picture& picture, Point middle, double cell) {
  const double half = std::max(cell / 2, 3.0);
  for (const auto& [colour, width] : {std::pair(colours::kWhite, 4.0), std::pair(colours::kQuery, 2.0)})
    picture.line({{middle.x - half, middle.y - half},
                  {middle.x + half, middle.y - half},
                  {middle.x + half, middle.y + half},
                  {middle.x - half, middle.y + half},
                  {middle.x - half, middle.y - half}},
                 colour, width);
  picture.rectangle(middle.x - half / 3, middle.y - half / 3, 2 * half / 3, 2 * half / 3, colours::kQuery);
}

// Cells of `seen`, row-major over the sheet's grid.
Picture draw_sheet(const Sheet& sheet, const std::vector<bool>& seen, const std::vector<std::string>& lines,
                   const std::vector<LegendEntry>& legend, const int64_t* query, int rank) {
  const double width = std::max(sheet.width() + kLeft + 20, 640.0);
  const std::vector<std::string> title = fit_title(lines, width);
  const double top = title_height(title) + (sheet.depth > 1 ? 14 : 0);
  Picture picture(width, top + sheet.height() + 60);
  draw_title(picture, title);
  for (int64_t slice = 0; slice < sheet.depth; ++slice) {
    const Point place = sheet.place(slice), at{kLeft + place.x, top + place.y};
    picture.rectangle(at.x, at.y, static_cast<double>(sheet.columns) * sheet.cell,
                      static_cast<double>(sheet.rows) * sheet.cell, colours::kOther);
    for (int64_t y = 0; y < sheet.rows; ++y) {
      const auto first = seen.begin() + (slice * sheet.rows + y) * sheet.columns;
      draw_row(picture, {first, first + sheet.columns}, {at.x, at.y + static_cast<double>(y) * sheet.cell}, sheet.cell,
               sheet.cell, colours::kSeen);
    }
    draw_lines(picture, at, sheet);
    if (sheet.depth > 1) picture.text({at.x, at.y - 4}, fmt::format("axis 0: {}", slice), 10);
  }
  if (query != nullptr) {
    const int64_t plane = sheet.rows * sheet.columns, in_plane = *query % plane;
    const Point place = sheet.place(*query / plane);
    mark(picture,
         {kLeft + place.x + (static_cast<double>(in_plane % sheet.columns) + 0.5) * sheet.cell,
          top + place.y + (static_cast<double>(in_plane / sheet.columns) + 0.5) * sheet.cell},
         sheet.cell);
  }
  if (sheet.depth == 1) {
    label_cells(picture, {kLeft, top + sheet.height()}, sheet.columns, sheet.cell, false);
    if (rank > 1) label_cells(picture, {kLeft, top}, sheet.rows, sheet.cell, true);
  }
  draw_legend(picture, kLeft, top + sheet.height() + 40, legend);
  return picture;
}

// Of one axis all queries: rows; keys: columns.
Picture plot_all(const AnyPattern& pattern, int64_t length) {
  refuse_to_draw("grid", length, kMostRows, "queries");
  std::vector<bool> seen(static_cast<size_t>(length * length));
  int64_t pairs = 0;
  for (int64_t query = 0; query < length; ++query)
    for (const int64_t key : keys_of(pattern, {length}, query))
      seen[static_cast<size_t>(query * length + key)] = true, ++pairs;
  return draw_sheet(Sheet({length, length}), seen,
                    {pattern_text(pattern),
                     fmt::format("{} of {} pairs; queries downwards, keys to the right", pairs, length * length)},
                    {{colours::kSeen, "the query sees the key"}, {colours::kOther, "it does not"}}, nullptr, 2);
}

}  // namespace

Picture plot_window(const AnyPattern& pattern, const Axes& grid, const std::optional<Axes>& query) {
  if (key_grid_of(pattern, grid) != grid)
    throw UsageError("key_grid: must be the queries' grid to be drawn; plot sphere draws two");
  if (grid.size() == 1 && !query) return plot_all(pattern, grid[0]);
  refuse_to_draw("grid", tokens_of(grid), kMostTokens, "tokens");
  Axes at = query.value_or(grid);
  if (!query)
    for (int64_t& place : at) place /= 2;
  const int64_t token = token_of(grid, at);
  const std::vector<int64_t> keys = keys_of(pattern, grid, token);
  std::vector<bool> seen(static_cast<size_t>(tokens_of(grid)));
  for (const int64_t key : keys) seen[static_cast<size_t>(key)] = true;
  return draw_sheet(
      Sheet(grid), seen,
      {pattern_text(pattern), fmt::format("query {} sees {} of {} keys", place_text(at), keys.size(), tokens_of(grid))},
      {{colours::kQuery, "query"}, {colours::kSeen, "keys that it sees"}, {colours::kOther, "other tokens"}}, &token,
      static_cast<int>(grid.size()));
}

}  // namespace nearfield::cli
