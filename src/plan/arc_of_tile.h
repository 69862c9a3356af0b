// What a tile of adjacent queries of one latitude sees of one circle of keys, piece by piece.
#pragma once

#include <cstdint>
#include <vector>

#include "pattern/sphere_arc.h"
#include "plan/axis_table.h"

namespace nearfield::core {

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

}  // namespace nearfield::core
