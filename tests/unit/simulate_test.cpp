// The simulator against real plans, enumerated pair by pair, and against published figures.
#include "plan/simulate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <vector>

#include "api_doc.h"
#include "base/error.h"
#include "check/random_geometry.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::core {
namespace {

using Place = std::array<int64_t, kMaxGridRank>;

Place size_of(const Piece (&pieces)[kMaxGridRank], int rank) {
  Place size = {1, 1, 1};
  for (int a = 0; a < rank; ++a) size[static_cast<size_t>(a)] = pieces[a].size;
  return size;
}
int64_t product(const Place& place) { return place[0] * place[1] * place[2]; }

// Calls visit(place) for every place of a box.
template <class Visit>
void for_each_place(const Place& size, Visit visit) {
  for (int64_t i = 0; i < size[0]; ++i)
    for (int64_t j = 0; j < size[1]; ++j)
      for (int64_t k = 0; k < size[2]; ++k) visit(Place{i, j, k});
}

// What one pattern's plan comes to when every pair of every step is looked at.
class Enumeration {
 public:
  Enumeration(const Pattern& pattern, const TileShape& shape) : plan_(pattern, shape), shape_(shape) {
    result_.query_tiles = static_cast<double>(plan_.tile_count());
    StepList steps;
    for (int64_t i = 0; i < plan_.tile_count(); ++i) {
      const Tile tile = plan_.tile(i);
      plan_.expand(tile, steps);
      add(tile, steps);
    }
  }
  const Simulation& result() const { return result_; }

 private:
  // Key coordinates of a tile -> how many of its queries see it.
  using SeenKeys = std::map<Place, int64_t>;

  void add(const Tile& tile, const StepList& steps) {
    Place queries = {1, 1, 1};
    for (int a = 0; a < plan_.rank(); ++a) queries[static_cast<size_t>(a)] = tile.size(a);
    SeenKeys seen;
    double keys = 0;
    for (const Step& step : steps) {
      const Place size = size_of(step.pieces, plan_.rank());
      const int64_t pairs = pairs_of(queries, size, step, seen);
      result_.useful_pairs += static_cast<double>(pairs);
      const auto held = static_cast<double>(product(size));
      keys += held;
      const bool full = pairs == product(size) * product(queries);
      add_unit(result_.steps, held, held * static_cast<double>(product(queries)), full);
    }
    result_.steps.most_units = std::max(result_.steps.most_units, static_cast<double>(steps.size()));
    result_.steps.most_keys = std::max(result_.steps.most_keys, keys);
    add_key_tiles(tile, queries, seen);
  }

  int64_t pairs_of(const Place& queries, const Place& size, const Step& step, SeenKeys& seen) const {
    int64_t pairs = 0;
    for_each_place(size, [&](const Place& at) {
      Place key = {};
      for (int a = 0; a < plan_.rank(); ++a)
        key[static_cast<size_t>(a)] = step.pieces[a].first + at[static_cast<size_t>(a)];
      for_each_place(queries, [&](const Place& query) {
        bool sees = true;
        for (int a = 0; a < plan_.rank(); ++a) {
          const auto axis = static_cast<size_t>(a);
          sees = sees && step.spans[a][query[axis]] != Span{} && step.spans[a][query[axis]].contains(at[axis]);
        }
        if (!sees) return;
        ++pairs;
        ++seen[key];
      });
    });
    return pairs;
  }

  // The class's keys in a fixed tiling.
  void add_key_tiles(const Tile& tile, const Place& queries, const SeenKeys& seen) {
    std::map<Place, int64_t> pairs;  // of each key tile
    for (const auto& [key, count] : seen) {
      Place index = {};
      for (int a = 0; a < plan_.rank(); ++a)
        index[static_cast<size_t>(a)] = key[static_cast<size_t>(a)] / shape_.far[a];
      pairs[index] += count;
    }
    double keys = 0;
    for (const auto& [index, count] : pairs) {
      int64_t held = 1;
      for (int a = 0; a < plan_.rank(); ++a) {
        const int64_t first = index[static_cast<size_t>(a)] * shape_.far[a];
        held *= min_of(shape_.far[a], tile.tables[a]->far - first);
      }
      keys += static_cast<double>(held);
      add_unit(result_.key_tiles, static_cast<double>(held), static_cast<double>(held * product(queries)),
               count == held * product(queries));
    }
    result_.key_tiles.most_units = std::max(result_.key_tiles.most_units, static_cast<double>(pairs.size()));
    result_.key_tiles.most_keys = std::max(result_.key_tiles.most_keys, keys);
  }

