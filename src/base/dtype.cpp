#include "base/dtype.h"

#include <cstring>

namespace nearfield::core {
namespace {

template <class T>
T read(const void* element) {
  T value;
  std::memcpy(&value, element, sizeof value);
  return value;
}

template <class T>
void write(void* element, T value) {
  std::memcpy(element, &value, sizeof value);
}

// Rounds a double once to a 16-bit format of 1 sign, ExponentBits and MantissaBits, in integers only: neither the
// rounding mode nor flushed subnormals of the host matter.
template <int ExponentBits, int MantissaBits>
uint16_t narrow(double value) {
  static_assert(1 + ExponentBits + MantissaBits == 16);
  constexpr int kMaxExponent = (1 << (ExponentBits - 1)) - 1, kMinExponent = 1 - kMaxExponent;
  constexpr uint64_t kInfinity = ((uint64_t{1} << ExponentBits) - 1) << MantissaBits;
  constexpr uint64_t kQuiet = uint64_t{1} << (MantissaBits - 1);

  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const uint64_t sign = (bits >> 63) << 15, mantissa = bits & ((uint64_t{1} << 52) - 1);
  const int biased = static_cast<int>((bits >> 52) & 0x7ff), exponent = biased - 1023;
  if (biased == 0x7ff)
    return static_cast<uint16_t>(sign | kInfinity | (mantissa ? kQuiet | (mantissa >> (52 - MantissaBits)) : 0));
  if (exponent > kMaxExponent) return static_cast<uint16_t>(sign | kInfinity);

  // Below kMinExponent the last bit keeps its worth, so that fewer bits of the significand remain. Subnormal doubles
  // are far below everything and fall out here too.
  const int shift = 52 - MantissaBits + (exponent < kMinExponent ? kMinExponent - exponent : 0);
  if (shift > 53) return static_cast<uint16_t>(sign);
  const uint64_t significand = mantissa | (uint64_t{1} << 52);
  const uint64_t half = uint64_t{1} << (shift - 1), rest = significand & (2 * half - 1);
  uint64_t result = significand >> shift;
  result += rest > half || (rest == half && (result & 1));
  // The significand's leading one counts as one step of the exponent; a carry runs on, up to infinity.
  if (exponent >= kMinExponent) result += static_cast<uint64_t>(exponent - kMinExponent) << MantissaBits;
  return static_cast<uint16_t>(sign | result);
}

}  // namespace

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::float64: return "float64";
    case DType::float32: return "float32";
    case DType::bfloat16: return "bfloat16";
    case DType::float16: return "float16";
    case DType::boolean: return "bool";
  }
  return nullptr;
}

uint16_t bfloat16_from(double value) { return narrow<8, 7>(value); }
uint16_t float16_from(double value) { return narrow<5, 10>(value); }

double load_double(const void* element, DType dtype) {
  switch (dtype) {
    case DType::float64: return read<double>(element);
    case DType::float32: return static_cast<double>(read<float>(element));
    case DType::bfloat16: return static_cast<double>(float_from_bfloat16(read<uint16_t>(element)));
    case DType::float16: return static_cast<double>(float_from_float16(read<uint16_t>(element)));
    case DType::boolean: return read<uint8_t>(element) != 0 ? 1 : 0;
  }
  return 0;
}

void store_double(void* element, DType dtype, double value) {
  switch (dtype) {
    case DType::float64: return write(element, value);
    case DType::float32: return write(element, static_cast<float>(value));
    case DType::bfloat16: return write(element, bfloat16_from(value));
    case DType::float16: return write(element, float16_from(value));
    case DType::boolean: return write(element, static_cast<uint8_t>(value != 0));
  }
}

}  // namespace nearfield::core
