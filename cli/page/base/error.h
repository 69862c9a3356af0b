// In the page's module: the same errors without streams, which are most of a small module. See src/base/error.h.
#pragma once

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace nearfield::core {

enum class Status : int32_t { ok = 0, invalid_argument = 1, unsupported = 2, out_of_memory = 3, internal_error = 4 };

class Error : public std::exception {
 public:
  Error(Status status, std::string message) : status_(status), message_(std::move(message)) {}
  Status status() const noexcept { return status_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  Status status_;
  std::string message_;
};

template <class Part>
void append(std::string& text, const Part& part) {
  if constexpr (std::is_integral_v<Part>) {
    text += std::to_string(part);
  } else if constexpr (std::is_floating_point_v<Part>) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%g", part);
    text += digits;
  } else {
    text += std::string_view(part);
  }
}

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::string text;
  (append(text, parts), ...);
  return text;
}

template <class... Parts>
[[noreturn]] void invalid_argument(const Parts&... parts) {
  throw Error(Status::invalid_argument, concat(parts...));
}

template <class... Parts>
[[noreturn]] void unsupported(const Parts&... parts) {
  throw Error(Status::unsupported, concat(parts...));
}

}  // namespace nearfield::core
