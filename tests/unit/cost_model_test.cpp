// Listing, scoring and comparing tile shapes, with made-up machines that each force another winner.
#include "plan/cost_model.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "base/error.h"
#include "plan/tiling.h"

namespace nearfield::core {
namespace {

Pattern pattern_of(std::vector<NeighborhoodAxis> axes) {
  Pattern pattern;
  pattern.rank = static_cast<int>(axes.size());
  for (int a = 0; a < pattern.rank; ++a) pattern.axes[a] = axes[static_cast<size_t>(a)];
  return pattern;
}

NeighborhoodAxis axis_of(int64_t length, int64_t kernel_size, int64_t stride = 1, int64_t dilation = 1) {
  return {length, length, kernel_size, stride, dilation};
}

bool lists(const std::vector<TileShape>& candidates, int64_t a, int64_t b) {
  for (const TileShape& shape : candidates) {
    if (shape.near[0] == a && shape.near[1] == b) return true;
  }
  return false;
}

std::vector<int64_t> near_of(const TileShape& shape) { return {shape.near[0], shape.near[1], shape.near[2]}; }

TEST(LongestClass, IsThatOfResidueZero) {
  for (int64_t length = 0; length < 12; ++length) {
    for (int64_t dilation = 1; dilation < 14; ++dilation) {
      const Pattern pattern = pattern_of({axis_of(3, 3), axis_of(length, 3, 1, dilation)});
      int64_t counted = 0;
      for (int64_t token = 0; token < length; token += dilation) ++counted;
      EXPECT_EQ(longest_class(pattern, 1), counted) << length << " tokens, dilation " << dilation;
      EXPECT_EQ(longest_class(pattern, 0), 3);
    }
  }
  NeighborhoodAxis uneven = axis_of(10, 3);
  uneven.keys = 7;
  EXPECT_EQ(longest_class(pattern_of({uneven}), 0), 10);
  EXPECT_EQ(longest_class(pattern_of({uneven}), 0, true), 7);
}

TEST(TileCandidates, FollowTheClassLength) {
  const auto dilated = tile_candidates(pattern_of({axis_of(56, 7, 1, 8), axis_of(56, 7, 1, 8)}), 16, 64);
  EXPECT_TRUE(lists(dilated, 2, 7));
  EXPECT_TRUE(lists(dilated, 7, 2));
  EXPECT_FALSE(lists(dilated, 1, 7));  // 2x7 is a union of these
  for (const TileShape& shape : dilated) EXPECT_TRUE(shape.near[0] <= 7 && shape.near[1] <= 7);
  const auto whole = tile_candidates(pattern_of({axis_of(7, 7), axis_of(7, 7)}), 64, 64);
  ASSERT_EQ(whole.size(), 1u);
  EXPECT_EQ(whole[0], (TileShape{{7, 7, 1}, {7, 7, 1}}));
}

TEST(TileCandidates, PowersOfTwoFillTheLanes) {
  const auto candidates = tile_candidates(pattern_of({axis_of(100, 7), axis_of(100, 7)}), 16, 64);
  ASSERT_EQ(candidates.size(), 5u);
  EXPECT_EQ(candidates[2], (TileShape{{4, 4, 1}, {6, 10, 1}}));  // hulls of 10: six lines of ten keys
  EXPECT_EQ(candidates[0], (TileShape{{1, 16, 1}, {2, 22, 1}}));
  EXPECT_TRUE(lists(tile_candidates(pattern_of({axis_of(100, 7), axis_of(100, 7)}), 6, 64), 2, 3));
}

TEST(TileCandidates, OfferTilesWithinOneGroup) {
  const auto candidates = tile_candidates(pattern_of({axis_of(60, 6, 6), axis_of(60, 7)}), 16, 64);
  EXPECT_TRUE(lists(candidates, 6, 2));
  EXPECT_TRUE(lists(candidates, 2, 8));
  EXPECT_TRUE(lists(candidates, 4, 4));
}

// A tile of 7 in blocks of 7 is no part of a tile of 8: neither rules out the other.
TEST(TileCandidates, KeepExtentsThatDoNotDivideEachOther) {
  const auto candidates = tile_candidates(pattern_of({axis_of(56, 7, 7), axis_of(56, 7, 7)}), 16, 64);
  EXPECT_TRUE(lists(candidates, 7, 2));
  EXPECT_TRUE(lists(candidates, 8, 2));
  EXPECT_TRUE(lists(candidates, 7, 1));  // the largest without a mask
  const auto fewest_keys = choose_tile(pattern_of({axis_of(56, 7, 7), axis_of(56, 7, 7)}), candidates, {1, 0, 0, 0});
  EXPECT_EQ(fewest_keys.shape.near[0] * fewest_keys.shape.near[1], 14);
}

TEST(TileCandidates, EmptyAndTinyAxes) {
  for (const int64_t length : {0, 1}) {
    const auto candidates = tile_candidates(pattern_of({axis_of(length, 3), axis_of(5, 3)}), 8, 8);
    ASSERT_EQ(candidates.size(), 1u);
    EXPECT_EQ(candidates[0].near[0], 1);
    EXPECT_EQ(candidates[0].near[1], 5);
  }
}

TEST(TileCandidates, RandomPatternsKeepTheLimits) {
  constexpr uint32_t kSeed = 11;
  std::mt19937 random(kSeed);
  auto pick = [&](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random); };
  for (int i = 0; i < 500; ++i) {
    std::vector<NeighborhoodAxis> axes;
    for (int64_t a = pick(1, 3); a > 0; --a) {
      NeighborhoodAxis axis = axis_of(pick(1, 90), pick(1, 30));
      axis.stride = pick(1, axis.kernel_size);
      axis.dilation = pick(0, 1) ? 1 : pick(1, 9);
      axis.boundary = axis.queries % axis.dilation == 0 ? Boundary::wrap : Boundary::cut;
      axes.push_back(axis);
    }
    const Pattern pattern = pattern_of(axes);
    const int64_t lanes = pick(1, 64), step_keys = pick(1, 128);
    const bool transposed = pick(0, 1);
    SCOPED_TRACE(concat("seed ", kSeed, " case ", i, " lanes ", lanes, " step_keys ", step_keys));
    const auto candidates = tile_candidates(pattern, lanes, step_keys, transposed);
    ASSERT_FALSE(candidates.empty());
    ASSERT_LE(candidates.size(), 99u);
    ASSERT_EQ(candidates, tile_candidates(pattern, lanes, step_keys, transposed));
    for (size_t c = 0; c < candidates.size(); ++c) {
      const TileShape& shape = candidates[c];
      ASSERT_LE(shape.near[0] * shape.near[1] * shape.near[2], lanes);
      ASSERT_LE(shape.far[0] * shape.far[1] * shape.far[2], step_keys);
      for (int a = 0; a < kMaxGridRank; ++a) ASSERT_TRUE(shape.near[a] >= 1 && shape.far[a] >= 1);
      for (size_t a = 0; a < axes.size(); ++a) {
        const int64_t longest_class = ceil_div(axes[a].queries, axes[a].dilation);
        ASSERT_TRUE(shape.near[a] <= longest_class && shape.far[a] <= longest_class);
      }
      for (size_t other = 0; other < c; ++other) ASSERT_NE(near_of(candidates[other]), near_of(shape));
    }
  }
}

TEST(TileCandidates, NameWhatIsWrong) {
  const Pattern pattern = pattern_of({axis_of(5, 3)});
  EXPECT_THROW(tile_candidates(pattern, 0, 8), Error);
  EXPECT_THROW(tile_candidates(pattern, 8, 0), Error);
  EXPECT_THROW(tile_candidates(Pattern{}, 8, 8), Error);
}

TEST(CostModel, IsTheSumOfItsParts) {
  PlanStatistics statistics;
  statistics.tiles = 3;
  statistics.full_steps = 5;
  statistics.masked_steps = 7;
  statistics.visited_keys = 110;
  statistics.masked_keys = 70;
  EXPECT_DOUBLE_EQ(predicted_seconds(statistics, {1, 0, 0, 0}), 110);
  EXPECT_DOUBLE_EQ(predicted_seconds(statistics, {0, 1, 0, 0}), 70);
  EXPECT_DOUBLE_EQ(predicted_seconds(statistics, {0, 0, 1, 0}), 12);
  EXPECT_DOUBLE_EQ(predicted_seconds(statistics, {0, 0, 0, 1}), 3);
  EXPECT_DOUBLE_EQ(predicted_seconds(statistics, {2, 3, 4, 5}), 220 + 210 + 48 + 15);
  EXPECT_EQ(predicted_seconds({}, {1, 1, 1, 1}), 0);
}

// Windows blocked on the first axis: a tile of 6 stays in its block, one of 4 or 8 straddles blocks.
TEST(CostModel, DearMasksPreferTilesWithinOneGroup) {
  const Pattern pattern = pattern_of({axis_of(60, 6, 6), axis_of(60, 60)});
  const auto candidates = tile_candidates(pattern, 16, 60);
  const TileChoice dear = choose_tile(pattern, candidates, {1, 1e6, 0, 0});
  EXPECT_EQ(dear.statistics.masked_keys, 0);
  EXPECT_EQ(6 % dear.shape.near[0], 0);
}

TEST(CostModel, RatesDecide) {
  const Pattern pattern = pattern_of({axis_of(56, 7), axis_of(56, 7)});
  const std::vector<TileShape> candidates{
      {{1, 1, 1}, {7, 7, 1}}, {{1, 16, 1}, {7, 22, 1}}, {{4, 4, 1}, {10, 10, 1}}, {{4, 4, 1}, {1, 10, 1}}};
  auto winner = [&](const MachineRates& rates) { return choose_tile(pattern, candidates, rates).shape; };
  EXPECT_EQ(winner({0, 1, 0, 0}), candidates[0]);     // a tile of one query masks nothing
  EXPECT_EQ(winner({1, 0, 1e-3, 0}), candidates[2]);  // fewest keys, then fewest steps
  EXPECT_EQ(winner({1, 0.5, 0, 0}), candidates[3]);   // steps of one line leave fewer keys to mask
  EXPECT_EQ(winner({0, 0, 0, 1}), candidates[2]);     // fewest tiles
  EXPECT_EQ(choose_tile(pattern, std::vector{candidates[1]}, {1, 1, 1, 1}).shape, candidates[1]);
}

TEST(CostModel, ScoresWhatItReturns) {
  const Pattern pattern = pattern_of({axis_of(20, 5), axis_of(30, 7)});
  const MachineRates rates{1e-9, 2e-9, 3e-8, 4e-8};
  for (const bool transposed : {false, true}) {
    const auto candidates = tile_candidates(pattern, 8, 32, transposed);
    const TileChoice choice = choose_tile(pattern, candidates, rates, transposed);
    const Plan plan(pattern, choice.shape, transposed);
    EXPECT_EQ(choice.statistics.executed_pairs, plan.statistics().executed_pairs);
    EXPECT_EQ(choice.seconds, predicted_seconds(plan.statistics(), rates));
    for (const TileShape& shape : candidates)
      EXPECT_LE(choice.seconds, predicted_seconds(Plan(pattern, shape, transposed).statistics(), rates));
  }
}

TEST(CostModel, TiesGoToFewerPairsThenFewerStepsThenTheFirst) {
  const Pattern pattern = pattern_of({axis_of(64, 64)});  // global: every shape executes the same pairs
  const std::vector<TileShape> candidates{{{8, 1, 1}, {16, 1, 1}}, {{8, 1, 1}, {64, 1, 1}}, {{8, 1, 1}, {65, 1, 1}}};
  EXPECT_EQ(choose_tile(pattern, candidates, {}).shape, candidates[1]);
  const Pattern local = pattern_of({axis_of(64, 3)});
  const std::vector<TileShape> wasteful_first{{{8, 1, 1}, {64, 1, 1}}, {{1, 1, 1}, {64, 1, 1}}};
  EXPECT_EQ(choose_tile(local, wasteful_first, {}).shape, wasteful_first[1]);
}

TEST(CostModel, RefusesWhatCannotBeCompared) {
  const Pattern pattern = pattern_of({axis_of(8, 3)});
  const std::vector<TileShape> one(1);
  EXPECT_THROW(choose_tile(pattern, {}, {1, 1, 1, 1}), Error);
  for (const double bad : {-1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    EXPECT_THROW(choose_tile(pattern, one, {bad, 0, 0, 0}), Error);
    EXPECT_THROW(choose_tile(pattern, one, {0, bad, 0, 0}), Error);
    EXPECT_THROW(choose_tile(pattern, one, {0, 0, bad, 0}), Error);
    EXPECT_THROW(choose_tile(pattern, one, {0, 0, 0, bad}), Error);
  }
}

}  // namespace
}  // namespace nearfield::core
