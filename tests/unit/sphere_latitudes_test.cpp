// Nodes and areas of the grids on the sphere, through the C ABI and C++. sphere_grid_test.cpp has their precision.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "nearfield/nearfield.hpp"
#include "pattern/sphere_grid.h"

namespace nearfield::test {
namespace {

constexpr nf_latitudes kKinds[] = {NF_EQUIANGULAR, NF_LEGENDRE_GAUSS, NF_LOBATTO, NF_EQUIANGULAR_TRAPEZOIDAL};

TEST(SphereLatitudes, AreThoseThatTheKernelsUse) {
  for (const nf_latitudes kind : kKinds)
    for (const int64_t nlat : {2, 3, 9, 181}) {
      const core::Latitudes wanted = core::sphere_latitudes(static_cast<core::SphereGridKind>(kind), nlat);
      const SphereLatitudes found = sphere_latitudes({kind, 0, nlat, 12});
      EXPECT_EQ(found.colatitudes, wanted.theta);
      ASSERT_EQ(found.area_weights.size(), wanted.weights.size());
      double whole = 0;
      for (size_t i = 0; i < found.area_weights.size(); ++i) {
        EXPECT_DOUBLE_EQ(found.area_weights[i], std::numbers::pi / 6 * wanted.weights[i]);
        whole += 12 * found.area_weights[i];
      }
      EXPECT_NEAR(whole, 4 * std::numbers::pi, 1e-12);
    }
}

TEST(SphereLatitudes, GaussNodesAreInTheirPlaces) {
  const SphereLatitudes three = sphere_latitudes({NF_LEGENDRE_GAUSS, 0, 3, 1});
  EXPECT_NEAR(std::cos(three.colatitudes[0]), std::sqrt(0.6), 1e-15);
  EXPECT_DOUBLE_EQ(three.colatitudes[1], std::numbers::pi / 2);
  EXPECT_NEAR(three.area_weights[0], 2 * std::numbers::pi * 5 / 9, 1e-14);
  EXPECT_NEAR(three.area_weights[1], 2 * std::numbers::pi * 8 / 9, 1e-14);
  const SphereLatitudes equator = sphere_latitudes({NF_LEGENDRE_GAUSS, 0, 1, 4});
  EXPECT_DOUBLE_EQ(equator.colatitudes[0], std::numbers::pi / 2);
  EXPECT_DOUBLE_EQ(equator.area_weights[0], std::numbers::pi);
}

// What is asked for is written and nothing else.
TEST(SphereLatitudes, EitherMayBeLeftOut) {
  const nf_sphere_grid grid = {NF_LOBATTO, 0, 4, 6};
  constexpr double kUntouched = -7;
  std::vector<double> theta(5, kUntouched), area(5, kUntouched);
  ASSERT_EQ(nf_sphere_latitudes(&grid, theta.data(), nullptr), NF_OK);
  ASSERT_EQ(nf_sphere_latitudes(&grid, nullptr, area.data()), NF_OK);
  ASSERT_EQ(nf_sphere_latitudes(&grid, nullptr, nullptr), NF_OK);
  EXPECT_EQ(theta[4], kUntouched);
  EXPECT_EQ(area[4], kUntouched);
  const SphereLatitudes both = sphere_latitudes(grid);
  theta.pop_back();
  area.pop_back();
  EXPECT_EQ(theta, both.colatitudes);
  EXPECT_EQ(area, both.area_weights);
}

TEST(SphereLatitudes, NothingIsWrittenWhereTheGridIsRefused) {
  const nf_sphere_grid grid = {NF_EQUIANGULAR, 0, 4, 0};
  double theta = -7, area = -7;
  EXPECT_EQ(nf_sphere_latitudes(&grid, &theta, &area), NF_INVALID_ARGUMENT);
  EXPECT_EQ(theta, -7);
  EXPECT_EQ(area, -7);
  try {
    sphere_latitudes({NF_EQUIANGULAR, 0, std::numeric_limits<int64_t>::max(), 1});
    ADD_FAILURE() << "took a grid of 2^63 latitudes";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), NF_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(error.what()), "grid.nlat=9223372036854775807: must be at most 16384");
  }
}

}  // namespace
}  // namespace nearfield::test
