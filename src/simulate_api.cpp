// The C ABI's simulator.
#include <algorithm>
#include <cstring>

#include "api_guard.h"
#include "dispatch/geometry_rules.h"
#include "nearfield/nearfield.h"
#include "plan/simulate.h"

namespace core = nearfield::core;
using core::guarded, core::require;

namespace {

nf_visits record_of(const core::Simulation& simulation, const core::Visits& visits, const core::SpeedupBound& bound,
                    const nf_rates* rates) {
  nf_visits record = {};
  record.units = visits.units;
  record.keys = visits.keys;
  record.pairs = visits.pairs;
  record.dense_units = visits.dense_units;
  record.dense_keys = visits.dense_keys;
  record.dense_pairs = visits.dense_pairs;
  record.most_units = visits.most_units;
  record.most_keys = visits.most_keys;
  record.full_units = visits.full_units;
  record.masked_units = visits.units - visits.full_units;
  record.waste = simulation.useful_pairs > 0 ? visits.pairs / simulation.useful_pairs : 1;
  record.worst_bound = bound.worst;
  record.mean_bound = bound.mean;
  if (rates == nullptr) return record;
  const core::PredictedTimes times =
      predicted_times(simulation, visits, {rates->per_key, rates->per_masked_key, rates->per_step, rates->per_tile});
  record.seconds = times.seconds;
  record.dense_seconds = times.dense_seconds;
  return record;
}

}  // namespace

nf_status nf_simulate(const nf_pattern* pattern, const int64_t* grid, const int64_t* tile, const int64_t* key_tile,
                      const nf_rates* rates, nf_simulation* simulation) {
  return guarded([&] {
    const core::Pattern on_grid = core::validate_on_grid(pattern, grid);
    const core::TileShape shape = core::validate_simulated_tiles(on_grid, tile, key_tile);
    require(simulation, "simulation");
    constexpr size_t kHead = sizeof simulation->struct_size;
    if (simulation->struct_size < kHead)
      core::invalid_argument("simulation.struct_size=", simulation->struct_size,
                             ": must be sizeof(nf_simulation) as the caller's header has it");
    const core::Simulation found = core::simulate(on_grid, shape);
    nf_simulation record = {};
    record.query_tiles = found.query_tiles;
    record.dense_query_tiles = found.dense_query_tiles;
    record.useful_pairs = found.useful_pairs;
    record.dense_pairs = found.steps.dense_pairs;
    record.ideal_bound = found.useful_pairs > 0 ? record.dense_pairs / found.useful_pairs : 1;
    record.key_tiles = record_of(found, found.key_tiles, bound_of_units(found, found.key_tiles), rates);
    record.steps = record_of(found, found.steps, bound_of_keys(found, found.steps), rates);
    const size_t size = std::min(simulation->struct_size, sizeof record);
    std::memcpy(reinterpret_cast<char*>(simulation) + kHead, reinterpret_cast<const char*>(&record) + kHead,
                size - kHead);
  });
}
