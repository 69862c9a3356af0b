#include "plan/simulate_sphere.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/error.h"
#include "plan/arc_sums.h"
#include "plan/arcs.h"
#include "plan/key_tiles.h"

namespace nearfield::core {
namespace {

constexpr double kMostVisits = 0x1p31;           // of a circle of keys by a tile: some seconds
constexpr int64_t kMostKept = int64_t{1} << 23;  // half-widths times tiles of a circle: 400 MB

// What the tiles along one circle of queries visit of a circle of keys with one half-width.
struct Circle {
  std::vector<KeyTiles::Seen> key_tiles;  // [tile]
  std::vector<KeyTiles::Count> steps;     // [tile]
};

class Counter {
 public:
  Counter(const Sphere& sphere, const TileShape& shape)
      : reach_(sphere.reach),
        shape_(shape),
        arc_(sphere.reach.arc()),
        tiles_(ceil_div(arc_.queries, shape.near[1])),
        columns_(arc_.keys, shape.far[1]) {}

  void count(Simulation& simulation) {
    for (int64_t latitude = 0; latitude < reach_.query_latitudes(); ++latitude) {
      count_key_tiles(simulation.key_tiles, latitude);
      count_most_steps(simulation.steps, latitude);
    }
  }
  int64_t tiles() const { return tiles_; }

 private:
  int64_t size_of(int64_t tile) const { return min_of(shape_.near[1], arc_.queries - tile * shape_.near[1]); }

  const Circle& circle(int64_t half_width) {
    auto [known, is_new] = circles_.try_emplace(half_width);
    if (!is_new) return known->second;
    std::vector<Interval> intervals;
    for (int64_t tile = 0; tile < tiles_; ++tile) {
      const int64_t begin = tile * shape_.near[1];
      intervals.clear();
      for (int64_t x = begin; x < begin + size_of(tile); ++x) intervals.push_back(arc_.keys_of(half_width, x));
      known->second.key_tiles.push_back(columns_.seen_by(intervals, true));
      const ArcSums steps = arc_sums_of_tile(arc_, half_width, begin, size_of(tile), shape_.far[1]);
      known->second.steps.push_back({steps.full + steps.masked, steps.visited});
    }
    return known->second;
  }

  // A row of key tiles is several circles of keys. What any query sees of it is what it sees of the circle with the
  // widest arc; what all see of all circles, that of the narrowest.
  void count_key_tiles(Visits& visits, int64_t latitude) {
    const Interval seen = reach_.keys_of(latitude);
    std::vector<double> units(static_cast<size_t>(tiles_)), keys(units);
    const int64_t rows = shape_.far[0], all = reach_.key_latitudes();
    for (int64_t row = seen.start / rows; row * rows < seen.end(); ++row) {
      const int64_t first = row * rows, size = min_of(rows, all - first);
      int64_t widest = -1, narrowest = arc_.whole_circle();
      for (int64_t k = first; k < first + size; ++k) {
        widest = max_of(widest, reach_.half_width(latitude, k));
        narrowest = min_of(narrowest, reach_.half_width(latitude, k));
      }
      if (widest < 0) continue;
      const auto circles = static_cast<double>(size);
      const Circle &any = circle(widest), &common = circle(narrowest);
      for (size_t t = 0; t < units.size(); ++t) {
        units[t] += static_cast<double>(any.key_tiles[t].any.tiles);
        keys[t] += circles * static_cast<double>(any.key_tiles[t].any.keys);
        if (narrowest < 0) continue;
        visits.full_units += static_cast<double>(common.key_tiles[t].full.tiles);
        visits.full_keys += circles * static_cast<double>(common.key_tiles[t].full.keys);
      }
    }
    for (size_t t = 0; t < units.size(); ++t) {
      visits.units += units[t];
      visits.keys += keys[t];
      visits.pairs += keys[t] * static_cast<double>(size_of(static_cast<int64_t>(t)));
      visits.most_units = std::max(visits.most_units, units[t]);
      visits.most_keys = std::max(visits.most_keys, keys[t]);
    }
  }

