#include "pattern/sphere_grid.h"

#include <cmath>
#include <cstddef>
#include <iterator>
#include <numbers>
#include <string>

#include "base/error.h"

namespace nearfield::core {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr std::string_view kNames[] = {"equiangular", "legendre-gauss", "lobatto", "equiangular-trapezoidal"};

Latitudes empty_grid(int64_t nlat) {
  Latitudes grid;
  grid.theta.resize(static_cast<size_t>(nlat));
  grid.weights.resize(static_cast<size_t>(nlat));
  return grid;
}

// Every grid is computed on the northern half, where theta keeps its relative precision, and mirrored. 0 <= i < half.
void set_pair(Latitudes& grid, int64_t i, double theta, double weight) {
  const int64_t nlat = static_cast<int64_t>(grid.theta.size()), mirrored = nlat - 1 - i;
  const bool is_equator = i == mirrored;
  grid.theta[static_cast<size_t>(mirrored)] = kPi - theta;
  grid.theta[static_cast<size_t>(i)] = is_equator ? kPi / 2 : theta;
  grid.weights[static_cast<size_t>(i)] = grid.weights[static_cast<size_t>(mirrored)] = weight;
}
int64_t northern_half(int64_t nlat) { return (nlat + 1) / 2; }

// With N = nlat - 1, weight_i = (c_i/N)*(1 - sum_j b_j cos(2j theta_i)/(4j^2-1)), j = 1 .. N/2, where c is 1 at the
// poles and 2 elsewhere, and b is 1 for 2j = N and 2 elsewhere. Near the poles that cancels, so we write
// cos(2a) = 1 - 2 sin(a)^2; what is left of 1 is 1/N (N odd) or N/(N^2-1), and all terms are positive.
Latitudes equiangular(int64_t nlat) {
  Latitudes grid = empty_grid(nlat);
  const int64_t steps = nlat - 1;
  const double n = static_cast<double>(steps);
  std::vector<double> squared_sines(static_cast<size_t>(steps));  // of pi*m/N
  for (int64_t m = 0; m < steps; ++m) {
    const double sine = std::sin(kPi * static_cast<double>(m < steps - m ? m : steps - m) / n);
    squared_sines[static_cast<size_t>(m)] = sine * sine;
  }
  for (int64_t i = 0; i < northern_half(nlat); ++i) {
    double sum = steps % 2 == 1 ? 1 / n : n / (n * n - 1);
    for (int64_t j = 1, m = i; 2 * j <= steps; ++j, m = (m + i) % steps) {
      const double b = 2 * j == steps ? 1 : 2, twice = 2 * static_cast<double>(j);
      sum += 2 * b * squared_sines[static_cast<size_t>(m)] / (twice * twice - 1);
    }
    set_pair(grid, i, kPi * static_cast<double>(i) / n, (i == 0 ? 1 : 2) / n * sum);
  }
  return grid;
}

Latitudes equiangular_trapezoidal(int64_t nlat) {
  Latitudes grid = empty_grid(nlat);
  const double n = static_cast<double>(nlat - 1);
  for (int64_t i = 0; i < northern_half(nlat); ++i) {
    // 1 - x = 2i/N = 2 sin(theta/2)^2
    const double theta = 2 * std::asin(std::sqrt(static_cast<double>(i) / n));
    set_pair(grid, i, theta, (i == 0 ? 1 : 2) / n);
  }
  return grid;
}

// P_n(cos theta) and its derivative by theta.
struct Legendre {
  double value = 0, slope = 0;
};

// The three-term recurrence for differences, D_(k+1) = P_(k+1) - P_k = r D_k - (1 + r)(1 - x) P_k with r = k/(k+1):
// near the pole 1 - x = 2 sin(theta/2)^2 is precise, and x is not.
class LegendrePolynomial {
 public:
  explicit LegendrePolynomial(int64_t degree) : ratios_(static_cast<size_t>(degree)) {
    for (size_t k = 0; k < ratios_.size(); ++k) ratios_[k] = static_cast<double>(k) / static_cast<double>(k + 1);
  }

  double degree() const { return static_cast<double>(ratios_.size()); }
  // 0 < theta < pi
  Legendre at(double theta) const {
    const double sine = std::sin(theta / 2), below_one = 2 * sine * sine;
    double value = 1, difference = 0;
    for (const double r : ratios_) {
      difference = r * difference - (1 + r) * below_one * value;
      value += difference;
    }
    return {value, degree() * (difference - below_one * value) / std::sin(theta)};
  }

