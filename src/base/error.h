// Errors inside the library: one exception type, turned into a status and a message at the C ABI.
#pragma once

#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
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

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

// The house style of a message is "kernel_size[1]=0: must be at least 1": argument, value, rule.
template <class... Parts>
[[noreturn]] void invalid_argument(const Parts&... parts) {
  throw Error(Status::invalid_argument, concat(parts...));
}

template <class... Parts>
[[noreturn]] void unsupported(const Parts&... parts) {
  throw Error(Status::unsupported, concat(parts...));
}

}  // namespace nearfield::core
