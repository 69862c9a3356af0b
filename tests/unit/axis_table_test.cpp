// One axis of a plan: hulls, pieces, runs and spans, on hand-made intervals that no neighborhood may ever have.
#include "plan/axis_table.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <random>

#include "base/error.h"

namespace nearfield::core {
namespace {

AxisRequest request_of(std::vector<Interval> intervals, int64_t far, bool wraps = false) {
  AxisRequest request;
  request.intervals = std::move(intervals);
  request.far = far;
  request.wraps = wraps;
  request.near_extent = static_cast<int64_t>(request.intervals.size());
  request.far_extent = far;
  return request;
}

std::vector<int64_t> split(int64_t size, int64_t common_begin, int64_t common_end, int64_t far_extent) {
  std::vector<EqualPieces> pieces;
  split_evenly(size, common_begin, common_end, far_extent, pieces);
  EXPECT_LE(pieces.size(), 6U);
  std::vector<int64_t> sizes;
  for (const EqualPieces& equal : pieces) sizes.insert(sizes.end(), static_cast<size_t>(equal.count), equal.size);
  return sizes;
}

// The runs of a tile, cut into their pieces.
struct TestStep {
  Piece piece;
  bool full = false;
  std::vector<Span> spans;  // [tile size]
};
std::vector<TestStep> steps_of(const AxisTable& table, const AxisTile& tile) {
  std::vector<TestStep> steps;
  int64_t visited = 0;
  for (int32_t r = tile.first_run; r < tile.first_run + tile.runs; ++r) {
    const AxisRun& run = table.runs[static_cast<size_t>(r)];
    const Span* spans = table.spans.data() + run.spans;
    EXPECT_GE(run.count, 1);
    for (Piece piece = run.first; piece.first < run.first.first + run.count * run.first.size;
         piece.first += piece.size) {
      steps.push_back({piece, run.full, {spans, spans + tile.size}});
      visited += piece.size;
    }
  }
  EXPECT_EQ(tile.steps, static_cast<int64_t>(steps.size()));
  EXPECT_EQ(tile.visited, visited);
  return steps;
}
// Of the only tile.
std::vector<TestStep> steps_of(const AxisTable& table) {
  EXPECT_EQ(table.tiles.size(), 1U);
  return steps_of(table, table.tiles.at(0));
}

Status status_of(AxisRequest request) {
  try {
    build_axis_table(std::move(request));
  } catch (const Error& error) {
    return error.status();
  }
  return Status::ok;
}

TEST(AxisTable, RefusesIntervalsThatBreakTheRules) {
  EXPECT_EQ(status_of(request_of({{0, 2}, {1, 2}}, 4)), Status::ok);
  EXPECT_EQ(status_of(request_of({{1, 2}, {0, 4}}, 4)), Status::internal_error);  // starts decrease
  EXPECT_EQ(status_of(request_of({{0, 4}, {1, 2}}, 4)), Status::internal_error);  // ends decrease
  EXPECT_EQ(status_of(request_of({{0, 5}}, 4, true)), Status::internal_error);    // longer than the axis
  EXPECT_EQ(status_of(request_of({{2, -1}}, 4)), Status::internal_error);
  EXPECT_EQ(status_of(request_of({{-1, 2}}, 4)), Status::internal_error);  // leaves the axis
  EXPECT_EQ(status_of(request_of({{3, 2}}, 4)), Status::internal_error);
  EXPECT_EQ(status_of(request_of({{-1, 2}, {3, 2}}, 4, true)), Status::ok);
}

TEST(AxisTable, EmptyIntervalsStretchNoHull) {
  const AxisTable table = build_axis_table(request_of({{0, 0}, {4, 2}, {5, 2}, {9, 0}}, 10));
  const std::vector<TestStep> steps = steps_of(table);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].piece.first, 4);
  EXPECT_EQ(steps[0].piece.size, 3);
  EXPECT_FALSE(steps[0].full);
  EXPECT_EQ(table.spans, (std::vector<Span>{{0, 0}, {0, 2}, {1, 3}, {0, 0}}));
}

TEST(AxisTable, ATileThatSeesNothingHasNoSteps) {
  const AxisTable table = build_axis_table(request_of({{3, 0}, {3, 0}}, 10));
  ASSERT_EQ(table.tiles.size(), 1u);
  EXPECT_EQ(table.tiles[0].steps, 0);
  EXPECT_TRUE(table.runs.empty());
}

TEST(AxisTable, DropsPiecesThatNobodySees) {
  AxisRequest request = request_of({{0, 2}, {8, 2}}, 10);
  request.far_extent = 2;
  const AxisTable table = build_axis_table(std::move(request));
  const std::vector<TestStep> steps = steps_of(table);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].piece.first, 0);
  EXPECT_EQ(steps[1].piece.first, 8);
  EXPECT_EQ(table.tiles[0].steps, 2);
}

