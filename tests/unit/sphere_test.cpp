// The reach of neighbourhoods on the sphere, against great-circle distances of all pairs of points in long double.
#include "pattern/sphere.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "check/random.h"

namespace nearfield::core {
namespace {

using Long = long double;
constexpr double kPi = std::numbers::pi;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

SphereGrid equiangular(int64_t nlat, int64_t nlon) { return {SphereGridKind::equiangular, nlat, nlon}; }

std::string describe(const SphereGrids& grids) {
  std::ostringstream text;
  for (const SphereGrid& grid : {grids.query, grids.key})
    text << sphere_grid_name(grid.kind) << " " << grid.nlat << "x" << grid.nlon << ", ";
  text.precision(17);
  text << "cutoff " << grids.cutoff << ", tolerance " << grids.tolerance;
  return text.str();
}

struct Point {
  Long x, y, z;
};
Point point_on(Long theta, int64_t j, int64_t nlon) {
  const Long phi = 2 * std::numbers::pi_v<Long> * static_cast<Long>(j) / static_cast<Long>(nlon);
  return {std::sin(theta) * std::cos(phi), std::sin(theta) * std::sin(phi), std::cos(theta)};
}
std::vector<Point> points_of(const SphereGrid& grid) {
  std::vector<Point> points;
  for (const double theta : sphere_latitudes(grid.kind, grid.nlat).theta) {
    for (int64_t j = 0; j < grid.nlon; ++j) points.push_back(point_on(theta, j, grid.nlon));
  }
  return points;
}
// By the cross and dot products: another formula than the library's, as precise everywhere.
Long distance(const Point& a, const Point& b) {
  const Long x = a.y * b.z - a.z * b.y, y = a.z * b.x - a.x * b.z, z = a.x * b.y - a.y * b.x;
  return std::atan2(std::sqrt(x * x + y * y + z * z), a.x * b.x + a.y * b.y + a.z * b.z);
}
bool is_seen(const SphereGrids& grids, const Point& query, const Point& key) {
  return distance(query, key) <= (1 + static_cast<Long>(grids.tolerance)) * grids.cutoff + kSphereSlack;
}

// How often each point (latitude, longitude) of the other grid comes up for one point.
std::vector<int> seen_by(const SphereReach& reach, int64_t latitude, int64_t x) {
  std::vector<int> met(static_cast<size_t>(reach.key_latitudes() * reach.arc().keys));
  const Interval band = reach.keys_of(latitude);
  for (int64_t k = band.start; k < band.end(); ++k) {
    const Interval arc = reach.arc().keys_of(reach.half_width(latitude, k), x);
    for (int64_t y = arc.start; y < arc.end(); ++y)
      ++met[static_cast<size_t>(k * reach.arc().keys + floor_mod(y, reach.arc().keys))];
  }
  return met;
}

// What a reach promises of its own shape. Empty if all is well.
std::string check_bands(const SphereReach& reach) {
  Interval previous = reach.keys_of(0);
  for (int64_t q = 0; q < reach.query_latitudes(); ++q) {
    const Interval band = reach.keys_of(q);
    const std::string where = " at latitude " + std::to_string(q);
    if (band.start < previous.start || band.end() < previous.end()) return "not monotone" + where;
    if (band.start < 0 || band.length < 0 || band.end() > reach.key_latitudes()) return "out of range" + where;
    if (static_cast<int64_t>(reach.half_widths(q).size()) != band.length) return "length" + where;
    for (int64_t k = 0; k < reach.key_latitudes(); ++k) {
      const int64_t w = reach.half_width(q, k);
      if ((w >= 0) != (k >= band.start && k < band.end())) return "not one band" + where;
      if (w < -1 || w > reach.arc().whole_circle()) return "half-width" + where;
      if (w >= 0 && reach.half_widths(q)[static_cast<size_t>(k - band.start)] != w) return "two answers" + where;
    }
    previous = band;
  }
  return "";
}

// All pairs of points, from both sides.
std::string check_pairs(const SphereGrids& grids, const SphereReach& reach) {
  const SphereReach transposed = reach.transposed();
  const std::vector<Point> queries = points_of(grids.query), keys = points_of(grids.key);
  std::vector<std::vector<int>> seen_from_keys;
  for (size_t key = 0; key < keys.size(); ++key) {
    const int64_t at = static_cast<int64_t>(key);
    seen_from_keys.push_back(seen_by(transposed, at / grids.key.nlon, at % grids.key.nlon));
  }
  for (size_t query = 0; query < queries.size(); ++query) {
    const int64_t at = static_cast<int64_t>(query);
    const std::vector<int> met = seen_by(reach, at / grids.query.nlon, at % grids.query.nlon);
    for (size_t key = 0; key < keys.size(); ++key) {
      const int expected = is_seen(grids, queries[query], keys[key]) ? 1 : 0;
      if (met[key] != expected || seen_from_keys[key][query] != expected)
        return "query " + std::to_string(query) + ", key " + std::to_string(key) + ": " + std::to_string(met[key]) +
               " and " + std::to_string(seen_from_keys[key][query]) + " times";
    }
  }
  return "";
}

SphereGrid draw_grid(Random& random, int64_t nlon, bool may_be_one) {
  SphereGrid grid{static_cast<SphereGridKind>(random.below(4)), random.between(2, 11), nlon};
  if (may_be_one && random.chance(0.1)) grid = {SphereGridKind::legendre_gauss, 1, nlon};
  return grid;
}

SphereGrids draw_grids(Random& random) {
  const int64_t coarse = random.between(1, 7), finer = coarse * random.between(1, 4);
  const bool is_upsampling = random.chance(0.5);
  SphereGrids grids;
  grids.query = draw_grid(random, is_upsampling ? finer : coarse, true);
  grids.key = draw_grid(random, is_upsampling ? coarse : finer, false);
  if (random.chance(0.3)) grids.query = grids.key;
  const double tolerances[] = {0, 1e-3, 0.3};
  grids.tolerance = tolerances[random.below(3)];
  const double step = kPi / static_cast<double>(grids.key.nlat - 1);
  switch (random.below(6)) {
    case 0: grids.cutoff = grids.query.nlat < 2 ? step : default_sphere_cutoff(grids.query, grids.key); break;
    case 1: grids.cutoff = step * static_cast<double>(random.between(1, grids.key.nlat)); break;
    case 2:  // the distance of two points on the equator
      grids.cutoff = 2 * kPi * static_cast<double>(random.between(1, finer)) / static_cast<double>(finer);
      break;
    case 3: grids.cutoff = kPi * (random.uniform() + 1e-9); break;
    case 4: grids.cutoff = kPi * std::pow(10, -8 * random.uniform()); break;
    default: grids.cutoff = kPi * (1 - std::pow(10, -8 * random.uniform())); break;
  }
  return grids;
}

TEST(SphereReach, RandomGridsMatchTheDistancesOfAllPairsOfPoints) {
  constexpr uint64_t kSeed = 20250811;
  Random random(kSeed);
  for (int i = 0; i < 1000; ++i) {
    const SphereGrids grids = draw_grids(random);
    const SphereReach reach(grids);
    ASSERT_EQ(reach.query_latitudes(), grids.query.nlat);
    ASSERT_EQ(reach.key_latitudes(), grids.key.nlat);
    ASSERT_EQ(reach.arc(), (SphereArc{grids.query.nlon, grids.key.nlon}));
    const std::string wrong = check_bands(reach) + check_bands(reach.transposed()) + check_pairs(grids, reach);
    ASSERT_EQ(wrong, "") << "seed " << kSeed << ", case " << i << ": " << describe(grids);
    const SphereGrids exchanged{grids.key, grids.query, grids.cutoff, grids.tolerance};
    if (grids.query.nlat > 1) {
      ASSERT_EQ(SphereReach(exchanged), reach.transposed()) << describe(grids);
    }
    ASSERT_EQ(reach.transposed().transposed(), reach) << describe(grids);
  }
}

// A cutoff of exactly the distance of two points lets them see each other; one that is shorter by 1e-13 does not.
TEST(SphereReach, TheEdgeIsPreciseForAnyPairOfPoints) {
  constexpr uint64_t kSeed = 20250812;
  Random random(kSeed);
  int64_t edges = 0;
  for (int i = 0; i < 2000; ++i) {
    SphereGrids grids = draw_grids(random);
    grids.tolerance = 0;
    const int64_t query = random.below(grids.query.nlat * grids.query.nlon);
    const int64_t key = random.below(grids.key.nlat * grids.key.nlon);
    const Long apart =
        distance(points_of(grids.query)[static_cast<size_t>(query)], points_of(grids.key)[static_cast<size_t>(key)]);
    if (apart < 1e-9 || apart > kPi - 1e-9) continue;  // no cutoff, or the whole sphere
    for (const double shorter : {0., 1e-13}) {
      grids.cutoff = static_cast<double>(apart) - shorter;
      const std::vector<int> met = seen_by(SphereReach(grids), query / grids.query.nlon, query % grids.query.nlon);
      ASSERT_EQ(met[static_cast<size_t>(key)], shorter == 0 ? 1 : 0)
          << "seed " << kSeed << ", case " << i << ": " << describe(grids) << ", query " << query << ", key " << key;
      ++edges;
    }
  }
  EXPECT_GT(edges, 3000);
}

// One step of latitude on a grid of degrees: at the equator the four nearest points and itself, all ties.
TEST(SphereReach, KeysOnTheCircleAreSeenWithoutATolerance) {
  const SphereGrid grid = equiangular(181, 360);
  const SphereReach reach({grid, grid, default_sphere_cutoff(grid, grid), 0});
  EXPECT_EQ(reach.keys_of(90), (Interval{89, 3}));
  EXPECT_EQ(reach.half_width(90, 89), 0);
  EXPECT_EQ(reach.half_width(90, 90), 1);
  EXPECT_EQ(reach.half_width(90, 91), 0);
  EXPECT_EQ(reach.half_width(90, 88), -1);
  // The poles are one step from a whole circle, and it from them.
  EXPECT_EQ(reach.half_width(0, 0), 180);
  EXPECT_EQ(reach.half_width(0, 1), 180);
  EXPECT_EQ(reach.half_width(1, 0), 180);
  EXPECT_EQ(reach.keys_of(0), (Interval{0, 2}));
  EXPECT_EQ(reach.keys_of(180), (Interval{179, 2}));
  // Every latitude sees both neighbours: no tie is lost to rounding. North and south are alike.
  for (int64_t q = 0; q < 181; ++q) {
    EXPECT_EQ(reach.keys_of(q), (Interval{max_of(q - 1, 0), q % 180 == 0 ? 2 : 3})) << q;
    for (int64_t k = 0; k < 181; ++k) EXPECT_EQ(reach.half_width(q, k), reach.half_width(180 - q, 180 - k)) << q;
  }
}

TEST(SphereReach, NorthAndSouthAreAlikeOnEveryGrid) {
  for (const int32_t kind : {0, 1, 2, 3}) {
    const SphereGrid grid{static_cast<SphereGridKind>(kind), 60, 120};
    for (const double steps : {1., 2., 3.5, 17., 58.}) {
      const SphereReach reach({grid, grid, steps * default_sphere_cutoff(grid, grid), 0});
      for (int64_t q = 0; q < grid.nlat; ++q) {
        for (int64_t k = 0; k < grid.nlat; ++k)
          ASSERT_EQ(reach.half_width(q, k), reach.half_width(grid.nlat - 1 - q, grid.nlat - 1 - k)) << kind << steps;
      }
    }
  }
}

TEST(SphereReach, TinyCutoffsSeeThePointItself) {
  const SphereGrid grid = equiangular(721, 1440);
  const SphereReach reach({grid, grid, 1e-8, 0});
  for (int64_t q = 0; q < grid.nlat; ++q) {
    ASSERT_EQ(reach.keys_of(q), (Interval{q, 1}));
    ASSERT_EQ(reach.half_width(q, q), q % 720 == 0 ? 720 : 0);
  }
}

TEST(SphereReach, OnlyTheAntipodeIsFartherThanAlmostPi) {
  const SphereGrid grid = equiangular(7, 12);
  const SphereReach reach({grid, grid, kPi - 1e-9, 0});
  for (int64_t q = 0; q < grid.nlat; ++q) {
    const bool is_pole = q % 6 == 0;
    for (int64_t k = 0; k < grid.nlat; ++k)
      EXPECT_EQ(reach.half_width(q, k), k != 6 - q ? 6 : is_pole ? -1 : 5) << q << " " << k;
  }
}

TEST(SphereReach, CutoffsFromPiOnSeeTheWholeSphere) {
  for (const int32_t kind : {0, 1, 2, 3}) {
    const SphereGrid query{static_cast<SphereGridKind>(kind), 8, 12}, key = equiangular(9, 4);
    for (const auto& [cutoff, tolerance] :
         {std::pair{kPi, 0.}, {kPi, 1e-3}, {4., 0.}, {100., 1e-3}, {kInfinity, 0.}, {kPi * 0.9995, 1e-3}}) {
      const SphereReach reach({query, key, cutoff, tolerance});
      for (int64_t q = 0; q < query.nlat; ++q) {
        ASSERT_EQ(reach.keys_of(q), (Interval{0, 9}));
        for (const int32_t w : reach.half_widths(q)) ASSERT_EQ(w, 6) << kind << " " << cutoff;
      }
    }
  }
}

// From the equator the poles are the only keys: a quarter of the way round.
TEST(SphereReach, AQueryMaySeeNothing) {
  const SphereGrid query{SphereGridKind::legendre_gauss, 1, 4}, key = equiangular(2, 8);
  const SphereReach reach({query, key, 1.4, 1e-3});
  EXPECT_EQ(reach.keys_of(0), (Interval{1, 0}));
  EXPECT_EQ(reach.half_width(0, 0), -1);
  EXPECT_EQ(reach.half_width(0, 1), -1);
  EXPECT_EQ(reach.transposed().keys_of(0).length, 0);
  EXPECT_EQ(SphereReach({query, key, 1.6, 1e-3}).keys_of(0), (Interval{0, 2}));
}

// A quarter of a degree: a few rows against all points, and memory.
TEST(SphereReach, AQuarterOfADegreeIsSmallAndRight) {
  const SphereGrid grid = equiangular(721, 1440);
  const double disc = 7 / std::sqrt(kPi) * kPi / 720;
  const SphereGrids grids{grid, grid, disc, 1e-3};
  const SphereReach reach(grids);
  const std::vector<Point> keys = points_of(grid);
  for (const int64_t q : {0, 3, 360, 719}) {
    const std::vector<int> met = seen_by(reach, q, 17);
    const Point query = point_on(sphere_latitudes(grid.kind, grid.nlat).theta[static_cast<size_t>(q)], 17, grid.nlon);
    for (size_t key = 0; key < keys.size(); ++key) ASSERT_EQ(met[key], is_seen(grids, query, keys[key]) ? 1 : 0) << key;
  }
  // The disc reaches 3.95 steps of latitude: 7 circles, of at most 721.
  EXPECT_LE(reach.bytes(), 721 * (7 * 4 + 16) + 8 + 721 * 4);
  EXPECT_LE(reach.transposed().bytes(), reach.bytes());
  const SphereReach whole({grid, grid, kPi, 0});
  EXPECT_LE(whole.bytes(), 721 * (721 * 4 + 16) + 8);
}

TEST(SphereReach, DefaultCutoffsAreAStepOfTheCoarserGrid) {
  EXPECT_EQ(default_sphere_cutoff(equiangular(181, 360), equiangular(181, 360)), kPi / 180);
  EXPECT_EQ(default_sphere_cutoff(equiangular(91, 180), equiangular(181, 360)), kPi / 90);  // down
  EXPECT_EQ(default_sphere_cutoff(equiangular(181, 360), equiangular(91, 180)), kPi / 90);  // up
  EXPECT_EQ(default_sphere_cutoff(equiangular(46, 360), equiangular(91, 360)), kPi / 45);   // longitudes decide
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.status() == Status::invalid_argument ? error.what() : "another status";
  }
  return "no error";
}
// Of valid grids after a change.
std::string message_after(const std::function<void(SphereGrids&)>& change) {
  SphereGrids grids{equiangular(5, 12), equiangular(6, 12), 1, 1e-3};
  change(grids);
  const std::string checked = message_of([&] { check_sphere(grids); });
  return checked == message_of([&] { const SphereReach reach(grids); }) ? checked : "two answers";
}

TEST(SphereReach, ErrorsNameTheArgumentItsValueAndTheRule) {
  using Grids = SphereGrids;
  EXPECT_EQ(message_after([](Grids&) {}), "no error");
  EXPECT_EQ(message_after([](Grids& g) { g.query.nlat = 1; }), "query.nlat=1: must be at least 2");
  EXPECT_EQ(message_after([](Grids& g) { g.query = {SphereGridKind::legendre_gauss, 1, 12}; }), "no error");
  EXPECT_EQ(message_after([](Grids& g) {
              g.query = {SphereGridKind::legendre_gauss, 0, 12};
            }),
            "query.nlat=0: must be at least 1");
  EXPECT_EQ(message_after([](Grids& g) {
              g.key = {SphereGridKind::legendre_gauss, 1, 12};
            }),
            "key.nlat=1: must be at least 2");
  EXPECT_EQ(message_after([](Grids& g) { g.key.nlat = 16385; }), "key.nlat=16385: must be at most 16384");
  EXPECT_EQ(message_after([](Grids& g) { g.query.kind = SphereGridKind{4}; }),
            "query.kind=4: must be at least 0 and at most 3");
  EXPECT_EQ(message_after([](Grids& g) { g.key.kind = SphereGridKind{-1}; }),
            "key.kind=-1: must be at least 0 and at most 3");
  EXPECT_EQ(message_after([](Grids& g) { g.key.nlon = 0; }), "key.nlon=0: must be at least 1");
  EXPECT_EQ(message_after([](Grids& g) { g.query.nlon = 1 << 21; }), "query.nlon=2097152: must be at most 1048576");
  EXPECT_EQ(message_after([](Grids& g) { g.query.nlon = 8; }),
            "query.nlon=8: must divide key.nlon=12 or be a multiple of it");
  EXPECT_EQ(message_after([](Grids& g) { g.query.nlon = 36; }), "no error");
  EXPECT_EQ(message_after([](Grids& g) { g.query.nlon = 4; }), "no error");
  EXPECT_EQ(message_after([](Grids& g) { g.cutoff = 0; }), "cutoff=0: must be above 0");
  EXPECT_EQ(message_after([](Grids& g) { g.cutoff = -1; }), "cutoff=-1: must be above 0");
  EXPECT_EQ(message_after([](Grids& g) { g.cutoff = kNaN; }), "cutoff=nan: must be above 0");
  EXPECT_EQ(message_after([](Grids& g) { g.tolerance = -0.5; }), "tolerance=-0.5: must be at least 0");
  EXPECT_EQ(message_after([](Grids& g) { g.tolerance = kNaN; }), "tolerance=nan: must be at least 0");
  EXPECT_EQ(message_of([] { default_sphere_cutoff(equiangular(1, 8), equiangular(5, 8)); }),
            "query.nlat=1: must be at least 2 where no cutoff is given");
  EXPECT_EQ(message_of([] { default_sphere_cutoff(equiangular(5, 8), equiangular(1, 8)); }),
            "key.nlat=1: must be at least 2");
}

}  // namespace
}  // namespace nearfield::core
