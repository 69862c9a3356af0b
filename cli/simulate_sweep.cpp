#include "simulate_sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>
#include <tuple>

namespace nearfield::cli {
namespace {

constexpr int64_t kMostStrides = 100000;  // with all shapes of tiles: some seconds
constexpr int64_t kWindowsOfAxis = 12;

int64_t product(const Axes& axes) { return std::accumulate(axes.begin(), axes.end(), int64_t{1}, std::multiplies<>()); }

// Every choice of one value for each axis, last axis fastest.
std::vector<Axes> combinations(const std::vector<Axes>& choices) {
  std::vector<Axes> all = {{}};
  for (const Axes& axis : choices) {
    std::vector<Axes> longer;
    for (const Axes& begun : all)
      for (const int64_t value : axis) {
        longer.push_back(begun);
        longer.back().push_back(value);
      }
    all = std::move(longer);
  }
  return all;
}

bool has_strides(const AnyPattern& pattern) {
  const auto* curve = std::get_if<nf_curve>(&pattern);
  return std::holds_alternative<nf_neighborhood>(pattern) || (curve != nullptr && curve->form != NF_CURVE_WINDOW);
}

Axes window_of(const AnyPattern& pattern) {
  if (const auto* curve = std::get_if<nf_curve>(&pattern)) return {curve->size};
  const auto& neighborhood = std::get<nf_neighborhood>(pattern);
  return {neighborhood.kernel_size, neighborhood.kernel_size + neighborhood.pattern.rank};
}
Axes stride_of(const AnyPattern& pattern) {
  if (const auto* curve = std::get_if<nf_curve>(&pattern)) return {curve->stride};
  const auto& neighborhood = std::get<nf_neighborhood>(pattern);
  return {neighborhood.stride, neighborhood.stride + neighborhood.pattern.rank};
}
AnyPattern with(AnyPattern pattern, const Axes& window, const Axes& stride) {
  if (auto* curve = std::get_if<nf_curve>(&pattern)) {
    curve->size = window[0];
    curve->stride = stride[0];
  } else {
    auto& neighborhood = std::get<nf_neighborhood>(pattern);
    std::copy(window.begin(), window.end(), neighborhood.kernel_size);
    std::copy(stride.begin(), stride.end(), neighborhood.stride);
  }
  return pattern;
}

// Tokens of each axis that a window may have: of a residue class.
Axes longest_windows(const AnyPattern& pattern, const Axes& grid) {
  Axes longest = tiled_grids(pattern, grid).key;
  for (size_t a = 0; a < longest.size(); ++a) {
    const auto* curve = std::get_if<nf_curve>(&pattern);
    const int64_t dilation = curve != nullptr ? curve->dilation : std::get<nf_neighborhood>(pattern).dilation[a];
    longest[a] = std::max<int64_t>((longest[a] + dilation - 1) / std::max<int64_t>(dilation, 1), 1);
  }
  return longest;
}

Axes strides_of_axis(int64_t kernel, bool all) {
  std::set<int64_t> strides = {kernel};
  for (int64_t stride = 1; stride < kernel; stride = all ? stride + 1 : 2 * stride) strides.insert(stride);
  return {strides.begin(), strides.end()};
}

std::vector<Axes> strides_of(const SweepRequest& request, bool& all) {
  const Axes window = window_of(request.pattern), longest = longest_windows(request.pattern, request.grid);
  double count = static_cast<double>(request.tiles.size());
  Axes most;
  for (size_t a = 0; a < window.size(); ++a) {  // strides beyond the axis are all alike
    most.push_back(std::min(window[a], longest[a]));
    count *= static_cast<double>(most[a]);
  }
  all = count <= kMostStrides;
  std::vector<Axes> choices;
  for (const int64_t kernel : most) choices.push_back(strides_of_axis(kernel, all));
  return combinations(choices);
}

// Faster first: by the slowest tile's bound, then the mean one; of equals that with the smaller stride.
bool is_better(const Simulated& a, const Simulated& b) {
  const auto rank = [](const Simulated& each) {
    const nf_visits& visits = each.simulation.key_tiles;
    const int64_t stride = has_strides(each.pattern) ? product(stride_of(each.pattern)) : 1;
    return std::tuple(-visits.worst_bound, -visits.mean_bound, stride);
  };
  return rank(a) < rank(b);
}

Simulated simulated(const SweepRequest& request, const AnyPattern& pattern, const TileSizes& tiles) {
  return simulate_pattern(pattern, request.grid, tiles, request.rates(tiles.tile));
}

// Axis by axis the window grows as long as nothing more is visited.
std::optional<Simulated> largest_of_same_cost(const SweepRequest& request, const Simulated& best) {
  const Axes longest = longest_windows(request.pattern, request.grid), given = window_of(best.pattern);
  const Axes stride = stride_of(best.pattern);
  const double cost = best.simulation.key_tiles.units, most = best.simulation.key_tiles.most_units;
  std::optional<Simulated> found;
  Axes window = given;
  for (size_t a = 0; a < window.size(); ++a) {
    // Within so many tokens a window reaches the next key tile.
    const int64_t end = std::min(longest[a], given[a] + 2 * best.tiles.key_tile[a]);
    for (int64_t size = end; size > given[a]; --size) {
      Axes larger = window;
      larger[a] = size;
      const Simulated each = simulated(request, with(best.pattern, larger, stride), best.tiles);
      if (each.simulation.key_tiles.units > cost || each.simulation.key_tiles.most_units > most) continue;
      window = larger;
      found = each;
      break;
    }
  }
  return found;
}

// The given window, and multiples of the key tile from half of it to twice as long, not too many of them.
Axes windows_of_axis(int64_t given, int64_t length, int64_t key_tile) {
  std::set<int64_t> windows = {std::min(given, length)};
  const int64_t first = std::max<int64_t>(given / 2 / key_tile, 1), last = std::min(2 * given, length) / key_tile;
  const int64_t every = std::max<int64_t>((last - first) / kWindowsOfAxis, 1);
  for (int64_t i = first; i <= last; i += every) windows.insert(i * key_tile);
  return {windows.begin(), windows.end()};
}

// Each window at stride 1, that of a tile of queries, and the best's.
std::vector<AnyPattern> other_windows(const SweepRequest& request, const Simulated& best) {
  const Axes longest = longest_windows(request.pattern, request.grid), given = window_of(best.pattern);
  const Axes stride = stride_of(best.pattern);
  std::vector<Axes> choices;
  for (size_t a = 0; a < longest.size(); ++a)
    choices.push_back(windows_of_axis(given[a], longest[a], best.tiles.key_tile[a]));
  std::vector<AnyPattern> patterns;
  for (const Axes& window : combinations(choices)) {
    std::vector<Axes> strides;
    for (size_t a = 0; a < window.size(); ++a) {
      const std::set<int64_t> tried = {1, std::min(best.tiles.tile[a], window[a]), std::min(stride[a], window[a])};
      strides.push_back({tried.begin(), tried.end()});
    }
    for (const Axes& stride : combinations(strides)) patterns.push_back(with(best.pattern, window, stride));
  }
  return patterns;
}

std::vector<Simulated> pareto_set(std::vector<Simulated> all) {
  // Largest first, of equals the fastest: an entry belongs to the set if it is faster than all before it.
  std::sort(all.begin(), all.end(), [](const Simulated& a, const Simulated& b) {
    const double a_keys = window_keys(a.pattern, a.grid), b_keys = window_keys(b.pattern, b.grid);
    return a_keys != b_keys ? a_keys > b_keys : is_better(a, b);
  });
  std::vector<Simulated> set;
  for (const Simulated& each : all)
    if (set.empty() || each.simulation.key_tiles.worst_bound > set.back().simulation.key_tiles.worst_bound)
      set.push_back(each);
  std::reverse(set.begin(), set.end());
  return set;
}

}  // namespace

double window_keys(const AnyPattern& pattern, const Axes& grid) {
  const Axes window = window_of(pattern), longest = longest_windows(pattern, grid);
  double keys = 1;
  for (size_t a = 0; a < window.size(); ++a) keys *= static_cast<double>(std::min(window[a], longest[a]));
  return keys;
}

std::string stride_text(const AnyPattern& pattern) {
  return has_strides(pattern) ? fmt::format("{}", fmt::join(stride_of(pattern), ",")) : "-";
}
std::string window_text(const AnyPattern& pattern) {
  return has_strides(pattern) ? fmt::format("{}", fmt::join(window_of(pattern), ",")) : pattern_text(pattern);
}

std::vector<TileSizes> tile_shapes(const AnyPattern& pattern, const Axes& grid, const TileSizes& given) {
  const TiledGrids grids = tiled_grids(pattern, grid);
  const auto shapes = [](const Axes& lengths, const Axes& like, bool one_line) {
    std::vector<Axes> choices;
    for (size_t a = 0; a < lengths.size(); ++a) {
      Axes sizes;
      for (int64_t size = 1; size <= lengths[a] && size <= product(like); size *= 2) sizes.push_back(size);
      choices.push_back(one_line && a == 0 ? Axes{1} : sizes);
    }
    std::vector<Axes> all = combinations(choices);
    std::erase_if(all, [&](const Axes& shape) { return product(shape) != product(like); });
    return all;
  };
  std::vector<TileSizes> found = {given};
  const bool on_sphere = std::holds_alternative<nf_sphere>(pattern);
  for (const Axes& tile : shapes(grids.query, given.tile, on_sphere))
    for (const Axes& keys : shapes(grids.key, given.key_tile, false)) {
      // One that is longer than the tile of queries on an axis and shorter on another cuts more windows than it saves.
      const bool within = std::equal(keys.begin(), keys.end(), tile.begin(), std::less_equal<>());
      const bool around = std::equal(keys.begin(), keys.end(), tile.begin(), std::greater_equal<>());
      if ((within || around) && (tile != given.tile || keys != given.key_tile)) found.push_back({tile, keys});
    }
  return found;
}

Sweep sweep(const SweepRequest& request, const ShowProgress& show) {
  Sweep result;
  const bool strided = has_strides(request.pattern);
  std::vector<AnyPattern> patterns = {request.pattern};
  simulated(request, request.pattern, request.tiles[0]);  // refuses what is wrong with them, before anything is listed
  if (strided) {
    patterns.clear();
    for (const Axes& stride : strides_of(request, result.all_strides))
      patterns.push_back(with(request.pattern, window_of(request.pattern), stride));
  }
  const auto total = static_cast<int64_t>(patterns.size() * request.tiles.size());
  for (const TileSizes& tiles : request.tiles)
    for (const AnyPattern& pattern : patterns) {
      show(static_cast<int64_t>(result.strides.size()), total, "strides and tiles");
      result.strides.push_back(simulated(request, pattern, tiles));
    }
  std::stable_sort(result.strides.begin(), result.strides.end(), is_better);
  if (!strided) return result;
  const Simulated best = result.strides.front();
  result.same_cost = largest_of_same_cost(request, best);
  const std::vector<AnyPattern> others = other_windows(request, best);
  std::vector<Simulated> windows;
  for (const AnyPattern& other : others) {
    show(static_cast<int64_t>(windows.size()), static_cast<int64_t>(others.size()), "windows");
    windows.push_back(simulated(request, other, best.tiles));
  }
  result.pareto = pareto_set(std::move(windows));
  return result;
}

}  // namespace nearfield::cli