TEST(AxisTable, TilesBeginAtMinusThePhase) {
  AxisRequest request = request_of(std::vector<Interval>(10, {0, 1}), 1);
  request.near_extent = 4;
  request.phase = 3;
  const AxisTable table = build_axis_table(std::move(request));
  std::vector<int64_t> begins, sizes;
  for (const AxisTile& tile : table.tiles) begins.push_back(tile.begin), sizes.push_back(tile.size);
  EXPECT_EQ(begins, (std::vector<int64_t>{0, 1, 5, 9}));
  EXPECT_EQ(sizes, (std::vector<int64_t>{1, 4, 4, 1}));
}

TEST(AxisTable, EqualSpansAreStoredOnce) {
  std::vector<Interval> intervals;
  for (int64_t x = 0; x < 1000; ++x) intervals.push_back({clamp_to(x - 3, 0, 993), 7});
  AxisRequest request = request_of(intervals, 1000);
  request.near_extent = 8;
  request.far_extent = 16;
  const AxisTable table = build_axis_table(std::move(request));
  EXPECT_EQ(table.tiles.size(), 125u);
  EXPECT_EQ(table.spans.size(), 3u * 8u);  // the first tile's, the last one's, and all others'
}

// A window of 16384 pieces has four cuts: where the first and the last query's begin and end.
TEST(AxisTable, WideWindowsAreAFewRuns) {
  std::vector<Interval> intervals;
  for (int64_t x = 0; x < 64; ++x) intervals.push_back({5 + x, int64_t{1} << 20});
  AxisRequest request = request_of(intervals, int64_t{1} << 21);
  request.near_extent = 32;
  request.far_extent = 64;
  const AxisTable table = build_axis_table(std::move(request));
  ASSERT_EQ(table.tiles.size(), 2u);
  for (const AxisTile& tile : table.tiles) {
    EXPECT_LE(tile.runs, 4);
    EXPECT_EQ(tile.steps, (int64_t{1} << 14) + 1);
    EXPECT_EQ(tile.visited, (int64_t{1} << 20) + 31);
  }
  EXPECT_LE(table.spans.size(), 4U * 32U);
}

// No interval begins or ends in the middle of this hull, yet one near token sees nothing of it.
TEST(AxisTable, PiecesThatSomeSeeWholeAreARun) {
  AxisRequest request = request_of({{0, 1000}, {0, 1000}, {1000, 0}}, 1000);
  request.far_extent = 10;
  const AxisTable table = build_axis_table(std::move(request));
  ASSERT_EQ(table.runs.size(), 1u);
  EXPECT_EQ(table.runs[0].count, 100);
  EXPECT_FALSE(table.runs[0].full);
  EXPECT_EQ(table.spans, (std::vector<Span>{{0, 10}, {0, 10}, {0, 0}}));
}

TEST(AxisTable, AClippedHullHasTwoEnds) {
  const AxisTable table = build_axis_table(request_of({{-2, 5}, {0, 5}, {2, 5}}, 6, true));
  const std::vector<TestStep> steps = steps_of(table);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].piece.size, 6);
  EXPECT_EQ(table.spans, (std::vector<Span>{{4, 3}, {0, 5}, {2, 1}}));
}

TEST(AxisTable, KeptLapsRepeatFarTokens) {
  AxisRequest request = request_of({{-2, 5}, {0, 5}, {2, 5}}, 6, true);
  request.keep_laps = true;
  const AxisTable table = build_axis_table(std::move(request));
  const std::vector<TestStep> steps = steps_of(table);
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps[0].piece.first, 4);
  EXPECT_EQ(steps[0].piece.lap, -1);
  EXPECT_EQ(steps[1].piece.size, 6);
  EXPECT_EQ(steps[2].piece.size, 1);
  EXPECT_EQ(steps[2].piece.lap, 1);
}

TEST(AxisTable, LargestExtentsMeanTheWholeAxis) {
  AxisRequest request = request_of({{0, 3}, {0, 3}, {0, 3}}, 3);
  request.near_extent = request.far_extent = std::numeric_limits<int64_t>::max();
  request.phase = 1;
  const AxisTable table = build_axis_table(std::move(request));
  ASSERT_EQ(table.tiles.size(), 1u);
  EXPECT_EQ(table.tiles[0].size, 3);
  const std::vector<TestStep> steps = steps_of(table);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_TRUE(steps[0].full);
}

TEST(SplitEvenly, Examples) {
  EXPECT_EQ(split(83, 7, 76, 64), (std::vector<int64_t>{42, 41}));
  EXPECT_EQ(split(200, 7, 193, 64), (std::vector<int64_t>{36, 64, 64, 36}));
  EXPECT_EQ(split(128, 0, 128, 64), (std::vector<int64_t>{64, 64}));
  EXPECT_EQ(split(100, 0, 100, 64), (std::vector<int64_t>{50, 50}));
  EXPECT_EQ(split(70, 0, 60, 64), (std::vector<int64_t>{60, 10}));
  EXPECT_EQ(split(70, 10, 70, 64), (std::vector<int64_t>{10, 60}));
  EXPECT_EQ(split(5, 2, 2, 64), (std::vector<int64_t>{5}));
}

