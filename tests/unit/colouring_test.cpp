// Colours of tiles against the definition: which keys each tile sees, enumerated.
#include "plan/colouring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "plan/plan.h"

namespace nearfield::core {
namespace {

std::set<int64_t> keys_of_tiles(const AxisTable& table, size_t first, size_t end) {
  std::set<int64_t> keys;
  for (size_t tile = first; tile < end; ++tile)
    for (int64_t x = table.tiles[tile].begin; x < table.tiles[tile].begin + table.tiles[tile].size; ++x) {
      const Interval& interval = table.intervals[static_cast<size_t>(x)];
      for (int64_t y = interval.start; y < interval.end(); ++y) keys.insert(floor_mod(y, table.far));
    }
  return keys;
}

NeighborhoodAxis random_axis(std::mt19937& random, int64_t length) {
  const auto below = [&](int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random); };
  NeighborhoodAxis axis;
  axis.queries = axis.keys = length;
  axis.kernel_size = 1 + below(length + 3);
  axis.stride = 1 + below(std::min<int64_t>(axis.kernel_size, 4));
  axis.dilation = 1;
  axis.boundary = static_cast<Boundary>(below(3));
  axis.is_causal = axis.boundary != Boundary::wrap && below(3) == 0;
  return axis;
}

TEST(Colouring, TilesOfOneColourShareNoKey) {
  std::mt19937 random(20261121);
  for (int round = 0; round < 3000; ++round) {
    const int64_t length = std::uniform_int_distribution<int64_t>(1, 60)(random);
    Pattern pattern;
    pattern.rank = 1;
    pattern.axes[0] = random_axis(random, length);
    TileShape shape;
    shape.near[0] = std::uniform_int_distribution<int64_t>(1, 9)(random);
    shape.far[0] = length;
    const Plan plan(pattern, shape);
    const AxisTable& table = plan.axis(0).table(0);
    const int64_t group = std::uniform_int_distribution<int64_t>(1, 3)(random);
    const std::vector<int32_t> colours = colour_tiles(table, plan.axis(0).wraps, group);
    const auto step = static_cast<size_t>(group);
    ASSERT_EQ(colours.size(), (table.tiles.size() + step - 1) / step);
    std::vector<std::set<int64_t>> taken;
    for (size_t i = 0; i < colours.size(); ++i) {
      const auto colour = static_cast<size_t>(colours[i]);
      ASSERT_LE(colour, taken.size()) << "colours are numbered as they are needed";
      if (colour == taken.size()) taken.emplace_back();
      for (int64_t key : keys_of_tiles(table, i * step, std::min((i + 1) * step, table.tiles.size())))
        ASSERT_TRUE(taken[colour].insert(key).second)
            << "round " << round << ": key " << key << " of " << length << " is seen twice in colour " << colour;
    }
  }
}

// Windows of 7 reach over two strips of 8, so two colours do; and a third where the last strip meets the first.
TEST(Colouring, TakesNoMoreColoursThanItNeeds) {
  const auto count = [](int64_t length, Boundary boundary, int64_t group) {
    Pattern pattern;
    pattern.rank = 1;
    NeighborhoodAxis axis;
    axis.queries = axis.keys = length;
    axis.kernel_size = 7;
    axis.stride = axis.dilation = 1;
    axis.boundary = boundary;
    pattern.axes[0] = axis;
    TileShape shape;
    shape.near[0] = 8;
    shape.far[0] = length;
    const Plan plan(pattern, shape);
    const std::vector<int32_t> colours = colour_tiles(plan.axis(0).table(0), plan.axis(0).wraps, group);
    return 1 + *std::max_element(colours.begin(), colours.end());
  };
  EXPECT_EQ(count(8, Boundary::clamp, 1), 1);
  EXPECT_EQ(count(800, Boundary::clamp, 1), 2);
  EXPECT_EQ(count(800, Boundary::wrap, 1), 2);
  EXPECT_EQ(count(808, Boundary::wrap, 1), 3);
  EXPECT_EQ(count(800, Boundary::cut, 5), 2);
}

}  // namespace
}  // namespace nearfield::core
