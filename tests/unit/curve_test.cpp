// Windows of an axis, and what patterns along an order look like on the grid, against enumeration.
#include "pattern/curve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "brute_force.h"
#include "check/public_pattern.h"
#include "check/random_geometry.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::core {
namespace {

static_assert(RunsAxis{10, 10, 4, 0, 4}.keys_of(10, 5) == Interval{4, 4});
static_assert(RunsAxis{10, 10, 4, 0, 4}.keys_of(10, 9) == Interval{8, 2});  // ragged
static_assert(RunsAxis{10, 10, 4, 2, 4}.keys_of(10, 1) == Interval{0, 2});  // short by the shift
static_assert(RunsAxis{10, 10, 4, 2, 4}.keys_of(10, 2) == Interval{2, 4});
static_assert(RunsAxis{10, 10, 4, 0, 4, 1, true}.keys_of(10, 6) == Interval{4, 3});
static_assert(RunsAxis{10, 10, 4, 0, 4, 1, true}.queries_of(10, 6) == Interval{6, 2});

TEST(Runs, EverySmallAxisMatchesTheDefinition) {
  for (int64_t length = 1; length <= 14; ++length)
    for (int64_t size = 1; size <= length + 3; ++size)
      for (int64_t shift = 0; shift < size; ++shift)
        for (int64_t dilation = 1; dilation <= 3; ++dilation)
          for (const bool is_causal : {false, true}) {
            const RunsAxis axis{length, length, size, shift, size, dilation, is_causal};
            for (int64_t i = 0; i < length; ++i) {
              const auto seen = test::seen_from(axis, i);
              const int64_t residue = i % dilation, n = ceil_div(length - residue, dilation);
              int64_t longest = 0;
              for (int64_t x = 0; x < n; ++x) longest = std::max(longest, axis.keys_of(n, x).length);
              ASSERT_EQ(axis.longest_window(n), longest);
              for (int64_t j = 0; j < length; ++j) {
                const bool same_class = j % dilation == residue;
                const auto has = [&](const Interval& interval, int64_t x) {
                  return interval.start <= x && x < interval.end();
                };
                const bool key = same_class && has(axis.keys_of(n, i / dilation), j / dilation);
                const bool query = same_class && has(axis.queries_of(n, j / dilation), i / dilation);
                ASSERT_EQ(key, seen[static_cast<size_t>(j)].has_value()) << length << " " << size << " " << shift;
                ASSERT_EQ(query, key);
              }
            }
          }
}

// 1 + the largest distance on each axis between tokens that see each other, by nf_windows.
TEST(BiasExtents, RandomCurvesMatchEnumeration) {
  RandomProblemOptions options;
  options.max_pairs = 3000;
  options.zero_sizes = false;
  Random random(3);
  int curves = 0;
  for (int i = 0; i < 600; ++i) {
    const Geometry geometry = random_geometry(random, options);
    const Shape& shape = geometry.shape;
    const PublicPattern given = public_pattern(geometry.pattern);
    const std::vector<int64_t> grid(shape.grid, shape.grid + shape.rank),
        extents = nearfield::bias_extents(head_of(given), grid);
    if (!geometry.pattern.order) {
      for (size_t a = 0; a < grid.size(); ++a)
        ASSERT_EQ(extents[a], std::visit([](const auto& axis) { return axis.kernel_size; }, geometry.pattern.axes[a]));
      continue;
    }
    ++curves;
    std::vector<int64_t> widest(grid.size(), 1);
    const Windows seen = windows(head_of(given), grid, 0, shape.tokens());
    for (size_t at = 0; at < seen.keys.size(); ++at) {
      if (seen.keys[at] < 0) continue;
      int64_t query = static_cast<int64_t>(at) / seen.slots, key = seen.keys[at];
      for (size_t a = grid.size(); a-- > 0; query /= grid[a], key /= grid[a])
        widest[a] = std::max(widest[a], 1 + std::abs(query % grid[a] - key % grid[a]));
    }
    ASSERT_EQ(extents, widest) << describe_geometry(shape, geometry.pattern);
  }
  EXPECT_GT(curves, 100);
}

Pattern runs_along(OrderKind kind, int rank, std::initializer_list<int64_t> grid, int64_t size, int64_t shift = 0) {
  OrderKey key{kind, rank, {1, 1, 1}};
  std::copy(grid.begin(), grid.end(), key.grid);
  Pattern pattern;
  pattern.rank = 1;
  pattern.order = cached_order(key);
  const int64_t tokens = pattern.order->size();
  pattern.axes[0] = RunsAxis{.queries = tokens, .keys = tokens, .kernel_size = size, .phase = shift, .stride = size};
  return pattern;
}

TEST(NeedlessOrder, RunsThatAreBoxesBecomeWindows) {
  const auto sides = [](const Pattern& pattern) {
    const Pattern plain = without_needless_order(pattern);
    std::vector<int64_t> all;
    for (int a = 0; a < plain.rank && !plain.order; ++a) all.push_back(std::get<RunsAxis>(plain.axes[a]).kernel_size);
    return all;
  };
  using Sides = std::vector<int64_t>;
  EXPECT_EQ(sides(runs_along(OrderKind::hilbert, 2, {16, 32}, 16)), (Sides{4, 4}));
  EXPECT_EQ(sides(runs_along(OrderKind::hilbert, 2, {16, 32}, 64)), (Sides{8, 8}));
  EXPECT_EQ(sides(runs_along(OrderKind::hilbert, 3, {8, 8, 8}, 64)), (Sides{4, 4, 4}));
  EXPECT_EQ(sides(runs_along(OrderKind::morton, 2, {16, 16}, 32)), (Sides{4, 8}));
  EXPECT_EQ(sides(runs_along(OrderKind::serpentine, 2, {12, 5}, 15)), (Sides{3, 5}));
  EXPECT_EQ(sides(runs_along(OrderKind::hilbert, 2, {7, 9}, 1000)), (Sides{7, 9}));  // all of the grid
  EXPECT_EQ(sides(runs_along(OrderKind::hilbert, 2, {16, 16}, 49)), Sides{});
  EXPECT_EQ(sides(runs_along(OrderKind::hilbert, 2, {16, 16}, 16, 8)), Sides{});  // shifted
  EXPECT_EQ(sides(runs_along(OrderKind::hilbert, 2, {14, 14}, 49)), Sides{});
  EXPECT_EQ(sides(runs_along(OrderKind::hilbert, 2, {0, 14}, 49)), Sides{});
}

TEST(Curves, BadArguments) {
  const int64_t grid[] = {4, 6};
  const auto message = [&](auto change) {
    nf_curve curve = nf_make_curve(2, NF_HILBERT, NF_CURVE_WINDOW, 9);
    change(curve);
    int64_t extents[2];
    EXPECT_EQ(nf_bias_extents(&curve.pattern, grid, extents), NF_INVALID_ARGUMENT);
    return std::string(nf_last_error());
  };
  EXPECT_EQ(message([](nf_curve& c) { c.order = 9; }),
            "order=9: must be 1 (hilbert), 2 (morton), 3 (serpentine) or 4 (row_major)");
  EXPECT_EQ(message([](nf_curve& c) { c.form = 0; }), "form=0: must be 1 (window), 2 (slide) or 3 (neighborhood)");
  EXPECT_EQ(message([](nf_curve& c) { c.size = 0; }), "size=0: must be at least 1");
  EXPECT_EQ(message([](nf_curve& c) { c.size = int64_t{1} << 41; }), "size=2199023255552: must be at most 2^40");
  EXPECT_EQ(message([](nf_curve& c) { c.shift = -1; }), "shift=-1: must be at least 0");
  EXPECT_EQ(message([](nf_curve& c) { c.shift = 9; }), "shift=9: must be below size=9");
  EXPECT_EQ(message([](nf_curve& c) { c.stride = 2; }), "stride=2: must be 1 where form is window");
  EXPECT_EQ(message([](nf_curve& c) { c.form = NF_CURVE_SLIDE, c.stride = 10; }), "stride=10: must be at most size=9");
  EXPECT_EQ(message([](nf_curve& c) { c.form = NF_CURVE_SLIDE, c.shift = 1; }),
            "shift=1: must be 0 where form is not window");
  EXPECT_EQ(message([](nf_curve& c) { c.dilation = 0; }), "dilation=0: must be at least 1");
  EXPECT_EQ(message([](nf_curve& c) { c.is_causal = 2; }), "is_causal=2: must be 0 or 1");
  EXPECT_EQ(message([](nf_curve& c) { c.reserved = 1; }), "reserved=1: must be 0");
  EXPECT_EQ(message([](nf_curve& c) { c.pattern.struct_size = sizeof(nf_pattern); }),
            "pattern.struct_size=16: must be at least " + std::to_string(sizeof(nf_curve)));
  EXPECT_EQ(message([](nf_curve& c) { c.pattern.kind = 4; }),
            "pattern.kind=4: must be 1 (neighborhood), 2 (window) or 3 (curve)");
}

TEST(Windows, BadArguments) {
  const int64_t grid[] = {4, 6}, sizes[] = {2, 3};
  const auto message = [&](auto change) {
    nf_window window = nf_make_window(2, sizes);
    change(window);
    int64_t extents[2];
    EXPECT_EQ(nf_bias_extents(&window.pattern, grid, extents), NF_INVALID_ARGUMENT);
    return std::string(nf_last_error());
  };
  EXPECT_EQ(message([](nf_window& w) { w.size[1] = 0; }), "size[1]=0: must be at least 1");
  EXPECT_EQ(message([](nf_window& w) { w.shift[0] = -1; }), "shift[0]=-1: must be at least 0");
  EXPECT_EQ(message([](nf_window& w) { w.shift[1] = 3; }), "shift[1]=3: must be below size[1]=3");
}

}  // namespace
}  // namespace nearfield::core
