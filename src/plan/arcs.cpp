#include "plan/arcs.h"

#include <map>
#include <vector>

#include "base/checked.h"
#include "plan/arc_of_tile.h"
#include "plan/arc_sums.h"

namespace nearfield::core {
namespace {

// Calls visit(key latitude, half-width) for the circles that a latitude sees.
template <class Visit>
void for_each_circle(const Sphere& sphere, int64_t latitude, Visit visit) {
  const Interval seen = sphere.reach.keys_of(latitude);
  const auto half_widths = sphere.reach.half_widths(latitude);
  for (int64_t i = 0; i < seen.length; ++i) visit(seen.start + i, half_widths[static_cast<size_t>(i)]);
}

}  // namespace

void expand_arcs(const Sphere& sphere, const Tile& tile, int64_t far_extent, StepList& steps) {
  static constexpr Span kWhole{0, 1};
  steps.clear();
  steps.arc_spans.clear();
  for_each_circle(sphere, tile.begin(0), [&](int64_t latitude, int64_t half_width) {
    ArcOfTile arc(sphere.reach.arc(), half_width, tile.begin(1), tile.size(1));
    arc.for_each_piece(far_extent, [&](const Piece& piece, const std::vector<Span>& spans, bool full) {
      Step& step = steps.emplace_back();
      step.pieces[0] = {latitude, 1, 0};
      step.pieces[1] = piece;
      step.axis_full[0] = true;
      step.axis_full[1] = step.full = full;
      step.spans[0] = &kWhole;
      steps.arc_spans.insert(steps.arc_spans.end(), spans.begin(), spans.end());
    });
  });
  const Span* spans = steps.arc_spans.data();  // which has moved as it grew
  for (Step& step : steps) {
    step.spans[1] = spans;
    spans += tile.size(1);
  }
}

int64_t visited_keys(const Sphere& sphere, const Tile& tile) {
  int64_t keys = 0;
  for_each_circle(sphere, tile.begin(0), [&](int64_t, int64_t half_width) {
    keys += ArcOfTile(sphere.reach.arc(), half_width, tile.begin(1), tile.size(1)).keys();
  });
  return keys;
}

PlanStatistics arc_statistics(const Sphere& sphere, int64_t near_extent, int64_t far_extent, int64_t first,
                              int64_t end) {
  constexpr const char* kWhat = "plan statistics";
  const SphereArc& arc = sphere.reach.arc();
  std::map<int64_t, ArcSums> by_half_width;  // far fewer than pairs of latitudes
  PlanStatistics total;
  total.tiles = checked_product(end - first, ceil_div(arc.queries, near_extent), kWhat);
  for (int64_t q = first; q < end; ++q)
    for_each_circle(sphere, q, [&](int64_t, int64_t half_width) {
      auto [known, is_new] = by_half_width.try_emplace(half_width);
      if (is_new) known->second = arc_sums(arc, half_width, near_extent, far_extent);
      const ArcSums& sums = known->second;
      const auto add = [&](int64_t& to, int64_t value) { to = checked_sum(to, value, kWhat); };
      add(total.full_steps, sums.full);
      add(total.masked_steps, sums.masked);
      add(total.useful_pairs, sums.useful);
      add(total.executed_pairs, sums.executed);
      add(total.visited_keys, sums.visited);
      add(total.masked_keys, sums.masked_visited);
    });
  return total;
}

}  // namespace nearfield::core
