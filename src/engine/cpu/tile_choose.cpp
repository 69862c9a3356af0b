// Which tile shape the tile kernel runs a problem with, and how long it should take.
#include "engine/cpu/driver.h"
#include "engine/cpu/rates.h"
#include "engine/cpu/tile_gradient_workspace.h"
#include "engine/cpu/tile_group.h"
#include "plan/cache.h"
#include "plan/cost_model.h"
#include "plan/tiling.h"

namespace nearfield::core {

namespace {

template <class T>
void add_workspace(const Problem& problem, CpuChoice& choice) {
  Arena arena(nullptr);
  TileWorkspace<T> forward(arena, problem, kernels_of<T>(choice.isa));
  KeyRing<T>(arena, problem, *choice.parts[0].plan, forward.key_stride, forward.value_stride);
  if (choice.wanted.any())
    choice.adds_in_turn =
        TileGradientWorkspace<T>(arena, problem, kernels_of<T>(choice.isa), forward, choice.wanted).adds_in_turn;
  else
    TileGroup<T>(arena, problem, *choice.parts[0].plan, kernels_of<T>(choice.isa).tile_queries, forward.key_stride,
                 forward.value_stride);
  choice.workspace_per_slot = arena.used();
}

}  // namespace

MachineRates tile_rates(const Problem& problem, Isa isa) {
  const bool wide = problem.query.dtype == DType::float64;
  const CpuRates& rates = cpu_rates(isa);
  const double vector = rates.multiply_add;
  const auto channels = static_cast<double>(problem.shape.head_dim + problem.shape.head_dim_v);
  return {.per_key =
              vector * (2 * channels * rates.tile_product + 2 * rates.tile_softmax * (wide ? 2 : 1) + rates.tile_key),
          .per_masked_key = 2 * vector * rates.tile_mask,
          .per_step = vector * (rates.tile_step + 4 * static_cast<double>(problem.shape.head_dim_v)),
          .per_tile = vector * (rates.tile_step + 8 * channels)};
}

void tile_choose(const Problem& problem, CpuChoice& choice) {
  const bool wide = problem.query.dtype == DType::float64;
  const int64_t lanes = wide ? kernels_of<double>(choice.isa).tile_queries : kernels_of<float>(choice.isa).tile_queries;
  const auto candidates = tile_candidates(problem.pattern, lanes, kStepKeys);
  const TileChoice best = choose_tile(problem.pattern, candidates, tile_rates(problem, choice.isa));
  // A bias needs to know which lap of a wrapped axis a key is on.
  const auto plan = cached_plan(problem.pattern, best.shape, false, is_given(problem.modifiers.bias));
  choice.parts = {{.kernel = CpuKernel::tile, .plan = plan}};
  choice.tile = best.shape;
  choice.executed = plan->statistics();
  choice.executed.executed_pairs = choice.executed.visited_keys * lanes;  // idle lanes work too
  choice.predicted_seconds = best.seconds;
  wide ? add_workspace<double>(problem, choice) : add_workspace<float>(problem, choice);
}

}  // namespace nearfield::core
