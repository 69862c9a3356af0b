#include "base/lru_cache.h"
#include "engine/cpu/driver.h"
#include "engine/cpu/rates.h"
#include "engine/gemm/gemm.h"
#include "plan/cache.h"
#include "plan/cost_model.h"
#include "plan/tiling.h"

namespace nearfield::core {
namespace {

// Beside the product, each score is transposed and copied; a step has its runs to find.
MachineRates rates_of(int64_t channels, Isa isa) {
  const CpuRates& rates = cpu_rates(isa);
  const double vector = rates.multiply_add, c = static_cast<double>(channels);
  return {.per_key = vector * (2 * c * rates.tile_product + 24 + rates.tile_key),
          .per_masked_key = 0,
          .per_step = vector * (rates.tile_step + 2 * c),
          .per_tile = vector * (rates.tile_step + 8 * c)};
}

// All that a choice depends on.
struct ChoiceKey {
  Pattern pattern;
  int64_t lanes = 0, channels = 0;
  Isa isa = Isa::portable;
  bool operator==(const ChoiceKey&) const = default;
};

}  // namespace

int64_t gemm_lanes(DType dtype, Isa isa) {
  return dtype == DType::float64 ? kernels_of<double>(isa).tile_queries : kernels_of<float>(isa).tile_queries;
}

std::shared_ptr<const Plan> gemm_plan(const Pattern& pattern, DType dtype, int64_t channels, Isa isa) {
  // Scoring every tile shape can cost more than attending over a small grid. Never destroyed: threads of the host may
  // still run while the process exits.
  static auto& chosen = *new LruCache<ChoiceKey, Plan>(kPlanCacheEntries, kPlanCacheBytes);
  const int64_t lanes = gemm_lanes(dtype, isa);
  return chosen.get({pattern.without_order(), lanes, channels, isa}, [&] {
    const auto candidates = tile_candidates(pattern, lanes, kGemmStep);
    return cached_plan(pattern, choose_tile(pattern, candidates, rates_of(channels, isa)).shape);
  });
}

double gemm_seconds(const Plan& plan, DType, int64_t channels, Isa isa) {
  return predicted_seconds(plan.statistics(), rates_of(channels, isa));
}

double naive_seconds(const Plan& plan, DType dtype, int64_t channels, Isa isa) {
  const CpuRates& rates = cpu_rates(isa);
  // A vector multiply-add of the naive loops takes three times what one of the tiles does, and a pair some more.
  const double lanes = static_cast<double>(gemm_lanes(dtype, isa)) / 2;
  const double pair = rates.multiply_add * (3.2 * static_cast<double>(channels) / lanes + 12);
  const double row =
      rates.multiply_add * 400;  // finding the window's lines, loading and storing: measured, windows of 3
  double rows = 1;
  for (int a = 0; a < plan.rank(); ++a) rows *= static_cast<double>(plan.axis(a).near);
  return pair * static_cast<double>(plan.statistics().useful_pairs) + row * rows;
}

bool naive_is_faster(const Pattern& pattern, DType dtype, Isa isa) {
  constexpr int64_t kChannels = 64;  // of typical heads: the choice is the same for an operator and its gradients
  const auto plan = gemm_plan(pattern, dtype, kChannels, isa);
  return naive_seconds(*plan, dtype, kChannels, isa) < gemm_seconds(*plan, dtype, kChannels, isa);
}

}  // namespace nearfield::core
