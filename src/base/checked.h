// Integer arithmetic that refuses to overflow.
#pragma once

#include <cstdint>

#include "base/error.h"

namespace nearfield::core {

// `what` names the quantity in the error message.
inline int64_t checked_product(int64_t a, int64_t b, const char* what) {
  int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) invalid_argument(what, ": ", a, " * ", b, " exceeds 64 bits");
  return result;
}
inline int64_t checked_sum(int64_t a, int64_t b, const char* what) {
  int64_t result = 0;
  if (__builtin_add_overflow(a, b, &result)) invalid_argument(what, ": ", a, " + ", b, " exceeds 64 bits");
  return result;
}

}  // namespace nearfield::core
