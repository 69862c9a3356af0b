// Plans against the definition: every pair of every tile of random problems, enumerated.
#include "plan/plan.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>
#include <vector>

#include "base/error.h"
#include "neighborhood_definition.h"
#include "plan/axis_table.h"

namespace nearfield::core {
namespace {

using test::defined_keys;
using test::KeyOffsets;
using test::kUnseen;

struct Case {
  Pattern pattern;
  TileShape shape;
  bool transposed = false, keep_laps = false;

  const NeighborhoodAxis& axis(int a) const { return std::get<NeighborhoodAxis>(pattern.axes[a]); }
  std::string describe() const {
    std::ostringstream text;
    for (int a = 0; a < pattern.rank; ++a)
      text << "[" << test::describe(axis(a)) << " tile " << shape.near[a] << " step " << shape.far[a] << "] ";
    text << (transposed ? "transposed " : "") << (keep_laps ? "keep_laps" : "");
    return text.str();
  }
};

int64_t pick(std::mt19937& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

Case random_case(std::mt19937& random) {
  Case c;
  c.pattern.rank = static_cast<int>(pick(random, 1, 3));
  const int64_t longest = std::array{40, 11, 6}[c.pattern.rank - 1];
  for (int a = 0; a < c.pattern.rank; ++a) {
    NeighborhoodAxis axis;
    axis.queries = axis.keys = pick(random, 0, 40) == 0 ? 0 : pick(random, 1, longest);
    axis.kernel_size = pick(random, 1, axis.queries + 3);
    axis.stride = pick(random, 0, 1) ? 1 : pick(random, 1, axis.kernel_size);
    axis.boundary = static_cast<Boundary>(pick(random, 0, 2));
    axis.is_causal = !axis.wraps() && pick(random, 0, 2) == 0;
    if (pick(random, 0, 2) != 0) axis.dilation = pick(random, 1, axis.queries + 1);
    while (axis.wraps() && axis.queries % axis.dilation != 0) --axis.dilation;
    c.pattern.axes[a] = axis;
    const int64_t widest = pick(random, 0, 3) == 0 ? 64 : std::array{9, 6, 4}[c.pattern.rank - 1];
    c.shape.near[a] = pick(random, 1, widest);
    c.shape.far[a] = pick(random, 1, widest);
  }
  c.transposed = pick(random, 0, 1);
  c.keep_laps = pick(random, 0, 1);
  return c;
}

// [near token][far token]: offset key - query or kUnseen, on one axis.
std::vector<KeyOffsets> defined_axis(const NeighborhoodAxis& axis, bool transposed) {
  const size_t length = static_cast<size_t>(axis.queries);
  std::vector<KeyOffsets> seen(length, KeyOffsets(length, kUnseen));
  for (int64_t query = 0; query < axis.queries; ++query) {
    const KeyOffsets keys = defined_keys(axis, query);
    for (int64_t key = 0; key < axis.keys; ++key) (transposed ? seen[key][query] : seen[query][key]) = keys[key];
  }
  return seen;
}

// One axis of one step, compared with the definition: every near token against every far token of the piece.
struct AxisEnumeration {
  std::vector<int64_t> near, far;         // tokens
  std::vector<std::vector<bool>> member;  // [near][far]
};

class Enumerator {
 public:
  explicit Enumerator(const Case& c) : case_(c), plan_(c.pattern, c.shape, c.transposed, c.keep_laps) {
    for (int a = 0; a < c.pattern.rank; ++a) {
      defined_.push_back(defined_axis(c.axis(a), c.transposed));
      tokens_ *= c.axis(a).queries;
    }
    pairs_.assign(static_cast<size_t>(tokens_ * tokens_), 0);
  }

  void run() {
    std::vector<int> tiled(static_cast<size_t>(tokens_), 0);
    std::vector<int64_t> previous;
    for (int64_t i = 0; i < plan_.tile_count(); ++i) {
      const Tile tile = plan_.tile(i);
      std::vector<int64_t> number;  // by residue, then along the class; last axis fastest
      for (int a = 0; a < rank(); ++a) {
        number.insert(number.end(), {tile.residue[a], tile.begin(a)});
        ASSERT_GE(tile.size(a), 1);
        ASSERT_LE(tile.size(a), case_.shape.near[a]);
      }
      ASSERT_LT(previous, number) << "order of tiles";
      previous = number;
      for (const int64_t token : box(near_tokens(tile))) ++tiled[static_cast<size_t>(token)];
      ASSERT_NO_FATAL_FAILURE(visit(tile));
    }
    for (const int count : tiled) ASSERT_EQ(count, 1) << "tiles do not partition the tokens";
    check_pairs();
    check_statistics();
  }

 private:
  int rank() const { return case_.pattern.rank; }

  std::vector<std::vector<int64_t>> near_tokens(const Tile& tile) const {
    std::vector<std::vector<int64_t>> tokens(static_cast<size_t>(rank()));
    for (int a = 0; a < rank(); ++a) {
      for (int64_t x = tile.begin(a); x < tile.begin(a) + tile.size(a); ++x)
        tokens[a].push_back(locate(x, tile.residue[a], case_.axis(a).dilation));
    }
    return tokens;
  }

  // Row-major indices of the product of per-axis tokens.
  std::vector<int64_t> box(const std::vector<std::vector<int64_t>>& tokens) const {
    std::vector<int64_t> all{0};
    for (int a = 0; a < rank(); ++a) {
      std::vector<int64_t> longer;
      for (const int64_t index : all)
        for (const int64_t token : tokens[a]) longer.push_back(index * case_.axis(a).queries + token);
      all = std::move(longer);
    }
    return all;
  }

  void visit(const Tile& tile) {
    plan_.expand(tile, steps_);
    std::set<int64_t> visited;
    int64_t tile_size = 1;
    for (int a = 0; a < rank(); ++a) tile_size *= tile.size(a);
    ++enumerated_.tiles;
    for (const Step& step : steps_) {
      std::vector<AxisEnumeration> axes;
      for (int a = 0; a < rank(); ++a) {
        axes.emplace_back();
        ASSERT_NO_FATAL_FAILURE(visit_axis(tile, step, a, axes.back()));
      }
      std::vector<std::vector<int64_t>> far;
      for (const AxisEnumeration& axis : axes) far.push_back(axis.far);
      const std::vector<int64_t> keys = box(far);
      if (!case_.keep_laps) {
        for (const int64_t key : keys) ASSERT_TRUE(visited.insert(key).second) << "a tile visits a key twice";
      }
      const int64_t members = count_pairs(axes);
      ASSERT_GT(members, 0) << "a step without any member";
      const int64_t size = static_cast<int64_t>(keys.size());
      ASSERT_EQ(step.full, members == tile_size * size) << "full";
      (step.full ? enumerated_.full_steps : enumerated_.masked_steps) += 1;
      enumerated_.executed_pairs += tile_size * size;
      enumerated_.useful_pairs += members;
      enumerated_.visited_keys += size;
      if (!step.full) enumerated_.masked_keys += size;
    }
  }

  void visit_axis(const Tile& tile, const Step& step, int a, AxisEnumeration& out) const {
    const Piece piece = step.pieces[a];
    const NeighborhoodAxis& axis = case_.axis(a);
    const int64_t n = tile.tables[a]->far;
    ASSERT_GE(piece.first, 0);
    ASSERT_GE(piece.size, 1);
    ASSERT_LE(piece.first + piece.size, n) << "a piece crosses the seam";
    ASSERT_LE(piece.size, case_.shape.far[a]);
    for (int64_t i = 0; i < piece.size; ++i) out.far.push_back(locate(piece.first + i, tile.residue[a], axis.dilation));
    bool all = true;
    for (int64_t t = 0; t < tile.size(a); ++t) {
      const Span span = step.spans[a][t];
      ASSERT_TRUE(0 <= span.low && span.low <= piece.size && 0 <= span.high && span.high <= piece.size);
      ASSERT_FALSE(span.low > span.high && (case_.keep_laps || !axis.wraps())) << "two ends without clipping";
      const int64_t x = tile.begin(a) + t, near = locate(x, tile.residue[a], axis.dilation);
      out.near.push_back(near);
      out.member.emplace_back();
      for (int64_t i = 0; i < piece.size; ++i) {
        const bool member = span.contains(i);
        out.member.back().push_back(member);
        all = all && member;
        const int64_t defined = defined_[a][near][out.far[i]];
        const bool is_defined = defined != kUnseen;
        // With laps a far token may belong to another lap's piece instead.
        ASSERT_TRUE(case_.keep_laps ? !member || is_defined : member == is_defined)
            << "axis " << a << " near " << near << " far " << out.far[i];
        if (!member || !(case_.keep_laps || !axis.wraps())) continue;
        const int64_t far = piece.first + i + piece.lap * n;
        ASSERT_EQ(case_.transposed ? x - far : far - x, defined) << "bias offset on axis " << a;
      }
    }
    ASSERT_EQ(step.axis_full[a], all) << "full on axis " << a;
  }

  int64_t count_pairs(const std::vector<AxisEnumeration>& axes) {
    std::vector<std::pair<int64_t, int64_t>> pairs{{0, 0}};
    for (int a = 0; a < rank(); ++a) {
      std::vector<std::pair<int64_t, int64_t>> longer;
      const int64_t length = case_.axis(a).queries;
      for (const auto& [near, far] : pairs)
        for (size_t t = 0; t < axes[a].near.size(); ++t)
          for (size_t i = 0; i < axes[a].far.size(); ++i)
            if (axes[a].member[t][i])
              longer.emplace_back(near * length + axes[a].near[t], far * length + axes[a].far[i]);
      pairs = std::move(longer);
    }
    for (const auto& [near, far] : pairs) ++pairs_[static_cast<size_t>(near * tokens_ + far)];
    return static_cast<int64_t>(pairs.size());
  }

  void check_pairs() const {
    for (int64_t near = 0; near < tokens_; ++near) {
      for (int64_t far = 0; far < tokens_; ++far) {
        int64_t rest_near = near, rest_far = far;
        bool expected = true;
        for (int a = rank() - 1; a >= 0; --a) {
          const int64_t length = case_.axis(a).queries;
          expected = expected && defined_[a][rest_near % length][rest_far % length] != kUnseen;
          rest_near /= length, rest_far /= length;
        }
        ASSERT_EQ(pairs_[static_cast<size_t>(near * tokens_ + far)], expected) << "near " << near << " far " << far;
      }
    }
  }

  void check_statistics() const {
    const PlanStatistics& given = plan_.statistics();
    EXPECT_EQ(given.tiles, enumerated_.tiles);
    EXPECT_EQ(given.full_steps, enumerated_.full_steps);
    EXPECT_EQ(given.masked_steps, enumerated_.masked_steps);
    EXPECT_EQ(given.useful_pairs, enumerated_.useful_pairs);
    EXPECT_EQ(given.executed_pairs, enumerated_.executed_pairs);
    EXPECT_EQ(given.visited_keys, enumerated_.visited_keys);
    EXPECT_EQ(given.masked_keys, enumerated_.masked_keys);
  }

  const Case& case_;
  Plan plan_;
  std::vector<std::vector<KeyOffsets>> defined_;  // [axis][near token]
  int64_t tokens_ = 1;
  std::vector<uint8_t> pairs_;  // [near token][far token]: how often it came
  std::vector<Step> steps_;
  PlanStatistics enumerated_;
};

TEST(Plan, RandomProblemsMatchTheDefinition) {
  constexpr uint32_t kSeed = 20240817;
  std::mt19937 random(kSeed);
  for (int i = 0; i < 3000; ++i) {
    const Case c = random_case(random);
    SCOPED_TRACE(concat("seed ", kSeed, " case ", i, ": ", c.describe()));
    Enumerator(c).run();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace nearfield::core
