#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "plots.h"
#include "sphere_arguments.h"

namespace nearfield::cli {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 21;
constexpr double kPi = std::numbers::pi, kWidth = 640, kLeft = 30, kTop = 96;
constexpr int kPointsOfCircle = 96;

// Mollweide's map, of equal areas: colatitude and longitude in radians, longitude 0 at the left edge.
Point project(double colatitude, double longitude) {
  const double latitude = kPi / 2 - colatitude;
  double angle = latitude;  // 2a + sin 2a = pi sin(latitude), by Newton's steps
  for (int i = 0; i < 50 && std::abs(std::abs(latitude) - kPi / 2) > 1e-9; ++i) {
    const double change = (2 * angle + std::sin(2 * angle) - kPi * std::sin(latitude)) / (2 + 2 * std::cos(2 * angle));
    angle -= change;
    if (std::abs(change) < 1e-9) break;
  }
  const double x = (longitude - kPi) / kPi * std::cos(angle), y = std::sin(angle);
  return {kLeft + kWidth / 2 * (1 + x), kTop + kWidth / 4 * (1 - y)};
}

// Between two parallels and two meridians.
std::vector<Point> patch(double north, double south, double west, double east) {
  const int points = std::max(2, static_cast<int>(std::ceil(kPointsOfCircle * (east - west) / (2 * kPi))));
  std::vector<Point> outline;
  for (int i = 0; i <= points; ++i) outline.push_back(project(north, west + (east - west) * i / points));
  for (int i = points; i >= 0; --i) outline.push_back(project(south, west + (east - west) * i / points));
  return outline;
}

// A grid's circles, and the middles between them.
struct Circles {
  std::vector<double> at, edges;

  explicit Circles(const nf_sphere_grid& grid) : at(sphere_latitudes(grid).colatitudes), edges(at.size() + 1) {
    for (size_t i = 1; i < at.size(); ++i) edges[i] = (at[i - 1] + at[i]) / 2;
    edges.back() = kPi;
  }
};

void draw_map(Picture& picture) {
  for (double north = 0; north < kPi - 1e-9; north += kPi / 36)
    picture.polygon(patch(north, std::min(north + kPi / 36, kPi), 0, 2 * kPi), colours::kOther);
}

void draw_meridians(Picture& picture) {
  for (int i = 0; i <= 12; ++i) {
    std::vector<Point> points;
    for (int j = 0; j <= 48; ++j) points.push_back(project(kPi * j / 48, 2 * kPi * i / 12));
    picture.line(std::move(points), colours::kWhite, 0.8);
  }
  for (int j = 1; j < 6; ++j) {
    picture.line({project(kPi * j / 6, 0), project(kPi * j / 6, 2 * kPi)}, colours::kWhite, 0.8);
    const Point label = project(kPi * j / 6, 0);
    picture.text({label.x - 4, label.y + 4}, std::to_string(90 - 30 * j), 10, Anchor::end);
  }
}

}  // namespace

Picture plot_sphere(const nf_sphere& pattern, const std::optional<Axes>& query) {
  const Axes grid = {pattern.query.nlat, pattern.query.nlon};
  const int64_t nlon = pattern.key.nlon;
  const Axes at = query.value_or(Axes{grid[0] / 4, grid[1] / 2});
  const int64_t token = token_of(grid, at);
  refuse_to_draw("key_grid", tokens_of({pattern.key.nlat, nlon}), kMostTokens, "tokens");
  const std::vector<int64_t> keys = keys_of(pattern, grid, token);
  const Circles queries(pattern.query), circles(pattern.key);
  Picture picture(kWidth + 2 * kLeft, kTop + kWidth / 2 + 60);
  draw_title(picture, fit_title({sphere_text(pattern),
                                 fmt::format("query {} sees {} of {} keys; Mollweide's map, of equal areas",
                                             place_text(at), keys.size(), pattern.key.nlat * nlon)},
                                kWidth + 2 * kLeft));
  draw_map(picture);
  std::vector<std::vector<bool>> seen(static_cast<size_t>(pattern.key.nlat),
                                      std::vector<bool>(static_cast<size_t>(nlon)));
  for (const int64_t key : keys) seen[static_cast<size_t>(key / nlon)][static_cast<size_t>(key % nlon)] = true;
  const double step = 2 * kPi / static_cast<double>(nlon);
  for (size_t row = 0; row < seen.size(); ++row)
    for (size_t begin = 0; begin < seen[row].size(); ++begin) {
      if (!seen[row][begin]) continue;
      size_t end = begin;
      while (end < seen[row].size() && seen[row][end]) ++end;
      // A point's cell begins half a step before it; what is left of longitude 0 is at the right edge.
      const double west = (static_cast<double>(begin) - 0.5) * step, east = (static_cast<double>(end) - 0.5) * step;
      picture.polygon(patch(circles.edges[row], circles.edges[row + 1], std::max(west, 0.0), east), colours::kSeen);
      if (west < 0)
        picture.polygon(patch(circles.edges[row], circles.edges[row + 1], west + 2 * kPi, 2 * kPi), colours::kSeen);
      begin = end;
    }
  draw_meridians(picture);
  const Point place = project(queries.at[static_cast<size_t>(at[0])],
                              2 * kPi * static_cast<double>(at[1]) / static_cast<double>(grid[1]));
  picture.rectangle(place.x - 5, place.y - 5, 10, 10, colours::kWhite);
  picture.rectangle(place.x - 3.5, place.y - 3.5, 7, 7, colours::kQuery);
  draw_legend(picture, kLeft, kTop + kWidth / 2 + 36,
              {{colours::kQuery, "query"}, {colours::kSeen, "keys that it sees"}, {colours::kOther, "other keys"}});
  return picture;
}

}  // namespace nearfield::cli