  static void add_unit(Visits& visits, double keys, double pairs, bool full) {
    visits.units += 1;
    visits.keys += keys;
    visits.pairs += pairs;
    visits.full_units += full ? 1 : 0;
    visits.full_keys += full ? keys : 0;
  }

  Plan plan_;
  TileShape shape_;
  Simulation result_;
};

void expect_same(const Visits& got, const Visits& expected) {
  EXPECT_EQ(got.units, expected.units);
  EXPECT_EQ(got.keys, expected.keys);
  EXPECT_EQ(got.pairs, expected.pairs);
  EXPECT_EQ(got.most_units, expected.most_units);
  EXPECT_EQ(got.most_keys, expected.most_keys);
  EXPECT_EQ(got.full_units, expected.full_units);
  EXPECT_EQ(got.full_keys, expected.full_keys);
}

void expect_enumerated(const Pattern& pattern, const TileShape& shape) {
  const Simulation got = simulate(pattern, shape), expected = Enumeration(pattern, shape).result();
  EXPECT_EQ(got.query_tiles, expected.query_tiles);
  EXPECT_EQ(got.useful_pairs, expected.useful_pairs);
  {
    SCOPED_TRACE("steps");
    expect_same(got.steps, expected.steps);
  }
  SCOPED_TRACE("key tiles");
  expect_same(got.key_tiles, expected.key_tiles);
}

TEST(Simulate, CountsWhatPlansOfRandomPatternsVisit) {
  RandomProblemOptions options;
  options.max_pairs = 3000;
  constexpr uint64_t kSeed = 20261122;
  for (uint64_t i = 0; i < 1500; ++i) {
    Random random(kSeed + i);
    const Geometry drawn = random_geometry(random, options);
    TileShape shape;
    std::string extents;
    for (int a = 0; a < drawn.pattern.rank; ++a) {
      shape.near[a] = random.skewed(12);
      shape.far[a] = random.skewed(12);
    }
    if (drawn.pattern.has_arcs()) shape.near[0] = 1;
    for (int a = 0; a < drawn.pattern.rank; ++a) extents += concat(" ", shape.near[a], "/", shape.far[a]);
    SCOPED_TRACE(concat("seed ", kSeed + i, ": ", describe_geometry(drawn.shape, drawn.pattern), " tiles", extents));
    expect_enumerated(drawn.pattern, shape);
    if (testing::Test::HasFailure()) return;
  }
}

// Wrapped windows that leave hardly anything out: their complements, too, cross the seam and have gaps.
TEST(Simulate, EveryWrappedAxisUpToNineTokens) {
  for (int64_t n = 1; n <= 9; ++n)
    for (int64_t kernel = 1; kernel <= n + 1; ++kernel)
      for (int64_t stride = 1; stride <= kernel; ++stride)
        for (int64_t near = 1; near <= n; ++near)
          for (int64_t far = 1; far <= n; ++far) {
            Pattern pattern;
            pattern.rank = 1;
            pattern.axes[0] = NeighborhoodAxis{n, n, kernel, stride, 1, false, Boundary::wrap};
            TileShape shape;
            shape.near[0] = near;
            shape.far[0] = far;
            SCOPED_TRACE(concat("n ", n, " kernel_size ", kernel, " stride ", stride, " tiles ", near, "/", far));
            expect_enumerated(pattern, shape);
            if (testing::Test::HasFailure()) return;
          }
}

nf_simulation simulated(std::vector<int64_t> grid, std::vector<int64_t> window, std::vector<int64_t> stride,
                        std::vector<int64_t> tile, std::vector<int64_t> key_tile) {
  return simulate(neighborhood(window).stride(stride), grid, tile, key_tile);
}

// The figures of "Generalized Neighborhood Attention", to the digits that are published.
TEST(Simulate, PublishedBounds) {
  const nf_simulation hunyuan = simulated({30, 48, 80}, {18, 24, 24}, {1, 1, 1}, {4, 8, 8}, {2, 8, 8});
  EXPECT_NEAR(hunyuan.key_tiles.worst_bound, 3.27, 0.0051);
  EXPECT_NEAR(hunyuan.key_tiles.mean_bound, 5.24, 0.0051);
  const nf_simulation flux = simulated({256, 256}, {80, 80}, {1, 1}, {16, 8}, {16, 8});
  EXPECT_NEAR(flux.key_tiles.worst_bound, 6.65, 0.0051);
  EXPECT_NEAR(flux.key_tiles.mean_bound, 7.51, 0.0051);
}

TEST(Simulate, PerfectlyBlockSparseCasesNeedNoMask) {
  const nf_simulation flux = simulated({256, 256}, {80, 80}, {16, 16}, {16, 16}, {16, 16});
  EXPECT_TRUE(is_block_sparse(flux));
  EXPECT_EQ(flux.key_tiles.waste, 1);
  EXPECT_EQ(flux.key_tiles.mean_bound, flux.ideal_bound);
  EXPECT_EQ(flux.key_tiles.worst_bound, 256.0 * 256 / (80 * 80));
  EXPECT_EQ(flux.steps.masked_units, 0);
  const nf_simulation dense = simulated({30, 48, 80}, {30, 48, 80}, {1, 1, 1}, {4, 8, 8}, {2, 8, 8});
  EXPECT_TRUE(is_block_sparse(dense));
  EXPECT_EQ(dense.ideal_bound, 1);
  EXPECT_EQ(dense.steps.mean_bound, 1);
  EXPECT_FALSE(is_block_sparse(simulated({256, 256}, {80, 80}, {1, 1}, {16, 16}, {16, 16})));
}

TEST(Simulate, AMillionTokensOnAnAxis) {
  constexpr int64_t n = 1000000;
  const nf_simulation found = simulated({n}, {100001}, {1}, {64}, {64});
  EXPECT_EQ(found.query_tiles, n / 64);
  EXPECT_EQ(found.useful_pairs, 100001.0 * n);
  EXPECT_EQ(found.steps.most_keys, 100001 + 63);
  EXPECT_EQ(found.key_tiles.most_units, 1565);  // 100064 keys from key 48 of a tile on
}

// Dilation's classes are too short for the tile: more tiles than dense attention has, none of them full.
TEST(Simulate, TilesOfShortClassesCountAgainstTheBound) {
  const auto pattern = neighborhood({3}).dilation({4});
  const nf_simulation found = simulate(pattern, {20}, {8}, {8});
  EXPECT_EQ(found.query_tiles, 4);
  EXPECT_EQ(found.dense_query_tiles, 3);
  EXPECT_EQ(found.key_tiles.units, 4);
  EXPECT_EQ(found.key_tiles.dense_units, 9);
  EXPECT_EQ(found.key_tiles.mean_bound, 9.0 / 4);
  EXPECT_EQ(found.key_tiles.worst_bound, 9.0 / 4);
}

TEST(Simulate, TimesFollowTheRates) {
  const int64_t grid[] = {64}, tile[] = {8}, key_tile[] = {16};
  const auto pattern = neighborhood({16}).stride({16});
  const nf_rates rates = {1, 10, 100, 1000};
  const nf_simulation found = simulate(pattern, grid, tile, key_tile, &rates);
  // 8 tiles, of dense attention 4 steps of 16 keys each; of the pattern one step, nowhere masked.
  EXPECT_EQ(found.steps.dense_seconds, 8 * 64 + 8 * 4 * 100 + 8 * 1000);
  EXPECT_EQ(found.steps.seconds, 8 * 16 + 8 * 100 + 8 * 1000);
  EXPECT_EQ(found.steps.masked_units, 0);
  // Windows begin at 0, 8 + 16i and 48: those of the second kind lie across two key tiles, for 4 of 8 tiles.
  EXPECT_EQ(found.key_tiles.units, 8 + found.key_tiles.masked_units / 2);
  const nf_visits& fixed = found.key_tiles;
  EXPECT_EQ(fixed.seconds, fixed.keys + 10 * 16 * fixed.masked_units + 100 * fixed.units + 8 * 1000);
  EXPECT_EQ(simulate(pattern, grid, tile, key_tile).steps.seconds, 0);
}

TEST(Simulate, NothingIsNoError) {
  const nf_simulation found = simulate(neighborhood({3, 3}), {0, 5}, {1, 1}, {1, 5});
  EXPECT_EQ(found.useful_pairs, 0);
  EXPECT_EQ(found.ideal_bound, 1);
  EXPECT_EQ(found.key_tiles.worst_bound, 1);
  EXPECT_EQ(found.key_tiles.waste, 1);
}

// An older caller's struct ends earlier; what is behind it is not touched.
TEST(Simulate, WritesOnlyTheFieldsThatTheCallerHas) {
  nf_simulation record;
  std::memset(&record, 0x5a, sizeof record);
  record.struct_size = offsetof(nf_simulation, key_tiles);
  const auto pattern = neighborhood({3});
  const int64_t grid[] = {8}, tile[] = {4};
  ASSERT_EQ(nf_simulate(pattern, grid, tile, tile, nullptr, &record), NF_OK);
  EXPECT_EQ(record.ideal_bound, 64.0 / 24);
  const auto* bytes = reinterpret_cast<const unsigned char*>(&record.key_tiles);
  EXPECT_TRUE(std::all_of(bytes, bytes + 2 * sizeof(nf_visits), [](unsigned char byte) { return byte == 0x5a; }));
}

TEST(Simulate, SpheresThatWouldTakeMinutesAreRefused) {
  const nf_sphere sphere = nf_make_sphere(64, 1 << 20, 64, 1 << 20);
  const int64_t grid[] = {64, 1 << 20}, tile[] = {1, 1};
  nf_simulation record = {};
  record.struct_size = sizeof record;
  EXPECT_EQ(nf_simulate(&sphere.pattern, grid, tile, tile, nullptr, &record), NF_UNSUPPORTED);
  EXPECT_NE(std::string(nf_last_error()).find("tile[1]=1: 1048576 tiles"), std::string::npos) << nf_last_error();
}

TEST(Simulate, TheRulesAreDocumented) {
  nf_simulation record = {};
  record.struct_size = sizeof record;
  const auto pattern = neighborhood({3, 3});
  const nf_sphere sphere = nf_make_sphere(8, 16, 8, 16);
  const nf_rates rates = {1, -2, 0, 0};
  const int64_t grid[] = {16, 2048}, no_tile[] = {0, 4}, tile[] = {4, 4}, tall[] = {17, 4}, wide[] = {4, 1025},
                far[] = {4, 2049}, degrees[] = {8, 16};
  test::DocumentedRules page;
  const auto refused = [&](const nf_pattern* of, const int64_t* lengths, const int64_t* queries, const int64_t* keys,
                           const nf_rates* given, nf_simulation* to) {
    EXPECT_EQ(nf_simulate(of, lengths, queries, keys, given, to), NF_INVALID_ARGUMENT);
    page.expect_next(nf_last_error());
  };
  refused(pattern, grid, nullptr, tile, nullptr, &record);
  refused(pattern, grid, tile, nullptr, nullptr, &record);
  refused(pattern, grid, no_tile, tile, nullptr, &record);
  refused(pattern, grid, tall, tile, nullptr, &record);
  refused(pattern, grid, wide, tile, nullptr, &record);
  refused(pattern, grid, tile, no_tile, nullptr, &record);
  refused(pattern, grid, tile, far, nullptr, &record);
  refused(&sphere.pattern, degrees, tile, tile, nullptr, &record);
  refused(pattern, grid, tile, tile, &rates, &record);
  refused(pattern, grid, tile, tile, nullptr, nullptr);
  record.struct_size = 1;
  refused(pattern, grid, tile, tile, nullptr, &record);
}

}  // namespace
}  // namespace nearfield::core
