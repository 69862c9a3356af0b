// The C ABI's geometry: windows and plans, written into the caller's arrays.
#include <algorithm>
#include <memory>
#include <vector>

#include "api_guard.h"
#include "dispatch/geometry_rules.h"
#include "dispatch/pattern_rules.h"
#include "nearfield/nearfield.h"
#include "pattern/curve.h"
#include "pattern/sphere.h"
#include "pattern/windows.h"
#include "plan/block_map.h"
#include "plan/plan.h"

namespace core = nearfield::core;
using core::guarded, core::require;

namespace {

nf_plan_step record_of(const core::Plan& plan, int64_t index, const core::Tile& tile, const core::Step& step) {
  nf_plan_step record = {};
  record.tile = index;
  std::fill_n(record.query_size, NF_MAX_GRID_RANK, 1);
  std::fill_n(record.key_size, NF_MAX_GRID_RANK, 1);
  for (int a = 0; a < plan.rank(); ++a) {
    record.query_first[a] = tile.begin(a);
    record.query_size[a] = tile.size(a);
    record.key_first[a] = step.pieces[a].first;
    record.key_size[a] = step.pieces[a].size;
    record.residue[a] = tile.residue[a];
  }
  record.pairs = plan.useful_pairs(tile, step);
  record.full = step.full ? 1 : 0;
  return record;
}

void write_steps(const core::Plan& plan, int64_t capacity, nf_plan_step* records) {
  core::StepList steps;
  for (int64_t index = 0; index < plan.tile_count() && capacity > 0; ++index) {
    const core::Tile tile = plan.tile(index);
    plan.expand(tile, steps);
    for (const core::Step& step : steps) {
      if (capacity-- == 0) return;
      *records++ = record_of(plan, index, tile, step);
    }
  }
}

// The map's first `capacity` blocks.
void write_blocks(const core::BlockMap& map, int64_t capacity, nf_block* records) {
  for (int64_t index = 0; index < map.block_count(); ++index)
    for (const core::KeyBlock& block : map.row(index)) {
      if (capacity-- == 0) return;
      *records++ = {index, block.index, block.pairs, block.full() ? 1 : 0};
    }
}

}  // namespace

nf_status nf_bias_extents(const nf_pattern* pattern, const int64_t* grid, int64_t* extents) {
  return guarded([&] {
    const core::Pattern on_grid = core::validate_on_grid(pattern, grid);
    require(extents, "extents");
    core::refuse_bias(on_grid, "extents");
    int64_t all[NF_MAX_GRID_RANK];
    core::bias_extents(on_grid, all);
    std::copy_n(all, on_grid.grid_rank(), extents);
  });
}

nf_status nf_order_tokens(int32_t order, int32_t rank, const int64_t* grid, int64_t* tokens, int64_t* positions) {
  return guarded([&] {
    const core::OrderKey key = core::validate_order_key(order, rank, grid);
    const std::shared_ptr<const core::TokenOrder> walk = core::cached_order(key);
    if (tokens != nullptr) std::copy(walk->tokens.begin(), walk->tokens.end(), tokens);
    if (positions != nullptr) std::copy(walk->positions.begin(), walk->positions.end(), positions);
  });
}

nf_status nf_sphere_latitudes(const nf_sphere_grid* grid, double* colatitudes, double* area_weights) {
  return guarded([&] {
    require(grid, "grid");
    const core::SphereGrid circles = core::validate_sphere_grid("grid", *grid);
    core::check_sphere_grid("grid", circles, 1);
    if (colatitudes == nullptr && area_weights == nullptr) return;
    const core::Latitudes found = core::sphere_latitudes(circles.kind, circles.nlat);
    if (colatitudes != nullptr) std::copy(found.theta.begin(), found.theta.end(), colatitudes);
    if (area_weights != nullptr)
      std::transform(found.weights.begin(), found.weights.end(), area_weights,
                     [&](double weight) { return core::point_area(weight, circles.nlon); });
  });
}

nf_status nf_window_slots(const nf_pattern* pattern, const int64_t* grid, int64_t* slots) {
  return guarded([&] {
    const core::Pattern on_grid = core::validate_on_grid(pattern, grid);
    require(slots, "slots");
    int64_t all[NF_MAX_GRID_RANK];
    core::window_slots(on_grid, all);
    std::copy_n(all, on_grid.grid_rank(), slots);
  });
}

nf_status nf_windows(const nf_pattern* pattern, const int64_t* grid, int64_t first, int64_t count, int64_t* keys,
                     int64_t* bias_index) {
  return guarded([&] {
    const core::Pattern on_grid = core::validate_on_grid(pattern, grid);
    core::check_windows(on_grid, first, count, keys, bias_index);
    core::write_windows(on_grid, first, count, keys, bias_index);
  });
}

nf_status nf_plan_steps(const nf_pattern* pattern, const int64_t* grid, const int64_t* tile, const int64_t* step,
                        int64_t capacity, nf_plan_step* steps, int64_t* count) {
  return guarded([&] {
    const core::Pattern on_grid = core::validate_on_grid(pattern, grid);
    if (capacity < 0) core::invalid_argument("capacity=", capacity, ": must be at least 0");
    if (capacity > 0) require(steps, "steps");
    require(count, "count");
    const core::Plan plan = core::validate_plan(on_grid, tile, step);
    write_steps(plan, capacity, steps);
    *count = plan.statistics().full_steps + plan.statistics().masked_steps;
  });
}

nf_status nf_block_map(const nf_pattern* pattern, const int64_t* grid, int64_t block, int64_t capacity,
                       nf_block* blocks, nf_block_counts* counts) {
  return guarded([&] {
    const core::Pattern on_grid = core::validate_on_grid(pattern, grid);
    core::check_block(block);
    if (capacity < 0) core::invalid_argument("capacity=", capacity, ": must be at least 0");
    if (capacity > 0) require(blocks, "blocks");
    require(counts, "counts");
    const core::BlockMap map(on_grid, block, false);
    write_blocks(map, capacity, blocks);
    const core::BlockCounts& found = map.counts();
    *counts = {found.blocks, found.empty, found.full, found.masked, found.pairs};
  });
}
