#include "plan/simulate.h"

#include <algorithm>

#include "plan/key_tiles.h"
#include "plan/simulate_sphere.h"

namespace nearfield::core {
namespace {

// The rules of one axis as a pattern of its own: a plan of it is that axis of the whole pattern's plan.
Plan plan_of_axis(const Pattern& pattern, const TileShape& shape, int axis) {
  Pattern alone;
  alone.rank = 1;
  alone.axes[0] = pattern.axes[axis];
  TileShape extents;
  extents.near[0] = shape.near[axis];
  extents.far[0] = shape.far[axis];
  return Plan(alone, extents);
}

// Calls visit(table, classes that it serves).
template <class Visit>
void for_each_table(const PlanAxis& axis, Visit visit) {
  if (axis.long_classes > 0) visit(axis.tables[0], static_cast<double>(axis.long_classes));
  if (axis.long_classes < axis.classes) visit(axis.tables[1], static_cast<double>(axis.classes - axis.long_classes));
}

void count_dense(Simulation& axis, int64_t queries, int64_t keys, const TileShape& shape) {
  const auto near = static_cast<double>(queries), far = static_cast<double>(keys);
  axis.dense_query_tiles = static_cast<double>(ceil_div(queries, shape.near[0]));
  for (Visits* visits : {&axis.key_tiles, &axis.steps}) {
    visits->dense_units = axis.dense_query_tiles * static_cast<double>(ceil_div(keys, shape.far[0]));
    visits->dense_keys = axis.dense_query_tiles * far;
    visits->dense_pairs = near * far;
  }
}

void count_steps(Visits& visits, const Plan& plan) {
  const PlanStatistics& sums = plan.statistics();
  visits.units = static_cast<double>(sums.full_steps + sums.masked_steps);
  visits.full_units = static_cast<double>(sums.full_steps);
  visits.keys = static_cast<double>(sums.visited_keys);
  visits.full_keys = static_cast<double>(sums.visited_keys - sums.masked_keys);
  visits.pairs = static_cast<double>(sums.executed_pairs);
  for_each_table(plan.axis(0), [&](const AxisTable& table, double) {
    for (const AxisTile& tile : table.tiles) {
      visits.most_units = std::max(visits.most_units, static_cast<double>(tile.steps));
      visits.most_keys = std::max(visits.most_keys, static_cast<double>(tile.visited));
    }
  });
}

void count_key_tiles(Visits& visits, const Plan& plan) {
  for_each_table(plan.axis(0), [&](const AxisTable& table, double classes) {
    const KeyTiles tiles(table.far, plan.shape().far[0]);
    for (const AxisTile& tile : table.tiles) {
      const auto queries =
          std::span(table.intervals).subspan(static_cast<size_t>(tile.begin), static_cast<size_t>(tile.size));
      const KeyTiles::Seen seen = tiles.seen_by(queries, plan.axis(0).wraps);
      const auto units = static_cast<double>(seen.any.tiles), keys = static_cast<double>(seen.any.keys);
      visits.units += classes * units;
      visits.keys += classes * keys;
      visits.pairs += classes * keys * static_cast<double>(tile.size);
      visits.full_units += classes * static_cast<double>(seen.full.tiles);
      visits.full_keys += classes * static_cast<double>(seen.full.keys);
      visits.most_units = std::max(visits.most_units, units);
      visits.most_keys = std::max(visits.most_keys, keys);
    }
  });
}

void multiply(Visits& product, const Visits& axis) {
  for (double Visits::*member :
       {&Visits::dense_units, &Visits::units, &Visits::most_units, &Visits::most_keys, &Visits::dense_keys,
        &Visits::keys, &Visits::full_units, &Visits::full_keys, &Visits::dense_pairs, &Visits::pairs})
    product.*member *= axis.*member;
}

SpeedupBound bound_of(double dense, double all, double most, double tiles) {
  if (!(all > 0)) return {};  // nothing to do
  return {dense / (tiles * most), dense / all};
}

}  // namespace

Simulation simulate(const Pattern& pattern, const TileShape& shape) {
  if (pattern.has_arcs()) return simulate_sphere(pattern, shape);
  constexpr Visits kOne = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  Simulation product{1, 1, 1, kOne, kOne};
  for (int a = 0; a < pattern.rank; ++a) {
    const Plan plan = plan_of_axis(pattern, shape, a);
    Simulation axis;
    axis.query_tiles = static_cast<double>(plan.tile_count());
    axis.useful_pairs = static_cast<double>(plan.statistics().useful_pairs);
    count_dense(axis, plan.axis(0).near, plan.axis(0).far, plan.shape());
    count_steps(axis.steps, plan);
    count_key_tiles(axis.key_tiles, plan);
    product.query_tiles *= axis.query_tiles;
    product.dense_query_tiles *= axis.dense_query_tiles;
    product.useful_pairs *= axis.useful_pairs;
    multiply(product.key_tiles, axis.key_tiles);
    multiply(product.steps, axis.steps);
  }
  return product;
}

SpeedupBound bound_of_units(const Simulation& simulation, const Visits& visits) {
  return bound_of(visits.dense_units, visits.units, visits.most_units, simulation.query_tiles);
}

SpeedupBound bound_of_keys(const Simulation& simulation, const Visits& visits) {
  return bound_of(visits.dense_keys, visits.keys, visits.most_keys, simulation.query_tiles);
}

PredictedTimes predicted_times(const Simulation& simulation, const Visits& visits, const MachineRates& rates) {
  check_rates(rates);
  return {rates.per_key * visits.keys + rates.per_masked_key * (visits.keys - visits.full_keys) +
              rates.per_step * visits.units + rates.per_tile * simulation.query_tiles,
          rates.per_key * visits.dense_keys + rates.per_step * visits.dense_units +
              rates.per_tile * simulation.dense_query_tiles};
}

}  // namespace nearfield::core
