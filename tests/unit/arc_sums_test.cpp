// The closed forms of arc_sums against the tiles' pieces, one by one.
#include "plan/arc_sums.h"

#include <gtest/gtest.h>

#include <utility>

#include "plan/arc_of_tile.h"

namespace nearfield::core {
namespace {

ArcSums walked(const SphereArc& arc, int64_t half_width, int64_t near_extent, int64_t far_extent) {
  ArcSums sums;
  for (int64_t begin = 0; begin < arc.queries; begin += near_extent) {
    const int64_t size = min_of(near_extent, arc.queries - begin);
    ArcOfTile(arc, half_width, begin, size)
        .for_each_piece(far_extent, [&](const Piece& piece, const auto& spans, bool) {
          bool full = true;
          for (const Span& span : spans) {
            int64_t seen = 0;
            for (int64_t i = 0; i < piece.size; ++i) seen += span.contains(i);
            sums.useful += seen;
            full = full && seen == piece.size;
          }
          (full ? sums.full : sums.masked) += 1;
          sums.executed += piece.size * size;
          sums.visited += piece.size;
          if (!full) sums.masked_visited += piece.size;
        });
  }
  return sums;
}

void expect_equal(const ArcSums& got, const ArcSums& expected) {
  EXPECT_EQ(got.full, expected.full);
  EXPECT_EQ(got.masked, expected.masked);
  EXPECT_EQ(got.useful, expected.useful);
  EXPECT_EQ(got.executed, expected.executed);
  EXPECT_EQ(got.visited, expected.visited);
  EXPECT_EQ(got.masked_visited, expected.masked_visited);
}

TEST(ArcSums, EveryArcOfSmallCirclesIsCountedAsItIsWalked) {
  for (int64_t coarse = 1; coarse <= 13; ++coarse) {
    for (const int64_t ratio : {1, 2, 3, 5}) {
      for (const SphereArc arc : {SphereArc{coarse * ratio, coarse}, SphereArc{coarse, coarse * ratio}}) {
        for (int64_t half_width = -1; half_width <= arc.whole_circle(); ++half_width) {
          for (const auto& [near, far] :
               {std::pair<int64_t, int64_t>{1, 1}, {1, 4}, {2, 3}, {4, 2}, {5, 64}, {16, 5}}) {
            SCOPED_TRACE(testing::Message() << arc.queries << " queries, " << arc.keys << " keys, half-width "
                                            << half_width << ", tiles of " << near << " by " << far);
            expect_equal(arc_sums(arc, half_width, near, far), walked(arc, half_width, near, far));
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

// As many pairs as 10^12: to walk them would take hours.
TEST(ArcSums, WholeCirclesOfAMillionLongitudesAreOnlyCounted) {
  constexpr int64_t kMillion = 1 << 20;
  const SphereArc arc{kMillion, kMillion};
  const ArcSums sums = arc_sums(arc, arc.whole_circle(), 16, 64);
  EXPECT_EQ(sums.full, (kMillion / 16) * (kMillion / 64));
  EXPECT_EQ(sums.masked, 0);
  EXPECT_EQ(sums.useful, kMillion * kMillion);
  EXPECT_EQ(sums.executed, kMillion * kMillion);
}

}  // namespace
}  // namespace nearfield::core
