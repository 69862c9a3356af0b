// The generator of random problems: repeatable, within its limits, varied, and able to catch stray writes.
#include "check/random_problem.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "base/error.h"

namespace nearfield::test {
namespace {

using namespace core;

int64_t length_of(const Problem& problem, int axis) {
  return problem.pattern.order ? problem.shape.tokens() : problem.shape.grid[axis];
}

std::vector<double> values_of(const TensorView& view) {
  std::vector<double> values;
  for_each_element(
      view, [&](const ElementIndex&, int64_t element) { values.push_back(load_double(view.at(element), view.dtype)); });
  return values;
}

TEST(Random, GivesTheSameNumbersEverywhere) {
  Random random(42);
  EXPECT_EQ(random.bits(), 0xbdd732262feb6e95u);  // splitmix64's published sequence for seed 42
  EXPECT_EQ(random.bits(), 0x28efe333b266f103u);
  double sum = 0, squares = 0;
  const int count = 100000;
  for (int n = 0; n < count; ++n) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / count, 0, 0.02);
  EXPECT_NEAR(squares / count, 1, 0.02);
}

TEST(Random, SkewedStaysInRange) {
  Random random(7);
  for (int64_t high = 1; high < 40; ++high) {
    std::set<int64_t> seen;
    for (int n = 0; n < 3000; ++n) seen.insert(random.skewed(high));
    EXPECT_EQ(*seen.begin(), 1);
    EXPECT_EQ(*seen.rbegin(), high);
  }
}

TEST(RandomProblem, SeedDecidesEverything) {
  RandomProblemOptions options;
  options.gradients = true;
  options.max_multiplies = 50000;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    RandomProblem a(seed, options), b(seed, options), c(seed + 1, options);
    EXPECT_EQ(a.describe().substr(0, a.describe().find("query=")), b.describe().substr(0, b.describe().find("query=")));
    EXPECT_NE(a.describe(), c.describe());
    EXPECT_EQ(values_of(a.backward_inputs().dout), values_of(b.backward_inputs().dout)) << a.describe();
  }
}

TEST(RandomProblem, ObeysRulesAndLimits) {
  RandomProblemOptions options;
  options.max_pairs = 20000;
  options.max_multiplies = 200000;
  options.max_head_dim = 100;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    RandomProblem random(seed, options);
    const Problem& problem = random.problem();
    const Shape& s = problem.shape;
    const int64_t pairs = s.batch * s.heads * (count_pairs(problem.pattern) + s.tokens() * s.additional);
    ASSERT_LE(pairs, options.max_pairs);
    ASSERT_LE(pairs * (s.head_dim + s.head_dim_v), options.max_multiplies);
    ASSERT_LE(std::max(s.head_dim, s.head_dim_v), options.max_head_dim);
    ASSERT_EQ(s.heads % s.heads_kv, 0);
    ASSERT_EQ(problem.pattern.rank, problem.pattern.order ? 1 : s.rank);
    if (problem.pattern.sphere) {
      const SphereGrids& grids = problem.pattern.sphere->key.grids;
      ASSERT_TRUE(s.grid[0] == grids.query.nlat && s.grid[1] == grids.query.nlon) << random.describe();
      ASSERT_TRUE(problem.key.sizes[1] == grids.key.nlat && problem.key.sizes[2] == grids.key.nlon);
      continue;
    }
    for (int a = 0; a < problem.pattern.rank; ++a) {
      const int64_t length = length_of(problem, a);
      std::visit(
          [&](const auto& axis) {
            ASSERT_TRUE(1 <= axis.stride && axis.stride <= axis.kernel_size && axis.dilation >= 1) << random.describe();
            ASSERT_TRUE(0 <= axis.phase && axis.phase < axis.kernel_size) << random.describe();
            ASSERT_FALSE(axis.wraps() && (axis.is_causal || length % axis.dilation != 0)) << random.describe();
            ASSERT_EQ(axis.queries, length);
            ASSERT_EQ(axis.keys, length);
          },
          problem.pattern.axes[a]);
    }
  }
}

using Kinds = std::set<std::string>;

void note(Kinds& kinds, bool happens, const std::string& what) {
  if (happens) kinds.insert(what);
}

void note_shape_and_modifiers(Kinds& kinds, const Problem& problem) {
  const Shape& s = problem.shape;
  const Modifiers& m = problem.modifiers;
  note(kinds, true, concat("rank ", s.rank));
  note(kinds, true, name_of(problem.query.dtype));
  note(kinds, s.heads > s.heads_kv && s.heads_kv > 1, "grouped heads");
  note(kinds, s.head_dim != s.head_dim_v, "head_dim_v");
  note(kinds, s.head_dim % 2 == 1 && s.head_dim > 1, "odd head_dim");
  note(kinds, s.head_dim > 256, "large head_dim");
  note(kinds, s.batch == 0, "no batch");
  note(kinds, s.tokens() == 0, "no tokens");
  note(kinds, m.additional_keys && s.additional == 0, "M = 0");
  note(kinds, s.additional > 0, "additional keys");
  note(kinds, static_cast<bool>(m.key_mask), "mask");
  note(kinds, static_cast<bool>(m.key_weights), "weights");
  note(kinds, m.key_weights && s.batch > 1 && m.key_weights.strides[0] == 0, "shared weights");
  note(kinds, static_cast<bool>(m.bias), "bias");
  note(kinds, m.softcap > 0, "softcap");
  note(kinds, !m.any(), "no modifier");
  note(kinds, problem.scale == 0, "scale 0");
  note(kinds, problem.scale < 0, "negative scale");
}

