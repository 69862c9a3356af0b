#include "plan/arcs.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/checked.h"
#include "plan/axis_table.h"

namespace nearfield::core {
namespace {

// What the queries of one tile see of one circle of latitude.
class ArcOfTile {
 public:
  ArcOfTile(const SphereArc& arc, int64_t half_width, int64_t begin, int64_t size) : n_(arc.keys) {
    for (int64_t x = begin; x < begin + size; ++x) intervals_.push_back(arc.keys_of(half_width, x));
    hull_ = hull_of(intervals_, n_, true);
  }
  int64_t keys() const { return hull_.end - hull_.begin; }

  // Calls visit(piece, spans of the tile's queries, whether all of them see it whole).
  template <class Visit>
  void for_each_piece(int64_t far_extent, Visit visit) {
    for (int64_t begin = hull_.begin; begin < hull_.end;) {
      const int64_t lap = floor_div(begin, n_), end = min_of(hull_.end, (lap + 1) * n_);
      const int64_t pieces = ceil_div(end - begin, far_extent);
      for (int64_t i = 0; i < pieces; ++i) {
        const int64_t low = begin + (end - begin) * i / pieces, high = begin + (end - begin) * (i + 1) / pieces;
        const Piece piece{low - lap * n_, high - low, lap};
        bool any = false, full = true;
        spans_.clear();
        for (const Interval& interval : intervals_) {
          const Span span = span_within(piece, interval, n_, hull_.modular);
          any = any || span != Span{};
          full = full && span == Span{0, static_cast<int32_t>(piece.size)};
          spans_.push_back(span);
        }
        if (any) visit(piece, spans_, full);
      }
      begin = end;
    }
  }

 private:
  int64_t n_;
  std::vector<Interval> intervals_;
  std::vector<Span> spans_;
  Hull hull_;
};

// Calls visit(key latitude, half-width) for the circles that a latitude sees.
template <class Visit>
void for_each_circle(const Sphere& sphere, int64_t latitude, Visit visit) {
  const Interval seen = sphere.reach.keys_of(latitude);
  const auto half_widths = sphere.reach.half_widths(latitude);
  for (int64_t i = 0; i < seen.length; ++i) visit(seen.start + i, half_widths[static_cast<size_t>(i)]);
}

// All longitudes of one pair of latitudes.
struct PairSums {
  int64_t full = 0, masked = 0, useful = 0, executed = 0, visited = 0, masked_keys = 0;
};

PairSums sums_of(const SphereArc& arc, int64_t half_width, int64_t near_extent, int64_t far_extent) {
  PairSums sums;
  for (int64_t begin = 0; begin < arc.queries; begin += near_extent) {
    const int64_t size = min_of(near_extent, arc.queries - begin);
    ArcOfTile(arc, half_width, begin, size).for_each_piece(far_extent, [&](const Piece& piece, const auto&, bool full) {
      (full ? sums.full : sums.masked) += 1;
      sums.executed += piece.size * size;
      sums.visited += piece.size;
      if (!full) sums.masked_keys += piece.size;
    });
  }
  for (int64_t x = 0; x < arc.queries; ++x) sums.useful += arc.keys_of(half_width, x).length;
  return sums;
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
  std::map<int64_t, PairSums> by_half_width;  // far fewer than pairs of latitudes
  PlanStatistics total;
  total.tiles = checked_product(end - first, ceil_div(arc.queries, near_extent), kWhat);
  for (int64_t q = first; q < end; ++q)
    for_each_circle(sphere, q, [&](int64_t, int64_t half_width) {
      auto [known, is_new] = by_half_width.try_emplace(half_width);
      if (is_new) known->second = sums_of(arc, half_width, near_extent, far_extent);
      const PairSums& sums = known->second;
      const auto add = [&](int64_t& to, int64_t value) { to = checked_sum(to, value, kWhat); };
      add(total.full_steps, sums.full);
      add(total.masked_steps, sums.masked);
      add(total.useful_pairs, sums.useful);
      add(total.executed_pairs, sums.executed);
      add(total.visited_keys, sums.visited);
      add(total.masked_keys, sums.masked_keys);
    });
  return total;
}

}  // namespace nearfield::core
