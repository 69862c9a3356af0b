// nf_plan_steps: what it lists is a plan of the pattern, by the definition of both.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "check/random_geometry.h"
#include "nearfield/nearfield.hpp"
#include "neighborhood_definition.h"

namespace nearfield::test {
namespace {

using core::NeighborhoodAxis;

// [axis][query token][key token]: whether it sees it there, by the definition.
using Visible = std::vector<std::vector<std::vector<bool>>>;

// A problem and everything that its steps have to agree with.
struct Listed {
  core::Geometry geometry;
  nf_neighborhood given = {};
  std::vector<int64_t> grid, tile, step;
  Visible visible;
  std::vector<nf_plan_step> steps;

  const NeighborhoodAxis& axis(size_t a) const { return std::get<NeighborhoodAxis>(geometry.pattern.axes[a]); }
  size_t rank() const { return grid.size(); }

  explicit Listed(core::Random& random) {
    core::RandomProblemOptions options;
    options.max_pairs = 3000;
    options.neighborhoods_only = true;
    geometry = core::random_geometry(random, options);
    given.pattern = {sizeof given, NF_NEIGHBORHOOD, geometry.pattern.rank};
    for (int a = 0; a < geometry.pattern.rank; ++a) {
      const auto at = static_cast<size_t>(a);
      given.kernel_size[a] = axis(at).kernel_size;
      given.stride[a] = axis(at).stride;
      given.dilation[a] = axis(at).dilation;
      given.is_causal[a] = axis(at).is_causal ? 1 : 0;
      given.boundary[a] = static_cast<int32_t>(axis(at).boundary);
      grid.push_back(geometry.shape.grid[a]);
      tile.push_back(random.skewed(9));
      step.push_back(random.skewed(random.chance(0.2) ? 1000 : 12));
      visible.emplace_back();
      for (int64_t query = 0; query < grid.back(); ++query) {
        visible.back().emplace_back();
        for (const int64_t offset : defined_keys(axis(at), query)) visible.back().back().push_back(offset != kUnseen);
      }
    }
    steps = plan_steps(&given.pattern, grid, tile, step);
  }
};

// Tokens of an axis at coordinates [first, first + size) of a residue class.
std::vector<int64_t> tokens_of(const NeighborhoodAxis& axis, int64_t residue, int64_t first, int64_t size) {
  std::vector<int64_t> tokens;
  for (int64_t x = first; x < first + size; ++x) tokens.push_back(x * axis.dilation + residue);
  return tokens;
}

// Counts every pair of a step on the grid that is visible on all axes: covered [query token][key token].
int64_t cover(const Listed& list, const nf_plan_step& step, std::vector<int>& covered) {
  int64_t tokens = 1;
  std::vector<std::pair<int64_t, int64_t>> pairs{{0, 0}};
  for (size_t a = 0; a < list.rank(); ++a) {
    tokens *= list.grid[a];
    std::vector<std::pair<int64_t, int64_t>> longer;
    const auto queries = tokens_of(list.axis(a), step.residue[a], step.query_first[a], step.query_size[a]);
    const auto keys = tokens_of(list.axis(a), step.residue[a], step.key_first[a], step.key_size[a]);
    for (const auto& [query, key] : pairs)
      for (const int64_t i : queries)
        for (const int64_t j : keys)
          if (list.visible[a].at(static_cast<size_t>(i)).at(static_cast<size_t>(j)))
            longer.emplace_back(query * list.grid[a] + i, key * list.grid[a] + j);
    pairs = std::move(longer);
  }
  for (const auto& [query, key] : pairs) ++covered[static_cast<size_t>(query * tokens + key)];
  return static_cast<int64_t>(pairs.size());
}

void check_step(const Listed& list, const nf_plan_step& step, std::vector<int>& covered) {
  int64_t all = 1;
  for (size_t a = 0; a < NF_MAX_GRID_RANK; ++a) {
    all *= step.query_size[a] * step.key_size[a];
    if (a >= list.rank()) {
      ASSERT_EQ(step.query_first[a] + step.key_first[a] + step.residue[a], 0);
      ASSERT_TRUE(step.query_size[a] == 1 && step.key_size[a] == 1);
      continue;
    }
    ASSERT_TRUE(1 <= step.query_size[a] && step.query_size[a] <= list.tile[a]);
    ASSERT_TRUE(1 <= step.key_size[a] && step.key_size[a] <= list.step[a]);
    ASSERT_TRUE(0 <= step.residue[a] && step.residue[a] < list.axis(a).dilation);
    ASSERT_TRUE(step.query_first[a] >= 0 && step.key_first[a] >= 0);
  }
  const int64_t useful = cover(list, step, covered);  // .at() refuses what leaves the axes
  ASSERT_EQ(step.pairs, useful);
  ASSERT_GT(step.pairs, 0);
  ASSERT_EQ(step.full, useful == all ? 1 : 0);
}

bool same_queries(const nf_plan_step& a, const nf_plan_step& b) {
  return std::equal(a.query_first, a.query_first + 3, b.query_first) &&
         std::equal(a.query_size, a.query_size + 3, b.query_size) && std::equal(a.residue, a.residue + 3, b.residue);
}

TEST(PlanSteps, RandomPatternsAreCoveredExactlyOnce) {
  constexpr uint64_t kSeed = 5;
  core::Random random(kSeed);
  for (int i = 0; i < 1500; ++i) {
    const Listed list(random);
    SCOPED_TRACE(core::concat("seed ", kSeed, " case ", i, ": ",
                              core::describe_geometry(list.geometry.shape, list.geometry.pattern), " tile ",
                              list.tile[0], " step ", list.step[0]));
    const int64_t tokens = list.geometry.shape.tokens();
    std::vector<int> covered(static_cast<size_t>(tokens * tokens), 0);
    int64_t tile = 0;
    for (size_t s = 0; s < list.steps.size(); ++s) {
      ASSERT_NO_FATAL_FAILURE(check_step(list, list.steps[s], covered)) << "step " << s;
      if (s > 0 && list.steps[s].tile == tile) {
        ASSERT_TRUE(same_queries(list.steps[s - 1], list.steps[s])) << "step " << s;
      } else {
        ASSERT_EQ(list.steps[s].tile, s == 0 ? 0 : tile + 1) << "step " << s;  // every tile of a neighborhood has steps
      }
      tile = list.steps[s].tile;
    }
    for (int64_t pair = 0; pair < tokens * tokens; ++pair) {
      int64_t query = pair / tokens, key = pair % tokens;
      bool expected = true;
      for (size_t a = list.rank(); a-- > 0;) {
        const int64_t n = list.grid[a];
        expected = expected && list.visible[a][static_cast<size_t>(query % n)][static_cast<size_t>(key % n)];
        query /= n, key /= n;
      }
      ASSERT_EQ(covered[static_cast<size_t>(pair)], expected ? 1 : 0) << "pair " << pair;
    }
  }
}

TEST(PlanSteps, WritesNoMoreThanTheCapacity) {
  const auto pattern = neighborhood({5, 3}).boundary({NF_WRAP, NF_CUT});
  const std::vector<int64_t> grid = {10, 7}, tile = {4, 2}, step = {3, 2};
  const std::vector<nf_plan_step> all = plan_steps(pattern, grid, tile, step);
  ASSERT_GT(all.size(), 20U);
  for (size_t capacity = 0; capacity <= all.size() + 2; ++capacity) {
    nf_plan_step untouched;
    std::memset(&untouched, 0x5a, sizeof untouched);
    std::vector<nf_plan_step> some(capacity + 1, untouched);
    int64_t count = -1;
    ASSERT_EQ(nf_plan_steps(pattern, grid.data(), tile.data(), step.data(), static_cast<int64_t>(capacity), some.data(),
                            &count),
              NF_OK);
    ASSERT_EQ(count, static_cast<int64_t>(all.size()));
    const size_t written = std::min(capacity, all.size());
    ASSERT_EQ(std::memcmp(some.data(), all.data(), written * sizeof untouched), 0);
    for (size_t i = written; i < some.size(); ++i) ASSERT_EQ(std::memcmp(&some[i], &untouched, sizeof untouched), 0);
  }
}

// Ten tokens in a circle, windows of three: the first tile sees [-1, 5), cut at the seam.
TEST(PlanSteps, ASeamCutsAStepInTwo) {
  const auto steps = plan_steps(neighborhood({3}).boundary({NF_WRAP}), {10}, {4}, {8});
  ASSERT_GE(steps.size(), 2U);
  EXPECT_EQ(steps[0].key_first[0], 9);
  EXPECT_EQ(steps[0].key_size[0], 1);
  EXPECT_EQ(steps[0].pairs, 1);
  EXPECT_EQ(steps[0].full, 0);
  EXPECT_EQ(steps[1].key_first[0], 0);
  EXPECT_EQ(steps[1].key_size[0], 5);
  EXPECT_EQ(steps[1].pairs, 11);
}

// Counting takes no memory for steps: 2^18 queries that each see 2^17 keys, in steps of one.
TEST(PlanSteps, CountsPlansThatNobodyCouldList) {
  const int64_t grid = int64_t{1} << 18, tile = 16, step = 1, window = grid / 2;
  const nf_neighborhood pattern = nf_make_neighborhood(1, &window);
  int64_t count = 0;
  ASSERT_EQ(nf_plan_steps(&pattern.pattern, &grid, &tile, &step, 0, nullptr, &count), NF_OK) << nf_last_error();
  EXPECT_GT(count, (grid / tile) * window);
  EXPECT_LT(count, (grid / tile) * (window + tile));
}

}  // namespace
}  // namespace nearfield::test