void note_layouts(Kinds& kinds, const Problem& problem) {
  const Shape& s = problem.shape;
  const TensorView &query = problem.query, &key = problem.key;
  note(kinds, reinterpret_cast<uintptr_t>(key.data) % 2 == 1, "misaligned");
  note(kinds, key.strides[1] < 0, "backwards");
  note(kinds, key.strides[0] == 0 && s.batch > 1, "broadcast");
  note(kinds, s.tokens() > 1 && s.heads_kv > 1 && key.strides[s.rank + 1] > key.strides[s.rank], "heads first");
  note(kinds, query.at(s.heads * s.head_dim) == key.data, "packed");
}

void note_pattern(Kinds& kinds, const Problem& problem) {
  const auto& order = problem.pattern.order;
  if (order) note(kinds, true, concat("along ", order_name(order->key.kind)));
  if (const auto& sphere = problem.pattern.sphere) {
    const SphereGrids& grids = sphere->key.grids;
    note(kinds, true, sphere->key.is_global ? "global sphere" : "sphere");
    note(kinds, true, concat("latitudes ", sphere_grid_name(grids.query.kind)));
    note(kinds, grids.query.nlon > grids.key.nlon, "up-sampling");
    note(kinds, grids.query.nlon < grids.key.nlon, "down-sampling");
    note(kinds, grids.query.kind != grids.key.kind, "two kinds of latitudes");
    return;
  }
  for (int a = 0; a < problem.pattern.rank; ++a) {
    if (const auto* runs = std::get_if<RunsAxis>(&problem.pattern.axes[a])) {
      note(kinds, true, order ? "runs along an order" : "runs of an axis");
      note(kinds, runs->phase > 0, "shifted runs");
      continue;
    }
    const auto& axis = std::get<NeighborhoodAxis>(problem.pattern.axes[a]);
    note(kinds, true, concat("boundary ", static_cast<int>(axis.boundary)));
    note(kinds, axis.is_causal, "causal");
    note(kinds, axis.kernel_size > axis.keys, "window beyond the axis");
    note(kinds, axis.stride > 1 && axis.stride == axis.kernel_size, "blocked");
    note(kinds, axis.stride > 1 && axis.stride < axis.kernel_size, "stride");
    note(kinds, axis.dilation > 1 && axis.wraps(), "dilated wrap");
    note(kinds, axis.dilation > 1 && axis.keys % axis.dilation != 0, "uneven classes");
    note(kinds, axis.dilation > axis.keys, "dilation beyond the axis");
  }
}

// Everything that the header promises does occur: each of the 55 kinds above and below.
TEST(RandomProblem, IsVaried) {
  Kinds kinds;
  RandomProblemOptions options;
  options.max_multiplies = 60000;
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    RandomProblem random(seed, options);
    note_shape_and_modifiers(kinds, random.problem());
    note_layouts(kinds, random.problem());
    note_pattern(kinds, random.problem());
    note(kinds, !random.outputs().logsumexp, "no logsumexp");
  }
  std::string all;
  for (const std::string& kind : kinds) all += kind + "; ";
  EXPECT_EQ(kinds.size(), 55u) << all;
}

TEST(RandomProblem, NoticesStrayWrites) {
  int gaps = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    RandomProblem random(seed, {.zero_sizes = false, .max_multiplies = 20000});
    const TensorView& out = random.outputs().out;
    random.poison();
    for_each_element(out, [&](const ElementIndex&, int64_t element) {
      ASSERT_TRUE(std::isnan(load_double(out.at(element), out.dtype)));
      store_double(out.at(element), out.dtype, 1);
    });
    ASSERT_EQ(random.damage(), "") << random.describe();

    random.poison();
    std::byte& before = *(out.at(0) - 1);
    // A layout with the heads or an axis backwards has elements there.
    const bool is_gap = std::none_of(out.strides, out.strides + out.rank, [](int64_t stride) { return stride < 0; });
    if (is_gap) {
      ++gaps;
      before ^= std::byte{1};
      ASSERT_NE(random.damage(), "") << random.describe();
    }

    random.poison();
    *random.problem().query.data ^= std::byte{1};
    ASSERT_NE(random.damage(), "") << random.describe();
  }
  EXPECT_GT(gaps, 100);
}

TEST(GuardedBuffer, RefusesElementsThatOverlap) {
  GuardedBuffer buffer(1024);
  Layout layout;
  layout.rank = 2;
  layout.sizes[0] = layout.sizes[1] = 4;
  layout.strides[0] = 3;
  layout.strides[1] = 1;
  layout.offset = 64;
  EXPECT_THROW(buffer.claim(buffer.view(layout)), Error);
}

}  // namespace
}  // namespace nearfield::test
