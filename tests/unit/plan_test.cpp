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
  StepList steps_;
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

Pattern pattern_of(std::vector<NeighborhoodAxis> axes) {
  Pattern pattern;
  pattern.rank = static_cast<int>(axes.size());
  for (int a = 0; a < pattern.rank; ++a) pattern.axes[a] = axes[static_cast<size_t>(a)];
  return pattern;
}

NeighborhoodAxis axis_of(int64_t length, int64_t kernel_size, int64_t stride = 1, int64_t dilation = 1) {
  return {length, length, kernel_size, stride, dilation};
}

std::string message_of(const Pattern& pattern, const TileShape& shape) {
  try {
    const Plan plan(pattern, shape);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(Plan, EmptyAxesHaveNoTiles) {
  for (const bool transposed : {false, true}) {
    const Plan plan(pattern_of({axis_of(5, 3), axis_of(0, 3, 1, 2)}), {{2, 2, 1}, {4, 4, 1}}, transposed);
    EXPECT_EQ(plan.tile_count(), 0);
    EXPECT_EQ(plan.axis(1).classes, 0);
    EXPECT_EQ(plan.statistics().useful_pairs, 0);
    EXPECT_EQ(plan.statistics().executed_pairs, 0);
    EXPECT_EQ(plan.statistics().waste(), 1.0);
  }
}

TEST(Plan, DilationBeyondTheAxisMakesEveryTokenAClass) {
  const Plan plan(pattern_of({axis_of(5, 3, 1, 9)}), {{4, 1, 1}, {4, 1, 1}});
  EXPECT_EQ(plan.axis(0).classes, 5);
  EXPECT_EQ(plan.tile_count(), 5);
  EXPECT_EQ(plan.statistics().useful_pairs, 5);
  EXPECT_EQ(plan.statistics().masked_steps, 0);
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(plan.tile(i).residue[0], i);
}

TEST(Plan, ClassesOfTwoLengths) {
  const Plan plan(pattern_of({axis_of(11, 3, 1, 4)}), {{2, 1, 1}, {8, 1, 1}});
  EXPECT_EQ(plan.axis(0).classes, 4);
  EXPECT_EQ(plan.axis(0).long_classes, 3);
  EXPECT_EQ(plan.axis(0).table(2).near, 3);
  EXPECT_EQ(plan.axis(0).table(3).near, 2);
  EXPECT_EQ(plan.axis(0).tiles(), 3 * 2 + 1);
}

TEST(Plan, BlockedWindowsNeedNoMask) {
  const Plan plan(pattern_of({axis_of(32, 8, 8), axis_of(32, 8, 8)}), {{8, 8, 1}, {8, 8, 1}});
  EXPECT_EQ(plan.statistics().masked_steps, 0);
  EXPECT_EQ(plan.statistics().masked_keys, 0);
  EXPECT_EQ(plan.statistics().full_steps, 16);
  EXPECT_EQ(plan.statistics().waste(), 1.0);
}

// Far from the border a 4x4 tile of a 7x7 window visits 10x10 keys, and a 1x16 tile 7x22.
TEST(Plan, WasteOfLargeGridsApproachesTheInterior) {
  const Pattern pattern = pattern_of({axis_of(1024, 7), axis_of(1024, 7)});
  const Plan square(pattern, {{4, 4, 1}, {10, 10, 1}}), line(pattern, {{1, 16, 1}, {7, 22, 1}});
  EXPECT_NEAR(square.statistics().waste(), 100.0 / 49, 0.02);
  EXPECT_NEAR(line.statistics().waste(), 154.0 / 49, 0.02);
}

TEST(Plan, MemoryIsTheSumOfTheAxes) {
  const TileShape cube{{2, 4, 2}, {4, 4, 8}}, square{{4, 4, 1}, {8, 8, 1}};
  const Plan volume(pattern_of({axis_of(30, 18), axis_of(48, 24), axis_of(80, 24)}), cube);
  const Plan image(pattern_of({axis_of(1024, 7), axis_of(1024, 7)}), square);
  EXPECT_LT(volume.bytes(), size_t{100} << 10);
  EXPECT_LT(image.bytes(), size_t{200} << 10);
  EXPECT_EQ(volume.statistics().useful_pairs, int64_t{30 * 48 * 80} * (18 * 24 * 24));
}

TEST(Plan, NamesWhatIsWrong) {
  const Pattern pattern = pattern_of({axis_of(5, 3), axis_of(5, 3)});
  EXPECT_EQ(message_of(pattern, {{1, 0, 1}, {1, 1, 1}}), "tile.near[1]=0: must be at least 1");
  EXPECT_EQ(message_of(pattern, {{1, 1, 1}, {-2, 1, 1}}), "tile.far[0]=-2: must be at least 1");
  EXPECT_EQ(message_of(Pattern{}, {}), "rank=0: must be 1, 2 or 3");
}

// Only the counts are large: three axes of global attention.
TEST(Plan, StatisticsBeyond64BitsAreAnError) {
  const NeighborhoodAxis axis = axis_of(4096, 4096);
  const TileShape whole{{4096, 4096, 4096}, {4096, 4096, 4096}};
  const int64_t square = int64_t{1} << 48;
  EXPECT_EQ(Plan(pattern_of({axis, axis}), whole).statistics().useful_pairs, square);
  EXPECT_NE(message_of(pattern_of({axis, axis, axis}), whole).find("exceeds 64 bits"), std::string::npos);
}

TEST(Plan, ARuleThatGoesBackwardsIsAnInternalError) {
  NeighborhoodAxis axis = axis_of(8, 1, 4);  // a stride beyond the window is refused long before
  axis.is_causal = true;
  try {
    const Plan plan(pattern_of({axis}), {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::internal_error);
  }
}

}  // namespace
}  // namespace nearfield::core
