// Latitudes of the grids on the sphere, with quadrature weights: float64, computed, never tabulated.
//
// theta is the colatitude in radians, 0 at the north pole, ascending; x = cos(theta). weights sum to 2, the integral of
// sin(theta) over [0, pi]; a point of a circle of nlon longitudes stands for the area 2*pi*weight/nlon, together 4*pi.
//   equiangular              theta_i = pi*i/(nlat-1), both poles; Clenshaw-Curtis; exact for polynomials in x of degree
//                            nlat-1 (nlat if nlat is odd)
//   legendre-gauss           zeros of P_nlat(x), no pole; exact to degree 2*nlat-1
//   lobatto                  zeros of P'_(nlat-1)(x) and both poles; exact to degree 2*nlat-3
//   equiangular-trapezoidal  equal steps of x, both poles, trapezoidal rule: exact to degree 1. Uniform in x, in spite
//   of
//                            its name, so that its circles are far apart near the poles
// Names and definitions are torch-harmonics'. Up to 2000 latitudes theta on the northern half is within 1e-14 of the
// exact value, relative to itself, and weights within 1e-13. The southern half mirrors it: pi - theta, the same weight.
// Clenshaw and Curtis (1960); Tricomi (1950) for the first guesses of Newton's method.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace nearfield::core {

enum class SphereGridKind : int32_t { equiangular = 0, legendre_gauss = 1, lobatto = 2, equiangular_trapezoidal = 3 };

// Gauss nodes cost O(nlat^2): a second or two at the limit, which is 1.2 km on the Earth.
inline constexpr int64_t kMaxLatitudes = 16384;

struct Latitudes {
  std::vector<double> theta, weights;  // [nlat]
};

// "legendre-gauss" and the like. Error: `argument`=<name>: must be one of the four.
SphereGridKind parse_sphere_grid(std::string_view name, std::string_view argument);
// Error: kind=<value> if it is none of the four.
std::string_view sphere_grid_name(SphereGridKind kind);

// The fewest latitudes of a grid: 1 for legendre-gauss (the equator), 2 where both poles belong to it.
int64_t min_latitudes(SphereGridKind kind);

// Errors: nlat below min_latitudes or above kMaxLatitudes, a kind that is none of the four.
Latitudes sphere_latitudes(SphereGridKind kind, int64_t nlat);

// The area that one of a circle's nlon points stands for.
double point_area(double weight, int64_t nlon);

// log(point_area) for each latitude: what the quadrature adds to a key's logit. All finite.
// Errors: as sphere_latitudes; nlon < 1.
std::vector<double> sphere_log_weights(SphereGridKind kind, int64_t nlat, int64_t nlon);

}  // namespace nearfield::core
