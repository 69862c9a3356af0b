#include "sphere_arguments.h"

#include <fmt/format.h>

#include <numbers>
#include <vector>

#include "arguments.h"
#include "suggest.h"

namespace nearfield::cli {
namespace {

constexpr double kPi = std::numbers::pi;

const std::vector<std::string>& latitude_names() {
  static const std::vector<std::string> names = {"equiangular", "legendre-gauss", "lobatto",
                                                 "equiangular-trapezoidal"};  // in order of nf_latitudes
  return names;
}

std::string text_of(const nf_sphere_grid& grid) {
  return fmt::format("{}x{} {}", grid.nlat, grid.nlon, name_of(static_cast<nf_latitudes>(grid.latitudes)));
}

}  // namespace

nf_latitudes parse_latitudes(std::string_view text, std::string_view name) {
  const std::vector<std::string>& names = latitude_names();
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == text) return static_cast<nf_latitudes>(i);
  throw UsageError(with_suggestion(fmt::format("{}={}: must be one of {}", name, text, fmt::join(names, ", ")),
                                   nearest(text, names)));
}

std::string_view name_of(nf_latitudes latitudes) {
  const auto i = static_cast<size_t>(latitudes);
  if (i >= latitude_names().size()) return "unknown";
  return latitude_names()[i];
}

double parse_angle(std::string_view text, std::string_view name) {
  constexpr std::string_view kDegrees = "deg";
  const bool is_degrees = text.ends_with(kDegrees);
  try {
    const std::string_view number = is_degrees ? text.substr(0, text.size() - kDegrees.size()) : text;
    return parse_number(number, name) * (is_degrees ? kPi / 180 : 1);
  } catch (const UsageError&) {
    throw UsageError(fmt::format("{}={}: must be a number of radians, as 0.035, or of degrees, as 2deg", name, text));
  }
}

double cutoff_of(const nf_sphere& pattern) {
  if (pattern.has_cutoff != 0) return pattern.cutoff;
  const nf_sphere_grid& step = pattern.query.nlon > pattern.key.nlon ? pattern.key : pattern.query;
  return kPi / static_cast<double>(step.nlat - 1);
}

std::string sphere_text(const nf_sphere& pattern) {
  std::string text = fmt::format("{}; queries {}; keys {}", pattern.is_global != 0 ? "sphere-global" : "sphere",
                                 text_of(pattern.query), text_of(pattern.key));
  if (pattern.is_global != 0) return text;
  const double radians = cutoff_of(pattern);
  return fmt::format("{}; cutoff {:.5g} ({:.5g} deg{}); tolerance {}", text, radians, radians * 180 / kPi,
                     pattern.has_cutoff != 0 ? "" : ", the default", pattern.tolerance);
}

}  // namespace nearfield::cli
