#include "plan/cost_model.h"

#include <cmath>
#include <tuple>

#include "base/error.h"

namespace nearfield::core {
namespace {

void check_rate(const char* name, double rate) {
  if (!(rate >= 0 && std::isfinite(rate)))
    invalid_argument("rates.", name, "=", rate, ": must be finite and at least 0");
}

bool is_better(const TileChoice& a, const TileChoice& b) {
  auto rank = [](const TileChoice& choice) {
    const PlanStatistics& s = choice.statistics;
    return std::tuple(choice.seconds, s.executed_pairs, s.full_steps + s.masked_steps);
  };
  return rank(a) < rank(b);
}

}  // namespace

void check_rates(const MachineRates& rates) {
  check_rate("per_key", rates.per_key);
  check_rate("per_masked_key", rates.per_masked_key);
  check_rate("per_step", rates.per_step);
  check_rate("per_tile", rates.per_tile);
}

double predicted_seconds(const PlanStatistics& statistics, const MachineRates& rates) {
  return rates.per_key * static_cast<double>(statistics.visited_keys) +
         rates.per_masked_key * static_cast<double>(statistics.masked_keys) +
         rates.per_step * static_cast<double>(statistics.full_steps + statistics.masked_steps) +
         rates.per_tile * static_cast<double>(statistics.tiles);
}

TileChoice choose_tile(const Pattern& pattern, std::span<const TileShape> candidates, const MachineRates& rates,
                       bool transposed, bool keep_laps) {
  check_rates(rates);
  if (candidates.empty()) invalid_argument("candidates: must hold at least one tile shape");
  TileChoice best;
  for (size_t i = 0; i < candidates.size(); ++i) {
    TileChoice choice{candidates[i], Plan(pattern, candidates[i], transposed, keep_laps).statistics()};
    choice.seconds = predicted_seconds(choice.statistics, rates);
    if (i == 0 || is_better(choice, best)) best = choice;
  }
  return best;
}

}  // namespace nearfield::core
