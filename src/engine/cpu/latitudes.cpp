// How the latitudes of a sphere are shared between the kernels. Near the poles a query sees whole circles: dense boxes
// for the tile kernel. Elsewhere it sees short arcs, which tiles would mostly mask: strips for the band kernel, in
// parts whose arcs take about equally many vectors, since a part packs as much of each line as its widest arc wants.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/cpu/driver.h"
#include "engine/cpu/rates.h"
#include "plan/arcs.h"

namespace nearfield::core {
namespace {

struct LatitudeCost {
  double band = 0, tile = 0;  // seconds
  int64_t half_width = -1;    // of its widest arc
  int64_t vectors = 0;        // of scores that the arc takes, rounded up to a power of two
};

class LatitudeCosts {
 public:
  LatitudeCosts(const Problem& problem, const CpuChoice& choice)
      : problem_(problem),
        choice_(choice),
        reach_(problem.pattern.sphere->reach),
        rates_(tile_rates(problem, choice.isa)) {
    const bool wide = problem.query.dtype == DType::float64;
    lanes_ = wide ? kernels_of<double>(choice.isa).lanes : kernels_of<float>(choice.isa).lanes;
    tile_lanes_ = choice.tile.near[1];
    for (int64_t latitude = 0; latitude < reach_.query_latitudes(); ++latitude) all_.push_back(cost_of(latitude));
  }
  int64_t lanes() const { return lanes_; }
  int64_t count() const { return static_cast<int64_t>(all_.size()); }
  const LatitudeCost& operator[](int64_t latitude) const { return all_[static_cast<size_t>(latitude)]; }

 private:
  // Keys of one circle that `queries` adjacent queries see between them, at most.
  int64_t hull(int64_t half_width, int64_t queries) const {
    const SphereArc& arc = reach_.arc();
    return std::min(arc.keys,
                    arc.longest_window(half_width) + ceil_div((queries - 1) * arc.query_unit(), arc.key_unit()));
  }

  LatitudeCost cost_of(int64_t latitude) const {
    const SphereArc& arc = reach_.arc();
    const auto strips = static_cast<double>(ceil_div(arc.queries, lanes_));
    const auto tiles = static_cast<double>(ceil_div(arc.queries, tile_lanes_));
    LatitudeCost result;
    double pairs = 0, padded = 0, keys = 0, masked_keys = 0;
    for (const int64_t half_width : reach_.half_widths(latitude)) {
      result.half_width = std::max(result.half_width, half_width);
      const auto longest = arc.longest_window(half_width), seen = hull(half_width, tile_lanes_);
      const auto mean = static_cast<double>(2 * half_width + 1) / static_cast<double>(arc.key_unit());
      pairs += std::min(mean, static_cast<double>(arc.keys)) * static_cast<double>(arc.queries);
      padded += static_cast<double>(round_up(longest, lanes_) * arc.queries);
      keys += tiles * static_cast<double>(seen);
      if (longest < arc.keys) masked_keys += tiles * static_cast<double>(seen);
    }
    for (result.vectors = 1; result.vectors * lanes_ < arc.longest_window(result.half_width);) result.vectors *= 2;
    const CpuRates& rates = cpu_rates(choice_.isa);
    const double vectors =
        static_cast<double>(ceil_div(problem_.shape.head_dim, lanes_) + ceil_div(problem_.shape.head_dim_v, lanes_));
    const double packed = strips * static_cast<double>(hull(result.half_width, lanes_));
    const bool wide = problem_.query.dtype == DType::float64, backward = choice_.wanted.any();
    result.band =
        rates.multiply_add * (pairs * (vectors * rates.band_product + 1) +
                              padded * rates.band_softmax * (wide ? 2 : 1) + packed * vectors * rates.pack_vector);
    result.tile = tiles * rates_.per_tile + keys * rates_.per_key + masked_keys * rates_.per_masked_key +
                  keys / static_cast<double>(choice_.tile.far[1]) * rates_.per_step;
    if (backward) result.band *= kBandBackward, result.tile *= kTileBackward;
    return result;
  }