  void count_most_steps(Visits& visits, int64_t latitude) {
    std::vector<double> units(static_cast<size_t>(tiles_)), keys(units);
    for (const int32_t half_width : reach_.half_widths(latitude)) {
      const Circle& seen = circle(half_width);
      for (size_t t = 0; t < units.size(); ++t) {
        units[t] += static_cast<double>(seen.steps[t].tiles);
        keys[t] += static_cast<double>(seen.steps[t].keys);
      }
    }
    if (units.empty()) return;
    visits.most_units = std::max(visits.most_units, *std::max_element(units.begin(), units.end()));
    visits.most_keys = std::max(visits.most_keys, *std::max_element(keys.begin(), keys.end()));
  }

  const SphereReach& reach_;
  TileShape shape_;
  SphereArc arc_;
  int64_t tiles_;  // of a circle of queries
  KeyTiles columns_;
  std::map<int64_t, Circle> circles_;  // by half-width
};

void refuse_what_takes_too_long(const SphereReach& reach, int64_t tiles, const TileShape& shape) {
  const SphereArc& arc = reach.arc();
  int64_t circles = 0;  // of keys, over the query latitudes; at most 2^28
  std::set<int64_t> half_widths;
  for (int64_t q = 0; q < reach.query_latitudes(); ++q)
    for (const int32_t half_width : reach.half_widths(q)) ++circles, half_widths.insert(half_width);
  // Each half-width is counted once: from every query's arc, and piece by piece where there is no closed form.
  double work = static_cast<double>(circles) * static_cast<double>(tiles);
  for (const int64_t half_width : half_widths) {
    const int64_t pieces = has_closed_sums(arc, half_width) ? 1 : ceil_div(arc.keys, shape.far[1]);
    work += static_cast<double>(arc.queries) * static_cast<double>(pieces);
  }
  const auto kinds = static_cast<int64_t>(half_widths.size());
  if (work > kMostVisits || kinds * tiles > kMostKept)
    unsupported("tile[1]=", shape.near[1], ": ", tiles, " tiles of each latitude's ", arc.queries, " queries and ",
                circles, " circles of keys that latitudes see are too many to be simulated on the sphere");
}

}  // namespace

Simulation simulate_sphere(const Pattern& pattern, const TileShape& shape) {
  const SphereReach& reach = pattern.sphere->reach;
  if (shape.near[0] != 1) throw Error(Status::internal_error, "simulate: tiles on the sphere are of one latitude");
  Counter counter(*pattern.sphere, shape);
  refuse_what_takes_too_long(reach, counter.tiles(), shape);
  const SphereArc& arc = reach.arc();
  const auto latitudes = static_cast<double>(reach.query_latitudes());
  const auto circles = static_cast<double>(reach.key_latitudes());
  const auto pieces = static_cast<double>(ceil_div(arc.keys, shape.far[1]));
  const double keys = circles * static_cast<double>(arc.keys);
  Simulation simulation;
  simulation.query_tiles = simulation.dense_query_tiles = latitudes * static_cast<double>(counter.tiles());
  for (Visits* visits : {&simulation.key_tiles, &simulation.steps}) {
    visits->dense_keys = simulation.query_tiles * keys;
    visits->dense_pairs = latitudes * static_cast<double>(arc.queries) * keys;
  }
  const auto rows = static_cast<double>(ceil_div(reach.key_latitudes(), shape.far[0]));
  simulation.key_tiles.dense_units = simulation.query_tiles * rows * pieces;
  simulation.steps.dense_units = simulation.query_tiles * circles * pieces;
  counter.count(simulation);
  const PlanStatistics sums = arc_statistics(*pattern.sphere, shape.near[1], shape.far[1], 0, reach.query_latitudes());
  simulation.useful_pairs = static_cast<double>(sums.useful_pairs);
  simulation.steps.units = static_cast<double>(sums.full_steps + sums.masked_steps);
  simulation.steps.full_units = static_cast<double>(sums.full_steps);
  simulation.steps.keys = static_cast<double>(sums.visited_keys);
  simulation.steps.full_keys = static_cast<double>(sums.visited_keys - sums.masked_keys);
  simulation.steps.pairs = static_cast<double>(sums.executed_pairs);
  return simulation;
}

}  // namespace nearfield::core