// The most tokens in full pieces that any way of cutting into `pieces` pieces can reach; -1 if there is none.
int64_t best_full(int64_t begin, int64_t size, int64_t common_begin, int64_t common_end, int64_t extent,
                  int64_t pieces) {
  if (pieces == 0) return begin == size ? 0 : -1;
  int64_t best = -1;
  for (int64_t end = begin + 1; end <= min_of(size, begin + extent); ++end) {
    const int64_t rest = best_full(end, size, common_begin, common_end, extent, pieces - 1);
    const bool full = begin >= common_begin && end <= common_end;
    if (rest >= 0) best = max_of(best, rest + (full ? end - begin : 0));
  }
  return best;
}

TEST(SplitEvenly, FewestPiecesAndMostFullTokensOfAllWays) {
  for (int64_t size = 1; size <= 11; ++size)
    for (int64_t extent = 1; extent <= 5; ++extent)
      for (int64_t begin = 0; begin <= size; ++begin)
        for (int64_t end = begin; end <= size; ++end) {
          const std::vector<int64_t> sizes = split(size, begin, end, extent);
          SCOPED_TRACE(concat("size ", size, " extent ", extent, " common ", begin, "..", end));
          ASSERT_EQ(static_cast<int64_t>(sizes.size()), ceil_div(size, extent));
          ASSERT_EQ(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}), size);
          int64_t at = 0, full = 0;
          for (const int64_t piece : sizes) {
            ASSERT_TRUE(1 <= piece && piece <= extent);
            if (at >= begin && at + piece <= end) full += piece;
            at += piece;
          }
          ASSERT_EQ(full, best_full(0, size, begin, end, extent, static_cast<int64_t>(sizes.size())));
        }
}

// Any intervals that obey the rules, gaps and empty ones included: wider than what a neighborhood can ask for.
TEST(AxisTable, RandomIntervalsAreSeenExactlyOnce) {
  constexpr uint32_t kSeed = 7;
  std::mt19937 random(kSeed);
  auto pick = [&](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random); };
  for (int i = 0; i < 4000; ++i) {
    const int64_t far = pick(1, 24), near = pick(1, 12);
    const bool wraps = pick(0, 1);
    AxisRequest request = request_of({}, far, wraps);
    Interval last{wraps ? pick(-2 * far, far) : 0, 0};
    for (int64_t x = 0; x < near; ++x) {
      const int64_t limit = wraps ? last.end() + far : far;
      const int64_t start = min_of(last.start + pick(0, 4), limit);
      const int64_t least = max_of(last.end() - start, 0), most = min_of(far, limit - start);
      last = {start, min_of(least + pick(0, 3), max_of(least, most))};
      if (last.length > far) last = {last.end() - far, far};
      request.intervals.push_back(last);
    }
    request.phase = pick(0, 5);
    request.near_extent = pick(1, 8);
    request.far_extent = pick(1, 8);
    request.keep_laps = pick(0, 1);
    SCOPED_TRACE(concat("seed ", kSeed, " case ", i, ": near ", near, " far ", far, wraps ? " wraps" : "",
                        request.keep_laps ? " keep_laps" : ""));
    const bool keep_laps = request.keep_laps;
    const AxisTable table = build_axis_table(std::move(request));
    int64_t next = 0;
    for (const AxisTile& tile : table.tiles) {
      ASSERT_EQ(tile.begin, next);
      next += tile.size;
      const std::vector<TestStep> steps = steps_of(table, tile);
      for (int64_t t = 0; t < tile.size; ++t) {
        const Interval interval = table.intervals[static_cast<size_t>(tile.begin + t)];
        std::vector<int> expected(static_cast<size_t>(far), 0), seen = expected;
        for (int64_t y = interval.start; y < interval.end(); ++y) ++expected[static_cast<size_t>(floor_mod(y, far))];
        for (const TestStep& step : steps) {
          const Span span = step.spans[static_cast<size_t>(t)];
          ASSERT_TRUE(!step.full || (span.low == 0 && span.high == step.piece.size));
          for (int64_t j = 0; j < step.piece.size; ++j) {
            if (!span.contains(j)) continue;
            const int64_t y = step.piece.first + j;
            ++seen[static_cast<size_t>(y)];
            const int64_t unreduced = y + step.piece.lap * far;
            ASSERT_TRUE((wraps && !keep_laps) || (interval.start <= unreduced && unreduced < interval.end()));
          }
        }
        ASSERT_EQ(seen, expected) << "near " << tile.begin + t;
      }
    }
    ASSERT_EQ(next, near);
  }
}

}  // namespace
}  // namespace nearfield::core
