#include <fmt/format.h>

#include <algorithm>

#include "format.h"
#include "plots.h"

namespace nearfield::cli {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 16;
constexpr double kSide = 560, kLeft = 30;

// Light enough for the curve to be seen on them; neighbours along it differ in lightness.
constexpr Colour kWindows[] = {
    {0xbf, 0xe3, 0xf7}, {0xf6, 0xd5, 0x8c}, {0xa9, 0xd8, 0xc8}, {0xf0, 0xc4, 0xda}, {0xe4, 0xe4, 0xe4}};

}  // namespace

Picture plot_curve(nf_order order, const Axes& grid, const AnyPattern* pattern) {
  if (grid.size() != 2)
    throw UsageError(fmt::format("grid: has {} axes: must have 2 for its order to be drawn", grid.size()));
  refuse_to_draw("grid", tokens_of(grid), kMostTokens, "tokens");
  const nf_curve* windows = pattern == nullptr ? nullptr : std::get_if<nf_curve>(pattern);
  if (windows != nullptr) detail::check(nf_window_slots(head_of(*pattern), grid.data(), Axes(2).data()));
  const std::vector<int64_t> tokens = order_tokens(order, grid);
  const double cell = std::min(kSide / static_cast<double>(std::max(grid[0], grid[1])), 36.0);
  const double width = cell * static_cast<double>(grid[1]), height = cell * static_cast<double>(grid[0]);
  std::vector<std::string> title = {fmt::format("{} order of {} tokens", name_of(order), axes_text(grid))};
  if (windows != nullptr) title.push_back(pattern_text(*pattern));
  const double paper = std::max(width + 2 * kLeft, 560.0);
  title = fit_title(title, paper);
  const double top = title_height(title);
  Picture picture(paper, top + height + 50);
  draw_title(picture, title);
  picture.rectangle(kLeft, top, width, height, colours::kOther);
  std::vector<Point> path;
  for (size_t position = 0; position < tokens.size(); ++position) {
    const auto y = static_cast<double>(tokens[position] / grid[1]), x = static_cast<double>(tokens[position] % grid[1]);
    if (windows != nullptr && windows->form == NF_CURVE_WINDOW) {
      const int64_t run = (static_cast<int64_t>(position) + windows->shift) / windows->size;
      picture.rectangle(kLeft + x * cell, top + y * cell, cell, cell,
                        kWindows[run % static_cast<int64_t>(std::size(kWindows))]);
    }
    path.push_back({kLeft + (x + 0.5) * cell, top + (y + 0.5) * cell});
  }
  const Point first = path.front(), last = path.back();
  picture.line(std::move(path), colours::kFull, std::clamp(cell / 6, 0.7, 3.0));
  const double dot = std::clamp(cell / 2, 3.0, 9.0);
  picture.rectangle(first.x - dot / 2, first.y - dot / 2, dot, dot, colours::kQuery);
  picture.rectangle(last.x - dot / 2, last.y - dot / 2, dot, dot, colours::kText);
  std::vector<LegendEntry> legend = {
      {colours::kQuery, "first"}, {colours::kText, "last"}, {colours::kFull, "the curve"}};
  if (windows != nullptr && windows->form == NF_CURVE_WINDOW)
    legend.push_back({kWindows[0], "a window's tokens, and so on"});
  draw_legend(picture, kLeft, top + height + 28, legend);
  return picture;
}

}  // namespace nearfield::cli
