// Orders of a grid's tokens: each visits every token once, and how far adjacent positions are apart.
#include "pattern/token_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "nearfield/nearfield.hpp"

namespace nearfield::core {
namespace {

using Grid = std::vector<int64_t>;

OrderKey key_of(OrderKind kind, const Grid& grid) {
  OrderKey key{kind, static_cast<int>(grid.size()), {1, 1, 1}};
  std::copy(grid.begin(), grid.end(), key.grid);
  return key;
}

int64_t tokens_of(const Grid& grid) {
  int64_t tokens = 1;
  for (const int64_t length : grid) tokens *= length;
  return tokens;
}

void check_bijection(const TokenOrder& order, int64_t tokens) {
  ASSERT_EQ(order.size(), tokens);
  std::vector<bool> visited(static_cast<size_t>(tokens));
  for (int64_t p = 0; p < tokens; ++p) {
    const int64_t token = order.token_at(p);
    ASSERT_TRUE(token >= 0 && token < tokens);
    ASSERT_FALSE(visited[static_cast<size_t>(token)]) << "token " << token << " twice";
    visited[static_cast<size_t>(token)] = true;
    ASSERT_EQ(order.position_of(token), p);
  }
}

// Steps between adjacent positions that are not to a neighbour on one axis.
struct Steps {
  int64_t longer = 0, diagonal = 0;     // diagonal: by 1 on two axes
  int64_t most_axis = 0, most_all = 0;  // cells of the longest, on one axis and summed over the axes
};

Steps steps_of(const TokenOrder& order) {
  Steps steps;
  for (int64_t p = 1; p < order.size(); ++p) {
    int64_t a[3], b[3], all = 0, most = 0;
    order.coordinates_of(order.token_at(p - 1), a);
    order.coordinates_of(order.token_at(p), b);
    for (int axis = 0; axis < 3; ++axis) {
      all += std::abs(a[axis] - b[axis]);
      most = std::max(most, std::abs(a[axis] - b[axis]));
    }
    steps.longer += all > 1;
    steps.diagonal += all == 2 && most == 1;
    steps.most_axis = std::max(steps.most_axis, most);
    steps.most_all = std::max(steps.most_all, all);
  }
  return steps;
}

void check_hilbert_2d(int64_t height, int64_t width) {
  SCOPED_TRACE(testing::Message() << height << "x" << width);
  const TokenOrder order(key_of(OrderKind::hilbert, {height, width}));
  ASSERT_NO_FATAL_FAILURE(check_bijection(order, height * width));
  const int64_t longer = std::max(height, width), shorter = std::min(height, width);
  const bool has_diagonal = longer % 2 == 1 && shorter % 2 == 0 && shorter > 2;
  const Steps steps = steps_of(order);
  ASSERT_EQ(steps.longer, has_diagonal ? 1 : 0);
  ASSERT_EQ(steps.diagonal, steps.longer);
}

TEST(Hilbert, EverySmallRectangle) {
  for (int64_t height = 1; height <= 40; ++height)
    for (int64_t width = 1; width <= 40; ++width) ASSERT_NO_FATAL_FAILURE(check_hilbert_2d(height, width));
}

TEST(Hilbert, LargeOddRectangles) {
  for (const auto& [height, width] :
       {std::pair(181, 361), {721, 1441}, {1023, 1025}, {97, 1009}, {1, 10007}, {512, 999}})
    ASSERT_NO_FATAL_FAILURE(check_hilbert_2d(height, width));
}

void check_hilbert_3d(const Grid& grid) {
  SCOPED_TRACE(testing::PrintToString(grid));
  const TokenOrder order(key_of(OrderKind::hilbert, grid));
  ASSERT_NO_FATAL_FAILURE(check_bijection(order, tokens_of(grid)));
  const Steps steps = steps_of(order);
  ASSERT_LE(steps.most_axis, 3);
  ASSERT_LE(steps.most_all, 4);
  const bool all_even = std::all_of(grid.begin(), grid.end(), [](int64_t length) { return length % 2 == 0; });
  if (all_even) {
    ASSERT_EQ(steps.longer, 0);
  }
}

TEST(Hilbert, EverySmallBox) {
  for (int64_t depth = 1; depth <= 12; ++depth)
    for (int64_t height = 1; height <= 12; ++height)
      for (int64_t width = 1; width <= 12; ++width) ASSERT_NO_FATAL_FAILURE(check_hilbert_3d({depth, height, width}));
}

TEST(Hilbert, LargeBoxes) {
  for (const Grid& grid : {Grid{30, 48, 80}, Grid{31, 47, 81}, Grid{5, 101, 7}, Grid{64, 64, 64}})
    ASSERT_NO_FATAL_FAILURE(check_hilbert_3d(grid));
}

TEST(Hilbert, IsHilbertsCurveOnSquaresOfPowersOfTwo) {
  // The first curves of the family, drawn by hand: x to the right, y down, from the corner to the next one on the
  // right.
  EXPECT_EQ(TokenOrder(key_of(OrderKind::hilbert, {2, 2})).tokens, (std::vector<int32_t>{0, 2, 3, 1}));
  EXPECT_EQ(TokenOrder(key_of(OrderKind::hilbert, {4, 4})).tokens,
            (std::vector<int32_t>{0, 1, 5, 4, 8, 12, 13, 9, 10, 14, 15, 11, 7, 6, 2, 3}));
}

// Aligned runs of 4^n positions fill squares of 2^n, on any grid of powers of two.
TEST(Hilbert, AlignedRunsAreSquares) {
  for (const Grid& grid : {Grid{16, 16}, Grid{8, 32}, Grid{64, 16}}) {
    const TokenOrder order(key_of(OrderKind::hilbert, grid));
    for (int64_t side = 2; side <= std::min(grid[0], grid[1]); side *= 2)
      for (int64_t begin = 0; begin < order.size(); begin += side * side) {
        int64_t first[3], cell[3];
        order.coordinates_of(order.token_at(begin), first);
        for (int64_t p = begin; p < begin + side * side; ++p) {
          order.coordinates_of(order.token_at(p), cell);
          ASSERT_TRUE(cell[0] / side == first[0] / side && cell[1] / side == first[1] / side);
        }
      }
  }
}

TEST(Hilbert, AxesOfOneTokenDoNotCount) {
  const TokenOrder plane(key_of(OrderKind::hilbert, {9, 14}));
  for (const Grid& grid : {Grid{1, 9, 14}, Grid{9, 1, 14}, Grid{9, 14, 1}})
    EXPECT_EQ(TokenOrder(key_of(OrderKind::hilbert, grid)).tokens, plane.tokens);
}

TEST(TokenOrder, OthersAreBijectionsToo) {
  for (const OrderKind kind : {OrderKind::morton, OrderKind::serpentine, OrderKind::row_major})
    for (const Grid& grid : {Grid{7}, Grid{1}, Grid{5, 9}, Grid{16, 3}, Grid{3, 4, 5}, Grid{3, 5, 7}, Grid{1, 1, 1},
                             Grid{2, 1, 6}, Grid{0}, Grid{3, 0}, Grid{0, 2, 2}}) {
      SCOPED_TRACE(testing::Message() << order_name(kind) << " " << testing::PrintToString(grid));
      const TokenOrder order(key_of(kind, grid));
      ASSERT_NO_FATAL_FAILURE(check_bijection(order, tokens_of(grid)));
      if (kind == OrderKind::serpentine) {
        EXPECT_EQ(steps_of(order).longer, 0);
      }
    }
}

TEST(TokenOrder, SmallOnesByHand) {
  EXPECT_EQ(TokenOrder(key_of(OrderKind::serpentine, {3, 3})).tokens,
            (std::vector<int32_t>{0, 1, 2, 5, 4, 3, 6, 7, 8}));
  EXPECT_EQ(TokenOrder(key_of(OrderKind::serpentine, {2, 3, 2})).tokens,
            (std::vector<int32_t>{0, 1, 3, 2, 4, 5, 11, 10, 8, 9, 7, 6}));
  EXPECT_EQ(TokenOrder(key_of(OrderKind::morton, {3, 3})).tokens, (std::vector<int32_t>{0, 1, 3, 4, 2, 5, 6, 7, 8}));
  EXPECT_EQ(TokenOrder(key_of(OrderKind::row_major, {2, 2})).tokens, (std::vector<int32_t>{0, 1, 2, 3}));
}

TEST(TokenOrder, MortonInterleavesBits) {
  const TokenOrder order(key_of(OrderKind::morton, {8, 8, 8}));
  for (int64_t p = 0; p < order.size(); ++p) {
    int64_t cell[3], bits = 0;
    order.coordinates_of(order.token_at(p), cell);
    for (int bit = 2; bit >= 0; --bit)
      for (const int64_t c : cell) bits = bits << 1 | (c >> bit & 1);
    ASSERT_EQ(bits, p);
  }
}

TEST(TokenOrder, IsKept) {
  const OrderKey key = key_of(OrderKind::hilbert, {20, 30});
  EXPECT_EQ(cached_order(key), cached_order(key));
  EXPECT_NE(cached_order(key), cached_order(key_of(OrderKind::morton, {20, 30})));
}

TEST(TokenOrder, ThroughTheCAbi) {
  const int64_t grid[] = {3, 3};
  int64_t tokens[9], positions[9];
  ASSERT_EQ(nf_order_tokens(NF_SERPENTINE, 2, grid, tokens, positions), NF_OK);
  EXPECT_EQ(tokens[3], 5);
  EXPECT_EQ(positions[5], 3);
  ASSERT_EQ(nf_order_tokens(NF_SERPENTINE, 2, grid, nullptr, nullptr), NF_OK);
  const auto message = [](int32_t order, int32_t rank, const int64_t* lengths) {
    EXPECT_EQ(nf_order_tokens(order, rank, lengths, nullptr, nullptr), NF_INVALID_ARGUMENT);
    return std::string(nf_last_error());
  };
  EXPECT_EQ(message(0, 2, grid), "order=0: must be 1 (hilbert), 2 (morton), 3 (serpentine) or 4 (row_major)");
  EXPECT_EQ(message(NF_HILBERT, 4, grid), "rank=4: must be 1, 2 or 3");
  EXPECT_EQ(message(NF_HILBERT, 2, nullptr), "grid: must not be NULL");
  const int64_t negative[] = {4, -1}, large[] = {1 << 16, 1 << 15};
  EXPECT_EQ(message(NF_HILBERT, 2, negative), "grid[1]=-1: must be at least 0");
  EXPECT_EQ(message(NF_HILBERT, 2, large),
            "grid[1]=32768: must be smaller: an order must have at most 2147483647 tokens");
  EXPECT_STREQ(nf_order_name(NF_HILBERT), "hilbert");
  EXPECT_EQ(nf_order_name(0), nullptr);
  EXPECT_EQ(nf_order_name(5), nullptr);
}

}  // namespace
}  // namespace nearfield::core
