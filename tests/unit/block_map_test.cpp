// Block maps against every pair asked one by one, the ratios that are known, and the C ABI's records of them.
#include "plan/block_map.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "check/random_geometry.h"
#include "dispatch/geometry_rules.h"
#include "nearfield/nearfield.hpp"
#include "pattern/windows.h"

namespace nearfield::core {
namespace {

// seen[query][key] of tokens in the map's row: the pattern's rules without an order.
std::vector<std::vector<bool>> all_pairs(const Pattern& rules, int64_t tokens) {
  int64_t slots[kMaxGridRank];
  window_slots(rules, slots);
  const int64_t row = slots[0] * slots[1] * slots[2];
  std::vector<int64_t> keys(static_cast<size_t>(tokens * row));
  write_windows(rules, 0, tokens, keys.data(), nullptr);
  const auto size = static_cast<size_t>(tokens);
  std::vector<std::vector<bool>> seen(size, std::vector<bool>(size));
  for (size_t i = 0; i < keys.size(); ++i)
    if (keys[i] >= 0) seen[i / static_cast<size_t>(row)][static_cast<size_t>(keys[i])] = true;
  return seen;
}

// "" or how the map differs from the pairs.
std::string difference(const BlockMap& map, const std::vector<std::vector<bool>>& seen) {
  BlockCounts counts;
  const int64_t block = map.block();
  counts.blocks = map.block_count() * map.block_count();
  for (int64_t i = 0; i < map.block_count(); ++i) {
    size_t next = 0;
    const auto row = map.row(i);
    for (int64_t j = 0; j < map.block_count(); ++j) {
      const KeyBlock* found = next < row.size() && row[next].index == j ? &row[next++] : nullptr;
      int64_t pairs = 0;
      for (int64_t q = 0; q < map.size_of_block(i); ++q)
        for (int64_t k = 0; k < map.size_of_block(j); ++k) {
          const bool is_seen = seen[static_cast<size_t>(i * block + q)][static_cast<size_t>(j * block + k)];
          pairs += is_seen ? 1 : 0;
          const bool bit =
              found != nullptr && !found->full() && (map.mask_of(*found)[q / 32 * block + k] >> (q % 32) & 1) != 0;
          if (found != nullptr && !found->full() && bit != is_seen) return concat("bit of ", i, ",", j, ",", q, ",", k);
        }
      const bool full = pairs == map.size_of_block(i) * map.size_of_block(j);
      if ((found == nullptr) != (pairs == 0)) return concat("block ", i, ",", j, " with ", pairs, " pairs");
      if (found != nullptr && (found->pairs != pairs || found->full() != full)) return concat("count of ", i, ",", j);
      counts.pairs += pairs;
      ++(pairs == 0 ? counts.empty : full ? counts.full : counts.masked);
    }
    if (next != row.size()) return concat("row ", i, " is not in order");
  }
  const BlockCounts& own = map.counts();
  const bool same = own.blocks == counts.blocks && own.empty == counts.empty && own.full == counts.full &&
                    own.masked == counts.masked && own.pairs == counts.pairs;
  return same ? "" : "the counts";
}

TEST(BlockMap, HoldsExactlyThePairsOfAnyPattern) {
  RandomProblemOptions options;
  options.spheres = false;
  options.zero_sizes = true;
  int64_t masked = 0, full = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    Random random(seed);
    const Geometry geometry = random_geometry(random, options);
    const int64_t tokens = geometry.shape.tokens(), block = 1 + random.below(random.chance(0.1) ? 200 : 40);
    if (tokens > 700) continue;
    const Pattern rules = geometry.pattern.without_order();
    const BlockMap map(geometry.pattern, block);
    ASSERT_EQ(map.tokens(), tokens);
    ASSERT_EQ(difference(map, all_pairs(rules, tokens)), "")
        << "seed " << seed << " block " << block << ": " << describe_geometry(geometry.shape, geometry.pattern);
    const BlockMap counted(geometry.pattern, block, false);
    ASSERT_EQ(counted.counts().masked, map.counts().masked) << "seed " << seed;
    masked += map.counts().masked;
    full += map.counts().full;
  }
  EXPECT_GT(masked, 1000);
  EXPECT_GT(full, 1000);
}

// The paper's ratios, of window attention in blocks of 128 x 128.
TEST(BlockMap, HasTheKnownRatios) {
  struct Known {
    int64_t side, window;
    double row_major, hilbert;
  };
  for (const Known& known : {Known{64, 8, 0.875, 0.96875}, Known{96, 16, 10.0 / 12, 35.0 / 36}}) {
    const std::vector<int64_t> grid = {known.side, known.side};
    EXPECT_DOUBLE_EQ(block_map(window({known.window, known.window}), grid).empty_ratio(), known.row_major);
    EXPECT_DOUBLE_EQ(block_map(hilbert_window(2, known.window * known.window), grid).empty_ratio(), known.hilbert);
  }
}

TEST(BlockMap, RunsAlignedWithBlocksNeedNoMask) {
  const nearfield::BlockMap map = block_map(hilbert_window(2, 256), {96, 96});
  EXPECT_EQ(map.counts.blocks, 72 * 72);
  EXPECT_EQ(map.counts.full, 72 * 2);
  EXPECT_EQ(map.counts.masked, 0);
  EXPECT_EQ(map.counts.pairs, 9216 * 256);
}

TEST(BlockMap, OrdersShareAMap) {
  const nf_curve hilbert = nf_make_curve(2, NF_HILBERT, NF_CURVE_SLIDE, 9);
  const nf_curve morton = nf_make_curve(2, NF_MORTON, NF_CURVE_SLIDE, 9);
  const int64_t grid[2] = {12, 20};
  const auto map = cached_block_map(validate_on_grid(&hilbert.pattern, grid), 16);
  EXPECT_EQ(map, cached_block_map(validate_on_grid(&morton.pattern, grid), 16));
  EXPECT_NE(map, cached_block_map(validate_on_grid(&morton.pattern, grid), 32));
}

TEST(BlockMap, TheAbiWritesAsManyAsThereIsRoomFor) {
  const auto pattern = neighborhood({5, 5});
  const int64_t grid[2] = {20, 30};
  nf_block_counts counts{};
  std::vector<nf_block> blocks(4, nf_block{-7, -7, -7, -7});
  ASSERT_EQ(nf_block_map(pattern, grid, 64, 3, blocks.data(), &counts), NF_OK);
  EXPECT_EQ(blocks[3].pairs, -7);
  EXPECT_EQ(counts.blocks, 100);
  EXPECT_EQ(counts.empty + counts.full + counts.masked, 100);
  EXPECT_EQ(counts.pairs, 600 * 25);
  const nearfield::BlockMap map = block_map(pattern, {20, 30}, 64);
  int64_t pairs = 0;
  for (const nf_block& block : map.blocks) pairs += block.pairs;
  EXPECT_EQ(pairs, 600 * 25);
  EXPECT_EQ(map.blocks[2].key_block, blocks[2].key_block);
}

TEST(BlockMap, RefusesWhatHasNoSense) {
  const auto pattern = neighborhood({5, 5});
  const int64_t grid[2] = {20, 30};
  nf_block_counts counts{};
  const auto expect_refusal = [&](nf_status status, nf_status wanted, const std::string& message) {
    EXPECT_EQ(status, wanted);
    EXPECT_EQ(std::string(nf_last_error()).find(message), 0u) << nf_last_error();
  };
  expect_refusal(nf_block_map(pattern, grid, 0, 0, nullptr, &counts), NF_INVALID_ARGUMENT,
                 "block=0: must be at least 1");
  expect_refusal(nf_block_map(pattern, grid, 1025, 0, nullptr, &counts), NF_INVALID_ARGUMENT,
                 "block=1025: must be at most 1024");
  expect_refusal(nf_block_map(pattern, grid, 8, -1, nullptr, &counts), NF_INVALID_ARGUMENT,
                 "capacity=-1: must be at least 0");
  expect_refusal(nf_block_map(pattern, grid, 8, 1, nullptr, &counts), NF_INVALID_ARGUMENT, "blocks: must not be NULL");
  expect_refusal(nf_block_map(pattern, grid, 8, 0, nullptr, nullptr), NF_INVALID_ARGUMENT, "counts: must not be NULL");
  const int64_t huge[2] = {int64_t{1} << 20, int64_t{1} << 20}, wide[2] = {4096, 4096};
  expect_refusal(nf_block_map(pattern, huge, 128, 0, nullptr, &counts), NF_UNSUPPORTED, "block=128: the map");
  expect_refusal(nf_block_map(neighborhood({4096, 4096}), wide, 128, 0, nullptr, &counts), NF_UNSUPPORTED,
                 "block=128: the map");
}

}  // namespace
}  // namespace nearfield::core
