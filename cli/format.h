// Numbers for people.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace nearfield::cli {

std::string shape_text(std::span<const int64_t> sizes);  // "(1, 56, 56, 2, 32)"
std::string seconds_text(double seconds);                // "1.23 ms"
std::string bytes_text(double bytes);                    // "1.5 MiB"
std::string count_text(double count);                    // "1.23e+06" becomes "1.23 M"
std::string axes_text(std::span<const int64_t> sizes);   // "8 x 8"

}  // namespace nearfield::cli
