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

const NeighborhoodAxis& axis_of(const Problem& problem, int a) {
  return std::get<NeighborhoodAxis>(problem.pattern.axes[a]);
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
    for (int a = 0; a < s.rank; ++a) {
      const NeighborhoodAxis& axis = axis_of(problem, a);
      ASSERT_TRUE(1 <= axis.stride && axis.stride <= axis.kernel_size && axis.dilation >= 1) << random.describe();
      ASSERT_FALSE(axis.wraps() && (axis.is_causal || s.grid[a] % axis.dilation != 0)) << random.describe();
      ASSERT_EQ(axis.queries, s.grid[a]);
      ASSERT_EQ(axis.keys, s.grid[a]);
    }
  }
}

// Everything that the header promises does occur: each of the 39 kinds below.
TEST(RandomProblem, IsVaried) {
  std::set<std::string> seen;
  const auto note = [&](bool happens, const std::string& what) {
    if (happens) seen.insert(what);
  };
  RandomProblemOptions options;
  options.max_multiplies = 60000;
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    RandomProblem random(seed, options);
    const Problem& problem = random.problem();
    const Shape& s = problem.shape;
    const Modifiers& m = problem.modifiers;
    note(true, concat("rank ", s.rank));
    note(true, name_of(problem.query.dtype));
    note(s.heads > s.heads_kv && s.heads_kv > 1, "grouped heads");
    note(s.head_dim != s.head_dim_v, "head_dim_v");
    note(s.head_dim % 2 == 1 && s.head_dim > 1, "odd head_dim");
    note(s.head_dim > 256, "large head_dim");
    note(s.batch == 0, "no batch");
    note(s.tokens() == 0, "no tokens");
    note(m.additional_keys && s.additional == 0, "M = 0");
    note(s.additional > 0, "additional keys");
    note(static_cast<bool>(m.key_mask), "mask");
    note(static_cast<bool>(m.key_weights), "weights");
    note(m.key_weights && s.batch > 1 && m.key_weights.strides[0] == 0, "shared weights");
    note(static_cast<bool>(m.bias), "bias");
    note(m.softcap > 0, "softcap");
    note(!m.any(), "no modifier");
    note(problem.scale == 0, "scale 0");
    note(problem.scale < 0, "negative scale");
    note(reinterpret_cast<uintptr_t>(problem.key.data) % 2 == 1, "misaligned");
    note(problem.key.strides[1] < 0, "backwards");
    note(problem.key.strides[0] == 0 && s.batch > 1, "broadcast");
    note(s.tokens() > 1 && s.heads_kv > 1 && problem.key.strides[s.rank + 1] > problem.key.strides[s.rank],
         "heads first");
    note(problem.query.data < problem.key.data &&
             problem.key.data - problem.query.data == s.heads * s.head_dim * size_of(problem.query.dtype),
         "packed");
    note(!random.outputs().logsumexp, "no logsumexp");
    for (int a = 0; a < s.rank; ++a) {
      const NeighborhoodAxis& axis = axis_of(problem, a);
      note(true, concat("boundary ", static_cast<int>(axis.boundary)));
      note(axis.is_causal, "causal");
      note(axis.kernel_size > axis.keys, "window beyond the axis");
      note(axis.stride > 1 && axis.stride == axis.kernel_size, "blocked");
      note(axis.stride > 1 && axis.stride < axis.kernel_size, "stride");
      note(axis.dilation > 1 && axis.wraps(), "dilated wrap");
      note(axis.dilation > 1 && axis.keys % axis.dilation != 0, "uneven classes");
      note(axis.dilation > axis.keys, "dilation beyond the axis");
    }
  }
  EXPECT_EQ(seen.size(), 39u) << [&] {
    std::string all;
    for (const std::string& what : seen) all += what + "; ";
    return all;
  }();
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
