// Windows and plans written out by the C ABI, against the definition, enumerated, and against the reference engine.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "check/public_pattern.h"
#include "check/random_geometry.h"
#include "check/random_problem.h"
#include "engine/reference/row.h"
#include "nearfield/nearfield.hpp"
#include "neighborhood_definition.h"

namespace nearfield::test {
namespace {

using core::Boundary;
using core::NeighborhoodAxis;

constexpr int64_t kUntouched = std::numeric_limits<int64_t>::max();

// (key token, entry of the bias table) in each slot of one query of an axis that are filled, in the slots' order.
using Slots = std::vector<std::pair<int64_t, int64_t>>;
Slots defined_slots(const NeighborhoodAxis& axis, int64_t query) {
  const KeyOffsets offsets = defined_keys(axis, query);
  Slots slots;
  for (int64_t key = 0; key < axis.keys; ++key) {
    const int64_t offset = offsets[static_cast<size_t>(key)];
    if (offset != kUnseen) slots.emplace_back(key, offset + axis.kernel_size - 1);
  }
  const auto in_class = (axis.keys - query % axis.dilation + axis.dilation - 1) / axis.dilation;
  const bool is_whole_circle = axis.wraps() && axis.kernel_size >= in_class;  // in the class's order, not the window's
  if (!is_whole_circle) std::sort(slots.begin(), slots.end(), [](auto& a, auto& b) { return a.second < b.second; });
  return slots;
}

void check_axis(const NeighborhoodAxis& axis) {
  core::Pattern pattern;
  pattern.rank = 1;
  pattern.axes[0] = axis;
  const auto given = std::get<nf_neighborhood>(core::public_pattern(pattern));
  size_t longest = 0;
  for (int64_t query = 0; query < axis.queries; ++query) longest = std::max(longest, defined_slots(axis, query).size());
  int64_t slots = -1;
  ASSERT_EQ(nf_window_slots(&given.pattern, &axis.queries, &slots), NF_OK) << nf_last_error();
  ASSERT_EQ(slots, static_cast<int64_t>(longest));
  const auto entries = static_cast<size_t>(axis.queries) * longest;
  std::vector<int64_t> keys(entries + 1, kUntouched), bias(entries + 1, kUntouched);
  ASSERT_EQ(nf_windows(&given.pattern, &axis.queries, 0, axis.queries, keys.data(), bias.data()), NF_OK);
  for (int64_t query = 0; query < axis.queries; ++query) {
    const Slots defined = defined_slots(axis, query);
    for (size_t j = 0; j < longest; ++j) {
      const size_t at = static_cast<size_t>(query) * longest + j;
      ASSERT_EQ(keys[at], j < defined.size() ? defined[j].first : -1) << "query " << query << " slot " << j;
      ASSERT_EQ(bias[at], j < defined.size() ? defined[j].second : -1) << "query " << query << " slot " << j;
    }
  }
  ASSERT_TRUE(keys.back() == kUntouched && bias.back() == kUntouched) << "written beyond the end";
}

TEST(Windows, EverySmallAxisMatchesTheDefinition) {
  int64_t axes = 0;
  for (const auto& [boundary, is_causal] :
       {std::pair(Boundary::clamp, false), std::pair(Boundary::cut, false), std::pair(Boundary::wrap, false),
        std::pair(Boundary::clamp, true), std::pair(Boundary::cut, true)})
    for (int64_t length = 1; length <= 16; ++length)
      for (int64_t dilation = 1; dilation <= 4; ++dilation) {
        if (boundary == Boundary::wrap && length % dilation != 0) continue;
        for (int64_t kernel_size = 1; kernel_size <= length + 3; ++kernel_size)
          for (int64_t stride = 1; stride <= kernel_size; ++stride, ++axes) {
            const NeighborhoodAxis axis{length, length, kernel_size, stride, dilation, is_causal, boundary};
            ASSERT_NO_FATAL_FAILURE(check_axis(axis)) << describe(axis);
          }
      }
  EXPECT_GT(axes, 10000);
}

// The closed form beyond what can be written out: the longest of all windows of the class, one by one.
TEST(Windows, LongestWindowOfLargerAxes) {
  core::Random random(11);
  for (int i = 0; i < 20000; ++i) {
    const int64_t n = random.skewed(300);
    NeighborhoodAxis axis{n, n, random.skewed(2 * n + 4), 1, 1, false, static_cast<Boundary>(random.below(3))};
    axis.stride = random.skewed(axis.kernel_size);
    axis.is_causal = !axis.wraps() && random.chance(0.3);
    int64_t longest = 0;
    for (int64_t x = 0; x < n; ++x) longest = std::max(longest, axis.keys_of(n, x).length);
    ASSERT_EQ(axis.longest_window(n), longest) << "seed 11 case " << i << ": " << describe(axis);
  }
}

core::RandomProblemOptions small_problems() {
  core::RandomProblemOptions options;
  options.dtypes = {core::DType::float64};
  options.additional_keys = options.key_mask = options.key_weights = options.bias = false;
  options.zero_sizes = false;  // an empty batch has no row to ask the reference for
  options.max_pairs = 4000;
  options.max_multiplies = 100000;
  return options;
}

// Rows of any part of the grid hold the reference's keys and offsets, each in one slot, and nothing else.
TEST(Windows, RandomGridsMatchTheReference) {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    core::RandomProblem random(seed, small_problems());
    const core::Problem& problem = random.problem();
    const core::Shape& shape = problem.shape;
    SCOPED_TRACE(random.describe());
    const core::PublicPattern given = core::public_pattern(problem.pattern);
    const std::vector<int64_t> grid(shape.grid, shape.grid + shape.rank);
    core::Random part(seed);
    const int64_t first = part.between(0, shape.tokens()), count = part.between(0, shape.tokens() - first);
    const bool has_bias = !problem.pattern.sphere;
    Windows seen = windows(core::head_of(given), grid, first, count, has_bias);
    const auto extents = has_bias ? bias_extents(core::head_of(given), grid) : std::vector<int64_t>(grid.size(), 1);
    if (!has_bias) seen.bias_index = seen.keys;  // the set below then has each key's token twice
    ASSERT_EQ(static_cast<int64_t>(seen.keys.size()), count * seen.slots);
    for (int64_t i = 0; i < count; ++i) {
      std::set<std::pair<int64_t, int64_t>> expected, written;
      for (const core::SeenKey& key : core::attention_row(problem, 0, 0, core::token_at(shape, first + i),
                                                          std::vector<double>(static_cast<size_t>(shape.head_dim), 0.0))
                                          .keys) {
        int64_t token = 0, entry = 0;
        for (int a = 0; a < shape.rank; ++a) {
          const auto at = static_cast<size_t>(a);
          token = token * problem.key.sizes[a + 1] + key.token[at];
          entry = entry * (2 * extents[at] - 1) + key.offset[at] + extents[at] - 1;
        }
        expected.emplace(token, has_bias ? entry : token);
      }
      size_t filled = 0;
      for (int64_t j = i * seen.slots; j < (i + 1) * seen.slots; ++j) {
        const int64_t key = seen.keys[static_cast<size_t>(j)], entry = seen.bias_index[static_cast<size_t>(j)];
        ASSERT_EQ(key == -1, entry == -1);
        if (key == -1) continue;
        written.emplace(key, entry);
        ++filled;
      }
      ASSERT_EQ(written, expected) << "query " << first + i;
      ASSERT_EQ(filled, expected.size()) << "a key twice, query " << first + i;
    }
  }
}

TEST(Windows, SlotsAreRowMajorOverTheAxes) {
  const auto seen = windows(neighborhood({2, 3}).boundary({NF_CUT, NF_WRAP}), {2, 4}, 3, 3);
  ASSERT_EQ(seen.slots, 6);
  EXPECT_TRUE(seen.bias_index.empty());
  const std::vector<int64_t> expected = {2, 3, 0, -1, -1, -1,  // (0, 3): row 0 alone
                                         3, 0, 1, 7,  4,  5,   // (1, 0)
                                         0, 1, 2, 4,  5,  6};  // (1, 1)
  EXPECT_EQ(seen.keys, expected);
}

TEST(Windows, WholeCirclesBeginWithKeyZero) {
  const auto seen = windows(neighborhood({5}).boundary({NF_WRAP}), {4}, 2, 1, true);
  EXPECT_EQ(seen.keys, (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(seen.bias_index, (std::vector<int64_t>{6, 3, 4, 5}));  // offsets 2, -1, 0, 1
}

TEST(Windows, TheCppFaceKnowsWhatTheCAbiCannot) {
  const auto message_of = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  const auto pattern = neighborhood({3, 3});
  EXPECT_EQ(message_of([&] { window_slots(pattern, {4}); }),
            "grid: has 1 values: must have one for each of the 2 axes");
  EXPECT_EQ(message_of([&] {
              windows(pattern, {4, 6, 2}, 0, 1);
            }),
            "grid: has 3 values: must have one for each of the 2 axes");
  EXPECT_EQ(message_of([&] {
              plan_steps(pattern, {4, 6}, {4}, {4, 4});
            }),
            "tile: has 1 values: must have one for each of the 2 axes");
  EXPECT_EQ(message_of([&] {
              plan_steps(pattern, {4, 6}, {4, 4}, {});
            }),
            "step: has 0 values: must have one for each of the 2 axes");
  // More than any memory holds, but refused before any is asked for.
  const int64_t many = int64_t{1} << 60;
  EXPECT_EQ(message_of([&] {
              windows(pattern, {4, 6}, 20, many);
            }),
            "count=1152921504606846976: must be at most 4, the queries from first=20 on");
  EXPECT_EQ(message_of([&] {
              windows(pattern, {4, 6}, many, 1);
            }),
            "first=1152921504606846976: must be at most 24, the tokens of grid");
  EXPECT_EQ(message_of([&] { windows(nullptr, {4, 6}, 0, 1); }), "pattern: must not be NULL");
}

TEST(Windows, AnEmptyGridHasNone) {
  EXPECT_EQ(window_slots(neighborhood({3, 3}), {0, 5}), (std::vector<int64_t>{0, 3}));
  EXPECT_TRUE(windows(neighborhood({3, 3}), {0, 5}, 0, 0, true).keys.empty());
  EXPECT_TRUE(plan_steps(neighborhood({3, 3}), {0, 5}, {2, 2}, {2, 2}).empty());
}

}  // namespace
}  // namespace nearfield::test
