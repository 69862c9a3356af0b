// The words of a pattern on the sphere on the command line: kinds of latitudes, angles, and what is said of a pattern.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "commands.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {

// equiangular, legendre-gauss, lobatto, equiangular-trapezoidal.
nf_latitudes parse_latitudes(std::string_view text, std::string_view name = "latitudes");
std::string_view name_of(nf_latitudes latitudes);

// "0.035" is radians, "2deg" degrees.
double parse_angle(std::string_view text, std::string_view name);

// In radians: the pattern's own, or the library's default where it has none.
double cutoff_of(const nf_sphere& pattern);

// "sphere; queries 181x360 equiangular; keys 91x180 equiangular; cutoff 0.034907 (2 deg); tolerance 0.001"
std::string sphere_text(const nf_sphere& pattern);

}  // namespace nearfield::cli
