#include "plots.h"

#include <fmt/format.h>

#include <algorithm>

namespace nearfield::cli {

std::vector<std::string> fit_title(const std::vector<std::string>& lines, double width) {
  const auto most = static_cast<size_t>(std::max((width - 32) / 7.2, 20.0));  // letters
  std::vector<std::string> fitting;
  for (std::string rest : lines) {
    while (rest.size() > most) {
      const size_t at = rest.rfind("; ", most);
      if (at == std::string::npos) break;
      fitting.push_back(rest.substr(0, at + 1));
      rest.erase(0, at + 2);
    }
    fitting.push_back(rest);
  }
  return fitting;
}

double title_height(const std::vector<std::string>& lines) { return 18 + 18 * static_cast<double>(lines.size()); }

void draw_title(Picture& picture, const std::vector<std::string>& lines) {
  for (size_t i = 0; i < lines.size(); ++i) picture.text({16, 24 + 18 * static_cast<double>(i)}, lines[i]);
}

void draw_legend(Picture& picture, double x, double y, const std::vector<LegendEntry>& entries) {
  for (const LegendEntry& entry : entries) {
    picture.rectangle(x, y - 10, 12, 12, colours::kGrey);
    picture.rectangle(x + 0.5, y - 9.5, 11, 11, entry.colour);
    picture.text({x + 18, y}, entry.text, 12);
    x += 42 + 7 * static_cast<double>(entry.text.size());
  }
}

void draw_row(Picture& picture, const std::vector<bool>& row, Point origin, double cell, double height, Colour colour) {
  for (size_t begin = 0; begin < row.size(); ++begin) {
    if (!row[begin]) continue;
    size_t end = begin;
    while (end < row.size() && row[end]) ++end;
    picture.rectangle(origin.x + cell * static_cast<double>(begin), origin.y, cell * static_cast<double>(end - begin),
                      height, colour);
    begin = end;
  }
}

int64_t tokens_of(const Axes& grid) {
  int64_t tokens = 1;
  for (const int64_t length : grid)
    if (__builtin_mul_overflow(tokens, length, &tokens)) return INT64_MAX;
  return tokens;
}

int64_t token_of(const Axes& grid, const Axes& query) {
  if (query.size() != grid.size())
    throw UsageError(fmt::format("query={}: has {} values, but the grid has {} axes", fmt::join(query, ","),
                                 query.size(), grid.size()));
  int64_t token = 0;
  for (size_t a = 0; a < grid.size(); ++a) {
    if (query[a] < 0 || query[a] >= grid[a])
      throw UsageError(
          fmt::format("query[{}]={}: must be at least 0 and below {}, the axis's tokens", a, query[a], grid[a]));
    token = token * grid[a] + query[a];
  }
  return token;
}

std::vector<int64_t> keys_of(const AnyPattern& pattern, const Axes& grid, int64_t token) {
  std::vector<int64_t> keys = windows(head_of(pattern), grid, token, 1).keys;
  std::erase(keys, -1);
  return keys;
}

std::string place_text(const Axes& place) { return fmt::format("({})", fmt::join(place, ", ")); }

void refuse_to_draw(const char* name, int64_t count, int64_t most, const char* what) {
  if (count < 1) throw UsageError(fmt::format("{}: must have at least 1 token on each axis to be drawn", name));
  if (count > most)
    throw UsageError(fmt::format("{}: has {} {}: must have at most {} to be drawn", name, count, what, most));
}

}  // namespace nearfield::cli