 private:
  std::vector<double> ratios_;
};

// Newton's method from a guess within 1e-2 of the distance between zeros (4e-3 for large degrees). Each step squares
// that, three reach float64's precision, and the fourth takes what the third has left by rounding.
template <class Correction>
double refine(double theta, Correction correction) {
  for (int step = 0; step < 4; ++step) theta -= correction(theta);
  return theta;
}

Latitudes legendre_gauss(int64_t nlat) {
  Latitudes grid = empty_grid(nlat);
  const LegendrePolynomial polynomial(nlat);
  const double m = static_cast<double>(nlat) + 0.5;
  for (int64_t i = 0; i < northern_half(nlat); ++i) {
    const double phi = (static_cast<double>(i) + 0.75) * kPi / m;
    const double theta = refine(phi + 1 / (8 * m * m * std::tan(phi)), [&](double t) {
      const Legendre p = polynomial.at(t);
      return p.value / p.slope;
    });
    const double slope = polynomial.at(theta).slope;
    set_pair(grid, i, theta, 2 / (slope * slope));
  }
  return grid;
}

Latitudes lobatto(int64_t nlat) {
  Latitudes grid = empty_grid(nlat);
  const LegendrePolynomial polynomial(nlat - 1);
  const double degree = polynomial.degree(), m = degree + 0.5;
  const double pole_weight = 2 / (degree * (degree + 1));
  set_pair(grid, 0, 0, pole_weight);
  for (int64_t i = 1; i < northern_half(nlat); ++i) {
    const double phi = (static_cast<double>(i) + 0.25) * kPi / m;
    const double theta = refine(phi - 3 / (8 * m * m * std::tan(phi)), [&](double t) {
      const Legendre p = polynomial.at(t);
      // Legendre's equation: P'' = -P'/tan(theta) - n(n+1) P, by theta
      return p.slope / (-p.slope / std::tan(t) - degree * (degree + 1) * p.value);
    });
    const double value = polynomial.at(theta).value;
    set_pair(grid, i, theta, pole_weight / (value * value));
  }
  return grid;
}

}  // namespace

SphereGridKind parse_sphere_grid(std::string_view name, std::string_view argument) {
  std::string known;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return static_cast<SphereGridKind>(i);
    known += concat(i == 0 ? "" : i + 1 == std::size(kNames) ? " or " : ", ", kNames[i]);
  }
  invalid_argument(argument, "=", name, ": must be ", known);
}

std::string_view sphere_grid_name(SphereGridKind kind) {
  const auto i = static_cast<int32_t>(kind);
  if (i < 0 || i >= static_cast<int32_t>(std::size(kNames)))
    invalid_argument("kind=", i, ": must be at least 0 and at most ", std::size(kNames) - 1);
  return kNames[i];
}

int64_t min_latitudes(SphereGridKind kind) { return kind == SphereGridKind::legendre_gauss ? 1 : 2; }

Latitudes sphere_latitudes(SphereGridKind kind, int64_t nlat) {
  const std::string_view name = sphere_grid_name(kind);
  if (nlat < min_latitudes(kind))
    invalid_argument("nlat=", nlat, ": must be at least ", min_latitudes(kind), " on a grid of kind ", name);
  if (nlat > kMaxLatitudes) invalid_argument("nlat=", nlat, ": must be at most ", kMaxLatitudes);
  switch (kind) {
    case SphereGridKind::equiangular: return equiangular(nlat);
    case SphereGridKind::legendre_gauss: return legendre_gauss(nlat);
    case SphereGridKind::lobatto: return lobatto(nlat);
    case SphereGridKind::equiangular_trapezoidal: break;
  }
  return equiangular_trapezoidal(nlat);
}

double point_area(double weight, int64_t nlon) { return 2 * kPi * weight / static_cast<double>(nlon); }

std::vector<double> sphere_log_weights(SphereGridKind kind, int64_t nlat, int64_t nlon) {
  if (nlon < 1) invalid_argument("nlon=", nlon, ": must be at least 1");
  std::vector<double> logs = sphere_latitudes(kind, nlat).weights;
  for (double& weight : logs) weight = std::log(point_area(weight, nlon));
  return logs;
}

}  // namespace nearfield::core
