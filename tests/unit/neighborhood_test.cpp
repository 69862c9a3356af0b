// The window formulas of one axis, forward and inverse, against the definition: every small axis, enumerated.
#include "pattern/neighborhood.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "neighborhood_definition.h"

namespace nearfield::core {
namespace {

using test::defined_keys;
using test::KeyOffsets;
using test::kUnseen;

constexpr NeighborhoodAxis axis_of(int64_t length, int64_t kernel_size, int64_t stride = 1, bool is_causal = false,
                                   Boundary boundary = Boundary::clamp) {
  return {length, length, kernel_size, stride, 1, is_causal, boundary};
}

// By hand, at compile time.
static_assert(axis_of(10, 3).keys_of(10, 0) == Interval{0, 3});
static_assert(axis_of(10, 3).keys_of(10, 5) == Interval{4, 3});
static_assert(axis_of(10, 3).keys_of(10, 9) == Interval{7, 3});
static_assert(axis_of(10, 4).keys_of(10, 5) == Interval{3, 4});  // the extra key is on the left
static_assert(axis_of(10, 30).keys_of(10, 5) == Interval{0, 10});
static_assert(axis_of(10, 3, 1, true).keys_of(10, 5) == Interval{3, 3});
static_assert(axis_of(12, 4, 4, true).keys_of(12, 6) == Interval{4, 3});  // blocked causal
static_assert(axis_of(10, 3, 1, false, Boundary::wrap).keys_of(10, 0) == Interval{-1, 3});
static_assert(axis_of(10, 3, 1, false, Boundary::wrap).queries_of(10, 0) == Interval{-1, 3});
static_assert(axis_of(10, 10, 1, false, Boundary::wrap).keys_of(10, 0) == Interval{-4, 10});
static_assert(axis_of(10, 3, 1, false, Boundary::cut).keys_of(10, 0) == Interval{0, 2});
static_assert(axis_of(10, 3).queries_of(10, 0) == Interval{0, 2});
static_assert(axis_of(10, 3).queries_of(10, 2) == Interval{0, 4});

// The largest window overflows nothing.
constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
constexpr bool sees_everything(bool is_causal, Boundary boundary) {
  for (const int64_t stride : {int64_t{1}, kHuge}) {
    const NeighborhoodAxis axis = axis_of(10, kHuge, stride, is_causal, boundary);
    for (int64_t x = 0; x < 10; ++x) {
      if (axis.keys_of(10, x).length != (is_causal ? x + 1 : 10)) return false;
      if (axis.queries_of(10, x).length != (is_causal ? 10 - x : 10)) return false;
    }
  }
  return true;
}
static_assert(sees_everything(false, Boundary::clamp) && sees_everything(false, Boundary::wrap));
static_assert(sees_everything(false, Boundary::cut) && sees_everything(true, Boundary::clamp));

static_assert(floor_div(-1, 4) == -1 && floor_mod(-1, 4) == 3 && floor_div(-4, 4) == -1 && floor_mod(-4, 4) == 0);
static_assert(ceil_div(-1, 4) == 0 && ceil_div(5, 4) == 2 && clamp_to(7, 0, 3) == 3 && clamp_to(-7, 0, 3) == 0);

// One side of an axis: interval_of(x) against expected[token][other token]. Empty if all is well.
template <class IntervalOf>
std::string compare(const NeighborhoodAxis& axis, const std::vector<KeyOffsets>& expected, int64_t sign,
                    IntervalOf interval_of) {
  const int64_t d = axis.dilation;
  std::vector<int> met(static_cast<size_t>(axis.queries));
  for (int64_t residue = 0; residue < min_of(d, axis.queries); ++residue) {
    const int64_t n = ceil_div(axis.queries - residue, d);
    Interval previous = interval_of(n, 0);
    for (int64_t x = 0; x < n; ++x) {
      const std::string where = " of token " + std::to_string(x * d + residue);
      const Interval interval = interval_of(n, x);
      const KeyOffsets& others = expected[static_cast<size_t>(x * d + residue)];
      if (interval.start < previous.start || interval.end() < previous.end()) return "not monotone at x" + where;
      previous = interval;
      int64_t left_over = axis.queries - std::count(others.begin(), others.end(), kUnseen);
      met.assign(met.size(), 0);
      for (int64_t y = interval.start; y < interval.end(); ++y) {
        if (!axis.wraps() && (y < 0 || y >= n)) return "out of range" + where;
        const int64_t token = floor_mod(y, n) * d + residue;
        if (++met[static_cast<size_t>(token)] != 1) return "twice" + where;
        const int64_t offset = others[static_cast<size_t>(token)];
        if (offset == kUnseen) return "not a neighbour" + where + ": " + std::to_string(token);
        if (offset != sign * (y - x)) return "offset" + where + ": " + std::to_string(token);
        --left_over;
      }
      if (left_over != 0) return "neighbours missing" + where;
    }
  }
  return "";
}

std::string check(const NeighborhoodAxis& axis) {
  const size_t length = static_cast<size_t>(axis.queries);
  std::vector<KeyOffsets> keys(length), queries(length, KeyOffsets(length, kUnseen));
  for (int64_t query = 0; query < axis.queries; ++query) {
    keys[query] = defined_keys(axis, query);
    for (int64_t key = 0; key < axis.keys; ++key) queries[key][query] = keys[query][key];
  }
  std::string wrong = compare(axis, keys, 1, [&](int64_t n, int64_t x) { return axis.keys_of(n, x); });
  if (!wrong.empty()) return "keys: " + wrong;
  wrong = compare(axis, queries, -1, [&](int64_t n, int64_t y) { return axis.queries_of(n, y); });
  return wrong.empty() ? "" : "queries: " + wrong;
}

struct Rule {
  Boundary boundary;
  bool is_causal;
};

class Neighborhood : public testing::TestWithParam<Rule> {};

TEST_P(Neighborhood, EverySmallAxisMatchesTheDefinition) {
  int64_t axes = 0;
  for (int64_t length = 1; length <= 25; ++length) {
    for (int64_t dilation = 1; dilation <= 4; ++dilation) {
      if (GetParam().boundary == Boundary::wrap && length % dilation != 0) continue;
      for (int64_t kernel_size = 1; kernel_size <= length + 3; ++kernel_size) {
        for (int64_t stride = 1; stride <= kernel_size; ++stride, ++axes) {
          const NeighborhoodAxis axis{
              length, length, kernel_size, stride, dilation, GetParam().is_causal, GetParam().boundary};
          const std::string wrong = check(axis);
          ASSERT_EQ(wrong, "") << test::describe(axis);
        }
      }
    }
  }
  EXPECT_GT(axes, 4000);
}

INSTANTIATE_TEST_SUITE_P(All, Neighborhood,
                         testing::Values(Rule{Boundary::clamp, false}, Rule{Boundary::cut, false},
                                         Rule{Boundary::wrap, false}, Rule{Boundary::clamp, true},
                                         Rule{Boundary::cut, true}));

}  // namespace
}  // namespace nearfield::core