  const Problem& problem_;
  const CpuChoice& choice_;
  const SphereReach& reach_;
  const MachineRates rates_;
  int64_t lanes_ = 1, tile_lanes_ = 1;
  std::vector<LatitudeCost> all_;
};

// Of keys, values and their gradients in a strip's ring, so that most of it stays in the L2 cache or near.
constexpr int64_t kRingBytes = 600 * 1024;

// Of the widest arc that the part has. Which one a line has, the walk looks up.
std::shared_ptr<const Plan> plan_of_widest(const Pattern& pattern, int64_t half_width, int64_t strip) {
  Pattern widest = pattern;
  auto& longitudes = std::get<LongitudeAxis>(widest.axes[1]);
  longitudes.half_width = half_width;
  widest.sphere.reset();  // the rules alone
  TileShape shape;
  shape.near[1] = std::min(longitudes.queries, strip);
  shape.far[0] = std::get<LatitudeAxis>(widest.axes[0]).keys;
  shape.far[1] = longitudes.keys;
  return std::make_shared<const Plan>(widest, shape);
}

// Makes `part` the band kernel's on latitudes [first, end); false if it has no room. Each circle in as few strips as
// the ring has room for: of a long strip more lies side by side in memory, and fewer of its keys are in others too. (On
// Zen 3 whole circles instead of 64 queries saved a sixth of a forward of one degree with the default cutoff, where
// memory is what counts.)
bool make_band_part(const Problem& problem, const LatitudeCosts& latitudes, int64_t first, int64_t end,
                    CpuChoice& choice, CpuPart& part) {
  const SphereReach& reach = problem.pattern.sphere->reach;
  const SphereArc& arc = reach.arc();
  int64_t half_width = -1, lines = 0;
  for (int64_t latitude = first; latitude < end; ++latitude) {
    half_width = std::max(half_width, latitudes[latitude].half_width);
    lines = std::max(lines, reach.keys_of(latitude).length);
  }
  const int64_t lanes = latitudes.lanes(), size = size_of(accumulator_of(problem.query.dtype));
  const int64_t row = (choice.wanted.any() ? 2 : 1) *
                      (round_up(problem.shape.head_dim, lanes) + round_up(problem.shape.head_dim_v, lanes));
  const int64_t vectors = ceil_div(problem.shape.grid[1], lanes);
  part = {.kernel = CpuKernel::band, .plan = nullptr, .first = first, .end = end};
  // Of a backward's strips neighbours must not run at the same time: enough of them for some threads.
  for (int64_t strips = choice.wanted.any() ? std::min<int64_t>(8, vectors) : 1; strips < 2 * vectors; strips *= 2) {
    const int64_t strip = ceil_div(vectors, strips) * lanes;
    const int64_t positions = arc.longest_window(half_width) + (strip - 1) * arc.query_unit() / arc.key_unit();
    if (strips < vectors && lines * positions * row * size > kRingBytes) continue;
    part.plan = plan_of_widest(problem.pattern, half_width, strip);
    if (band_fits(problem, choice, part)) return true;
  }
  return false;
}

}  // namespace

int64_t share_latitudes(const Problem& problem, CpuKernel wanted, CpuChoice& choice) {
  const LatitudeCosts latitudes(problem, choice);
  const CpuPart tile_part = choice.parts[0];
  std::vector<CpuPart> parts;
  int64_t by_band = 0;
  const auto prefers_band = [&](int64_t latitude) {
    const LatitudeCost& cost = latitudes[latitude];
    return cost.half_width >= 0 && (wanted == CpuKernel::band || cost.band < cost.tile);
  };
  for (int64_t first = 0, end = 0; first < latitudes.count(); first = end) {
    while (end < latitudes.count() && prefers_band(end) == prefers_band(first) &&
           latitudes[end].vectors == latitudes[first].vectors)
      ++end;
    if (prefers_band(first)) {
      CpuPart part;
      if (make_band_part(problem, latitudes, first, end, choice, part)) {
        parts.push_back(std::move(part));
        by_band += end - first;
        continue;
      }
    }
    const bool joins = !parts.empty() && parts.back().kernel == CpuKernel::tile;
    if (!joins) parts.push_back(tile_part), parts.back().first = first;
    parts.back().end = end;
  }
  if (by_band == 0) return 0;
  choice.kernel = CpuKernel::band;
  const int64_t tile_lanes = choice.executed.executed_pairs / std::max<int64_t>(1, choice.executed.visited_keys);
  choice.executed = {};
  choice.predicted_seconds = 0;
  int64_t most = 0;
  for (const CpuPart& part : parts) {
    const bool is_band = part.kernel == CpuKernel::band;
    const TileShape& shape = part.plan->shape();
    PlanStatistics its = arc_statistics(*problem.pattern.sphere, shape.near[1], shape.far[1], part.first, part.end);
    its.executed_pairs = is_band ? its.useful_pairs : its.visited_keys * tile_lanes;
    if (is_band) {  // windows are exact
      if (part.end - part.first > most) choice.tile = shape, most = part.end - part.first;
      its.full_steps += its.masked_steps;
      its.masked_steps = its.masked_keys = 0;
    }
    choice.executed += its;
    for (int64_t latitude = part.first; latitude < part.end; ++latitude)
      choice.predicted_seconds += is_band ? latitudes[latitude].band : latitudes[latitude].tile;
  }
  choice.parts = std::move(parts);
  return by_band;
}

}  // namespace nearfield::core
