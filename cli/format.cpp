#include "format.h"

#include <fmt/format.h>

#include <cstddef>

namespace nearfield::cli {
namespace {

struct Unit {
  double size;
  const char* name;
};

// In the largest unit that leaves 1 or more; the smallest for anything less. Units go from large to small.
template <size_t N>
std::string in_units(double value, const Unit (&units)[N]) {
  for (const Unit& unit : units)
    if (value >= unit.size) return fmt::format("{:.3g}{}", value / unit.size, unit.name);
  return fmt::format("{:.3g}{}", value / units[N - 1].size, units[N - 1].name);
}

}  // namespace

std::string shape_text(std::span<const int64_t> sizes) {
  return fmt::format("({}{})", fmt::join(sizes, ", "), sizes.size() == 1 ? "," : "");
}

std::string axes_text(std::span<const int64_t> sizes) { return fmt::format("{}", fmt::join(sizes, " x ")); }

std::string seconds_text(double seconds) {
  return in_units(seconds, {{60, " min"}, {1, " s"}, {1e-3, " ms"}, {1e-6, " us"}, {1e-9, " ns"}});
}

std::string bytes_text(double bytes) {
  return in_units(bytes, {{1024.0 * 1024 * 1024, " GiB"}, {1024.0 * 1024, " MiB"}, {1024, " KiB"}, {1, " bytes"}});
}

std::string count_text(double count) {
  return in_units(count, {{1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}, {1, ""}});
}

}  // namespace nearfield::cli
