// Latitudes and weights of the sphere's grids: against published digits, closed forms and residuals in long double, and
// by what the rules have to integrate exactly.
#include "pattern/sphere_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <string>
#include <vector>

#include "base/error.h"

namespace nearfield::core {
namespace {

using Long = long double;
constexpr Long kPi = std::numbers::pi_v<Long>;
constexpr SphereGridKind kKinds[] = {SphereGridKind::equiangular, SphereGridKind::legendre_gauss,
                                     SphereGridKind::lobatto, SphereGridKind::equiangular_trapezoidal};
// What sphere_grid.h promises of the northern half, relative to the value.
constexpr double kThetaTolerance = 1e-14, kWeightTolerance = 1e-13;

std::vector<int64_t> latitude_counts(int64_t fewest) {
  std::vector<int64_t> counts;
  for (int64_t n = fewest; n <= 40; ++n) counts.push_back(n);
  counts.insert(counts.end(), {91, 180, 181, 720, 721});
  return counts;
}

std::string describe(SphereGridKind kind, int64_t nlat) {
  return std::string(sphere_grid_name(kind)) + " " + std::to_string(nlat);
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.status() == Status::invalid_argument ? error.what() : "another status";
  }
  return "no error";
}

struct Node {
  SphereGridKind kind;
  int64_t nlat, i;
  double theta, weight;
};

// From mpmath with 60 digits: Newton's method on the three-term recurrence, and the cosine sums.
const Node kNodes[] = {
    {SphereGridKind::legendre_gauss, 5, 0, 0.43663494922552216204, 0.23692688505618908751},
    {SphereGridKind::legendre_gauss, 5, 1, 1.0021768036431216417, 0.47862867049936646804},
    {SphereGridKind::legendre_gauss, 64, 0, 0.037283743740316131834, 0.0017832807216964329473},
    {SphereGridKind::legendre_gauss, 64, 31, 1.546443627125265522, 0.048690957009139720383},
    {SphereGridKind::legendre_gauss, 181, 0, 0.013249710831731908063, 0.00022525861094242730084},
    {SphereGridKind::legendre_gauss, 181, 45, 0.79189280273667405088, 0.012318486112439212929},
    {SphereGridKind::legendre_gauss, 721, 0, 0.003333091289271618532, 0.000014255252745146954366},
    {SphereGridKind::legendre_gauss, 721, 1, 0.0076508352993049714787, 0.000033183252620227750966},
    {SphereGridKind::legendre_gauss, 721, 200, 0.87411624414969370019, 0.0033396083696604073862},
    {SphereGridKind::legendre_gauss, 721, 359, 1.5664420760683392414, 0.0043542094494023819993},
    {SphereGridKind::legendre_gauss, 2000, 0, 0.0012021122382694455354, 1.8542626102132728197e-6},
    {SphereGridKind::legendre_gauss, 2000, 1, 0.0027593491891098276777, 4.3163659609406649191e-6},
    {SphereGridKind::legendre_gauss, 2000, 500, 0.78637969689923031047, 0.0011115324565065965292},
    {SphereGridKind::legendre_gauss, 2000, 999, 1.5700111249564901987, 0.0015704031927029911815},
    {SphereGridKind::lobatto, 6, 1, 0.69966908930176514426, 0.37847495629784698032},
    {SphereGridKind::lobatto, 6, 2, 1.281548356471880879, 0.55485837703548635302},
    {SphereGridKind::lobatto, 64, 1, 0.060343697444083709104, 0.0030560082449124903786},
    {SphereGridKind::lobatto, 64, 31, 1.5460570757206129349, 0.049463363620776646441},
    {SphereGridKind::lobatto, 721, 1, 0.0053181219886935534866, 0.000023750285041195195435},
    {SphereGridKind::lobatto, 721, 2, 0.0097371108384788456294, 0.000042773795537079604387},
    {SphereGridKind::lobatto, 721, 200, 0.87314849768645187075, 0.0033415397552207546019},
    {SphereGridKind::lobatto, 721, 359, 1.566436028497859111, 0.0043602568477087584861},
    {SphereGridKind::lobatto, 2000, 1, 0.0019163321280361348825, 3.0838665686284765941e-6},
    {SphereGridKind::lobatto, 2000, 999, 1.5700107321591723164, 0.0015711887866119451733},
    {SphereGridKind::equiangular, 7, 1, 0.52359877559829887308, 0.25396825396825396825},
    {SphereGridKind::equiangular, 8, 3, 1.3463968515384828165, 0.43720840579832641044},
    {SphereGridKind::equiangular, 91, 1, 0.034906585039886591538, 0.0011893654246484367359},
    {SphereGridKind::equiangular, 92, 1, 0.034522996193294431192, 0.0011634041449075649185},
    {SphereGridKind::equiangular, 721, 0, 0.0, 1.9290160667748201675e-6},
    {SphereGridKind::equiangular, 721, 1, 0.0043633231299858239423, 0.000018588019368538880005},
    {SphereGridKind::equiangular, 721, 179, 0.78103484026746248567, 0.0030718437010393727163},
    {SphereGridKind::equiangular, 721, 360, 1.5707963267948966192, 0.0043633231448701210389},
    {SphereGridKind::equiangular, 2000, 1, 0.001571582117853823531, 2.4114257499435975083e-6},
    {SphereGridKind::equiangular, 2000, 700, 1.1001074824976764717, 0.0014006821627800899035},
};

TEST(SphereGrid, NodesMatchTheDigitsOfHighPrecision) {
  for (const Node& node : kNodes) {
    const Latitudes grid = sphere_latitudes(node.kind, node.nlat);
    const auto i = static_cast<size_t>(node.i);
    EXPECT_LE(std::abs(grid.theta[i] - node.theta), kThetaTolerance * node.theta) << describe(node.kind, node.nlat);
    EXPECT_LE(std::abs(grid.weights[i] - node.weight), kWeightTolerance * node.weight)
        << describe(node.kind, node.nlat) << " at " << node.i;
  }
}

TEST(SphereGrid, SmallRulesHaveTheirClosedForms) {
  const double root = 2 * std::sqrt(1.2), near = std::sqrt((3 - root) / 7), far = std::sqrt((3 + root) / 7);
  const double near_weight = (18 + std::sqrt(30.)) / 36, far_weight = (18 - std::sqrt(30.)) / 36;
  const struct {
    SphereGridKind kind;
    std::vector<double> x, weights;
  } rules[] = {
      {SphereGridKind::legendre_gauss, {0}, {2}},
      {SphereGridKind::legendre_gauss, {std::sqrt(1. / 3), -std::sqrt(1. / 3)}, {1, 1}},
      {SphereGridKind::legendre_gauss, {std::sqrt(0.6), 0, -std::sqrt(0.6)}, {5. / 9, 8. / 9, 5. / 9}},
      {SphereGridKind::legendre_gauss, {far, near, -near, -far}, {far_weight, near_weight, near_weight, far_weight}},
      {SphereGridKind::lobatto, {1, -1}, {1, 1}},
      {SphereGridKind::lobatto, {1, 0, -1}, {1. / 3, 4. / 3, 1. / 3}},
      {SphereGridKind::lobatto, {1, std::sqrt(0.2), -std::sqrt(0.2), -1}, {1. / 6, 5. / 6, 5. / 6, 1. / 6}},
      {SphereGridKind::equiangular, {1, -1}, {1, 1}},
      {SphereGridKind::equiangular, {1, 0, -1}, {1. / 3, 4. / 3, 1. / 3}},
      {SphereGridKind::equiangular, {1, 0.5, -0.5, -1}, {1. / 9, 8. / 9, 8. / 9, 1. / 9}},
      {SphereGridKind::equiangular_trapezoidal, {1, -1}, {1, 1}},
      {SphereGridKind::equiangular_trapezoidal, {1, 0.5, 0, -0.5, -1}, {0.25, 0.5, 0.5, 0.5, 0.25}},
  };
  for (const auto& rule : rules) {
    const int64_t nlat = static_cast<int64_t>(rule.x.size());
    const Latitudes grid = sphere_latitudes(rule.kind, nlat);
    ASSERT_EQ(grid.theta.size(), rule.x.size());
    ASSERT_EQ(grid.weights.size(), rule.x.size());
    for (size_t i = 0; i < rule.x.size(); ++i) {
      EXPECT_LE(std::abs(grid.theta[i] - std::acos(rule.x[i])), 1e-15 * 2) << describe(rule.kind, nlat);
      EXPECT_LE(std::abs(grid.weights[i] - rule.weights[i]), 1e-15 * 2) << describe(rule.kind, nlat);
    }
  }
}

// P_n(x) and P_(n-1)(x), n >= 1.
struct Pair {
  Long value, before;
};
Pair legendre(int64_t degree, Long x) {
  Pair p{x, 1};
  for (int64_t k = 1; k < degree; ++k)
    p = {(static_cast<Long>(2 * k + 1) * x * p.value - static_cast<Long>(k) * p.before) / static_cast<Long>(k + 1),
         p.value};
  return p;
}

// How far theta is from the exact node (by a step of Newton's method, or by the closed form), and the rule's weight, in
// long double.
struct Residual {
  Long theta, weight;
};
Residual gauss_residual(int64_t nlat, Long theta) {
  const Long x = std::cos(theta), n = static_cast<Long>(nlat);
  const Pair p = legendre(nlat, x);
  const Long slope = n * (x * p.value - p.before) / std::sin(theta);
  return {p.value / slope, 2 / (slope * slope)};
}
Residual lobatto_residual(int64_t nlat, Long theta) {
  const Long x = std::cos(theta), n = static_cast<Long>(nlat - 1);
  const Pair p = legendre(nlat - 1, x);
  const Long slope = n * (x * p.value - p.before) / std::sin(theta);
  const Long curvature = -slope / std::tan(theta) - n * (n + 1) * p.value;
  return {slope / curvature, 2 / (n * (n + 1) * p.value * p.value)};
}
Residual clenshaw_curtis_residual(int64_t nlat, int64_t i, Long theta) {
  const int64_t steps = nlat - 1;
  const Long n = static_cast<Long>(steps), exact = kPi * static_cast<Long>(i) / n;
  Long sum = 1;
  for (int64_t j = 1; 2 * j <= steps; ++j)
    sum -= (2 * j == steps ? 1 : 2) * std::cos(2 * static_cast<Long>(j) * exact) / static_cast<Long>(4 * j * j - 1);
  return {theta - exact, (i == 0 || i == steps ? 1 : 2) * sum / n};
}
Residual trapezoidal_residual(int64_t nlat, int64_t i, Long theta) {
  const Long n = static_cast<Long>(nlat - 1);
  const bool is_pole = i == 0 || i == nlat - 1;
  return {theta - 2 * std::asin(std::sqrt(static_cast<Long>(i) / n)), (is_pole ? 1 : 2) / n};
}
Residual residual(SphereGridKind kind, int64_t nlat, int64_t i, Long theta) {
  if (kind == SphereGridKind::equiangular) return clenshaw_curtis_residual(nlat, i, theta);
  if (kind == SphereGridKind::equiangular_trapezoidal) return trapezoidal_residual(nlat, i, theta);
  if (kind == SphereGridKind::legendre_gauss) return gauss_residual(nlat, theta);
  if (i > 0 && i < nlat - 1) return lobatto_residual(nlat, theta);
  return {theta - (i == 0 ? 0 : kPi), 2 / static_cast<Long>(nlat * (nlat - 1))};
}

TEST(SphereGrid, EveryNodeAndWeightIsPrecise) {
  for (const SphereGridKind kind : kKinds) {
    std::vector<int64_t> counts = latitude_counts(min_latitudes(kind));
    counts.push_back(2000);
    for (const int64_t nlat : counts) {
      const Latitudes grid = sphere_latitudes(kind, nlat);
      ASSERT_EQ(grid.theta.size(), static_cast<size_t>(nlat));
      ASSERT_EQ(grid.weights.size(), static_cast<size_t>(nlat));
      for (size_t i = 0; i < grid.theta.size(); ++i) {
        const Residual found = residual(kind, nlat, static_cast<int64_t>(i), grid.theta[i]);
        // In the south pi - theta rounds as numbers up to pi do.
        const double tolerance = 2 * i < grid.theta.size() ? kThetaTolerance * grid.theta[i] : 2e-15;
        ASSERT_LE(std::abs(found.theta), tolerance) << describe(kind, nlat) << " at " << i;
        // A southern weight stands at a theta that is rounded; compare it in the north, where it is precise.
        const Long exact =
            residual(kind, nlat, std::min<int64_t>(i, nlat - 1 - i), grid.theta[std::min(i, grid.theta.size() - 1 - i)])
                .weight;
        ASSERT_LE(std::abs(grid.weights[i] - exact), kWeightTolerance * exact) << describe(kind, nlat) << " at " << i;
      }
    }
  }
}

TEST(SphereGrid, GridsAscendFromPoleToPoleAndAreSymmetric) {
  for (const SphereGridKind kind : kKinds) {
    for (const int64_t nlat : latitude_counts(min_latitudes(kind))) {
      const Latitudes grid = sphere_latitudes(kind, nlat);
      const bool has_poles = kind != SphereGridKind::legendre_gauss;
      EXPECT_EQ(grid.theta.front() == 0, has_poles) << describe(kind, nlat);
      EXPECT_EQ(grid.theta.back() == std::numbers::pi, has_poles) << describe(kind, nlat);
      if (nlat % 2 == 1) {
        EXPECT_EQ(grid.theta[grid.theta.size() / 2], std::numbers::pi / 2) << describe(kind, nlat);
      }
      Long sum = 0;
      for (size_t i = 0; i < grid.theta.size(); ++i) {
        const size_t mirrored = grid.theta.size() - 1 - i;
        ASSERT_GT(grid.weights[i], 0) << describe(kind, nlat);
        ASSERT_EQ(grid.weights[i], grid.weights[mirrored]) << describe(kind, nlat);
        ASSERT_LE(std::abs(grid.theta[i] + grid.theta[mirrored] - std::numbers::pi), 5e-16) << describe(kind, nlat);
        ASSERT_GT(grid.theta[i], i == 0 ? -1 : grid.theta[i - 1]) << describe(kind, nlat);
        sum += grid.weights[i];
      }
      EXPECT_LE(std::abs(sum - 2), 1e-14) << describe(kind, nlat);
    }
  }
}

int64_t exact_degree(SphereGridKind kind, int64_t nlat) {
  switch (kind) {
    case SphereGridKind::equiangular: return nlat - 1 + nlat % 2;
    case SphereGridKind::legendre_gauss: return 2 * nlat - 1;
    case SphereGridKind::lobatto: return 2 * nlat - 3;
    case SphereGridKind::equiangular_trapezoidal: break;
  }
  return 1;
}

// The rule's sums of P_0 .. P_degree, whose integrals are 2, 0, 0, ...
std::vector<Long> legendre_sums(const Latitudes& grid, int64_t degree) {
  std::vector<Long> sums(static_cast<size_t>(degree + 1));
  for (size_t i = 0; i < grid.theta.size(); ++i) {
    const Long x = std::cos(static_cast<Long>(grid.theta[i]));
    Pair p{1, 0};
    for (int64_t k = 0; k <= degree; ++k) {
      sums[static_cast<size_t>(k)] += grid.weights[i] * p.value;
      const Long next = static_cast<Long>(2 * k + 1) * x * p.value - static_cast<Long>(k) * p.before;
      p = {next / static_cast<Long>(k + 1), p.value};
    }
  }
  return sums;
}

TEST(SphereGrid, PolynomialsAreExactUpToTheRulesDegreeAndNoFurther) {
  for (const SphereGridKind kind : kKinds) {
    for (const int64_t nlat : latitude_counts(min_latitudes(kind))) {
      const int64_t degree = exact_degree(kind, nlat);
      std::vector<Long> sums = legendre_sums(sphere_latitudes(kind, nlat), degree + 1);
      // Clenshaw-Curtis comes closest, by 9e-10 at 720: still thousands of times what an exact degree may leave.
      ASSERT_GT(std::abs(sums.back()), 5e-10) << describe(kind, nlat);
      sums.front() -= 2;
      for (int64_t k = 0; k <= degree; ++k)
        ASSERT_LE(std::abs(sums[static_cast<size_t>(k)]), 1e-13) << describe(kind, nlat) << ", degree " << k;
    }
  }
}

// The trapezoidal rule in x has an error of h^2/3 for the integral of x^2 over [-1, 1].
TEST(SphereGrid, TrapezoidsErrByTheSquareOfTheStep) {
  for (const int64_t nlat : {2, 3, 8, 91, 720}) {
    const Latitudes grid = sphere_latitudes(SphereGridKind::equiangular_trapezoidal, nlat);
    Long sum = 0;
    for (size_t i = 0; i < grid.theta.size(); ++i) {
      const Long x = std::cos(static_cast<Long>(grid.theta[i]));
      sum += grid.weights[i] * x * x;
    }
    const Long step = 2 / static_cast<Long>(nlat - 1);
    EXPECT_LE(std::abs(sum - (2 + step * step) / 3), 1e-14) << nlat;
  }
}

// P_l^m(cos theta) times the norm of a spherical harmonic, by the recurrence in l from the sectoral one.
Long associated_legendre(int64_t l, int64_t m, Long theta) {
  const Long x = std::cos(theta), sine = std::sin(theta);
  Long value = std::sqrt(1 / (4 * kPi));
  for (int64_t k = 1; k <= m; ++k) value *= -sine * std::sqrt(static_cast<Long>(2 * k + 1) / static_cast<Long>(2 * k));
  Long before = 0;
  for (int64_t k = m + 1; k <= l; ++k) {
    const auto factor = [m](int64_t degree) {
      return std::sqrt(static_cast<Long>(4 * degree * degree - 1) / static_cast<Long>(degree * degree - m * m));
    };
    const Long next = factor(k) * (x * value - (k == m + 1 ? 0 : before / factor(k - 1)));
    before = value;
    value = next;
  }
  return value;
}

TEST(SphereGrid, SphericalHarmonicsIntegrateToZero) {
  for (const SphereGridKind kind : kKinds) {
    for (const int64_t nlat : {2, 5, 12, 13}) {
      const int64_t nlon = 2 * nlat, degree = exact_degree(kind, nlat);
      const Latitudes grid = sphere_latitudes(kind, nlat);
      const std::vector<double> logs = sphere_log_weights(kind, nlat, nlon);
      for (int64_t l = 0; l <= degree; ++l) {
        for (int64_t m = 0; m <= l && m < nlon; ++m) {
          Long real = 0, imaginary = 0;
          for (size_t i = 0; i < grid.theta.size(); ++i) {
            const Long scaled = std::exp(static_cast<Long>(logs[i])) * associated_legendre(l, m, grid.theta[i]);
            for (int64_t j = 0; j < nlon; ++j) {
              const Long angle = 2 * kPi * static_cast<Long>(m * j) / static_cast<Long>(nlon);
              real += scaled * std::cos(angle);
              imaginary += scaled * std::sin(angle);
            }
          }
          if (l == 0) real -= std::sqrt(4 * kPi);
          EXPECT_LE(std::abs(real), 1e-13) << describe(kind, nlat) << ", l " << l << ", m " << m;
          EXPECT_LE(std::abs(imaginary), 1e-13) << describe(kind, nlat) << ", l " << l << ", m " << m;
        }
      }
    }
  }
}

TEST(SphereGrid, LogWeightsAreOfAreas) {
  for (const SphereGridKind kind : kKinds) {
    const std::vector<double> logs = sphere_log_weights(kind, 721, 1440);
    Long area = 0;
    for (const double log : logs) area += 1440 * std::exp(static_cast<Long>(log));
    EXPECT_EQ(logs.size(), 721U);
    EXPECT_LE(std::abs(area - 4 * kPi), 1e-13) << sphere_grid_name(kind);
  }
}

TEST(SphereGrid, NamesAreThoseOfTorchHarmonics) {
  const char* names[] = {"equiangular", "legendre-gauss", "lobatto", "equiangular-trapezoidal"};
  for (size_t i = 0; i < std::size(kKinds); ++i) {
    EXPECT_EQ(sphere_grid_name(kKinds[i]), names[i]);
    EXPECT_EQ(parse_sphere_grid(names[i], "grid"), kKinds[i]);
  }
}

TEST(SphereGrid, ErrorsNameTheArgumentItsValueAndTheRule) {
  const auto grid = [](SphereGridKind kind, int64_t nlat) { return [=] { sphere_latitudes(kind, nlat); }; };
  EXPECT_EQ(message_of([] { parse_sphere_grid("healpix", "grid_out"); }),
            "grid_out=healpix: must be equiangular, legendre-gauss, lobatto or equiangular-trapezoidal");
  EXPECT_NE(message_of([] { parse_sphere_grid("", "grid"); }), "no error");
  EXPECT_EQ(message_of([] { sphere_grid_name(SphereGridKind{4}); }), "kind=4: must be at least 0 and at most 3");
  EXPECT_EQ(message_of(grid(SphereGridKind{-1}, 5)), "kind=-1: must be at least 0 and at most 3");
  EXPECT_EQ(message_of(grid(SphereGridKind::equiangular, 1)),
            "nlat=1: must be at least 2 on a grid of kind equiangular");
  EXPECT_EQ(message_of(grid(SphereGridKind::lobatto, -3)), "nlat=-3: must be at least 2 on a grid of kind lobatto");
  EXPECT_EQ(message_of(grid(SphereGridKind::equiangular_trapezoidal, 1)),
            "nlat=1: must be at least 2 on a grid of kind equiangular-trapezoidal");
  EXPECT_EQ(message_of(grid(SphereGridKind::legendre_gauss, 0)),
            "nlat=0: must be at least 1 on a grid of kind legendre-gauss");
  EXPECT_EQ(message_of(grid(SphereGridKind::lobatto, kMaxLatitudes + 1)), "nlat=16385: must be at most 16384");
  EXPECT_EQ(message_of([] { sphere_log_weights(SphereGridKind::lobatto, 5, 0); }), "nlon=0: must be at least 1");
}

}  // namespace
}  // namespace nearfield::core
