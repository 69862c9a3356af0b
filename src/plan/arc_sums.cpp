#include "plan/arc_sums.h"

#include "plan/arc_of_tile.h"

namespace nearfield::core {
namespace {

// [begin, begin + size) in `count` nearly equal pieces.
struct EvenPieces {
  int64_t begin = 0, size = 0, count = 0;
  int64_t low(int64_t i) const { return begin + size * i / count; }
  int64_t first_from(int64_t y) const { return ceil_div((y - begin) * count, size); }         // i with low(i) >= y
  int64_t last_from(int64_t y) const { return ceil_div((y - begin + 1) * count, size) - 1; }  // i with low(i) <= y
};

void add_pieces(ArcSums& sums, int64_t pieces, int64_t keys, bool full) {
  (full ? sums.full : sums.masked) += pieces;
  sums.visited += keys;
  if (!full) sums.masked_visited += keys;
}

// All pieces, of which those in [first, end) are full.
void add_all(ArcSums& sums, const EvenPieces& pieces, int64_t first, int64_t end) {
  const int64_t full = max_of(end - first, 0), keys = full > 0 ? pieces.low(end) - pieces.low(first) : 0;
  add_pieces(sums, full, keys, true);
  add_pieces(sums, pieces.count - full, pieces.size - keys, false);
}

// A hull that isn't clipped: whole are the pieces between the last start and the first end.
void add_hull(ArcSums& sums, const Hull& hull, int64_t n, int64_t far_extent) {
  for (int64_t begin = hull.begin; begin < hull.end;) {
    const int64_t end = min_of(hull.end, (floor_div(begin, n) + 1) * n);
    const EvenPieces pieces{begin, end - begin, ceil_div(end - begin, far_extent)};
    const int64_t low = clamp_to(hull.common_begin, begin, end), high = clamp_to(hull.common_end, low, end);
    add_all(sums, pieces, pieces.first_from(low), low == high ? 0 : pieces.last_from(high));
    begin = end;
  }
}

// The whole circle, of which some query misses each of the `missed` keys from `from` on: an arc that may cross the
// seam.
void add_circle(ArcSums& sums, int64_t n, int64_t from, int64_t missed, int64_t far_extent) {
  const EvenPieces pieces{0, n, ceil_div(n, far_extent)};
  if (missed <= 0) return add_all(sums, pieces, 0, pieces.count);
  if (missed >= n) return add_all(sums, pieces, 0, 0);
  const int64_t first = floor_mod(from, n), last = floor_mod(from + missed - 1, n);
  const int64_t first_piece = pieces.last_from(first), last_piece = pieces.last_from(last);
  if (first <= last) {  // whole are those before and after
    const int64_t before = pieces.low(first_piece), after = pieces.low(last_piece + 1);
    add_pieces(sums, first_piece, before, true);
    add_pieces(sums, last_piece + 1 - first_piece, after - before, false);
    add_pieces(sums, pieces.count - last_piece - 1, n - after, true);
  } else {
    add_all(sums, pieces, last_piece + 1, first_piece);
  }
}

// Tiles whose queries' arcs leave no key between them unseen, and miss adjacent keys if any.
void add_tile(ArcSums& sums, const SphereArc& arc, int64_t half_width, int64_t begin, int64_t size,
              int64_t far_extent) {
  const int64_t n = arc.keys;
  const Interval first = arc.keys_of(half_width, begin), last = arc.keys_of(half_width, begin + size - 1);
  const int64_t missed = first.length == n ? 0 : last.start + n - first.end();
  if (last.end() - first.start > n) return add_circle(sums, n, first.end(), missed, far_extent);
  Hull hull{first.start, last.end(), 0, 0, false};
  if (last.start < first.end()) hull.common_begin = last.start, hull.common_end = first.end();
  add_hull(sums, hull, n, far_extent);
}

// Without any condition.
void walk_tile(ArcSums& sums, const SphereArc& arc, int64_t half_width, int64_t begin, int64_t size,
               int64_t far_extent) {
  ArcOfTile(arc, half_width, begin, size).for_each_piece(far_extent, [&](const Piece& piece, const auto&, bool full) {
    add_pieces(sums, 1, piece.size, full);
  });
}

// Pairs of a circle that see each other: the lengths of the arcs repeat.
int64_t useful_pairs(const SphereArc& arc, int64_t half_width) {
  int64_t pairs = 0;
  for (int64_t x = 0; x < arc.key_unit(); ++x) pairs += arc.keys_of(half_width, x).length;
  return pairs * (arc.queries / arc.key_unit());
}

}  // namespace

bool has_closed_sums(const SphereArc& arc, int64_t half_width) {
  // Adjacent queries' arcs begin query_unit / key_unit keys apart, of which one is 1.
  const int64_t shift = arc.query_unit(), longest = arc.longest_window(half_width);
  const int64_t shortest = min_of((2 * half_width + 1) / arc.key_unit(), arc.keys);
  return shortest == arc.keys || (shortest >= shift && longest + shift <= arc.keys);
}

ArcSums arc_sums_of_tile(const SphereArc& arc, int64_t half_width, int64_t begin, int64_t size, int64_t far_extent) {
  ArcSums sums;
  if (half_width < 0) return sums;
  (has_closed_sums(arc, half_width) ? add_tile : walk_tile)(sums, arc, half_width, begin, size, far_extent);
  sums.executed = sums.visited * size;
  return sums;
}

ArcSums arc_sums(const SphereArc& arc, int64_t half_width, int64_t near_extent, int64_t far_extent) {
  ArcSums sums;
  if (half_width < 0) return sums;
  const bool is_plain = has_closed_sums(arc, half_width);
  for (int64_t begin = 0; begin < arc.queries; begin += near_extent) {
    const int64_t size = min_of(near_extent, arc.queries - begin), before = sums.visited;
    (is_plain ? add_tile : walk_tile)(sums, arc, half_width, begin, size, far_extent);
    sums.executed += (sums.visited - before) * size;
  }
  sums.useful = useful_pairs(arc, half_width);
  return sums;
}

}  // namespace nearfield::core
