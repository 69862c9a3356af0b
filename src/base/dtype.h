// Element types and their conversions.
#pragma once

#include <bit>
#include <cstdint>

namespace nearfield::core {

enum class DType : int32_t { float64 = 0, float32 = 1, bfloat16 = 2, float16 = 3, boolean = 4 };

constexpr int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::float64: return 8;
    case DType::float32: return 4;
    case DType::bfloat16:
    case DType::float16: return 2;
    case DType::boolean: return 1;
  }
  return 0;
}
// "float32"; nullptr outside the enumeration.
const char* name_of(DType dtype);
constexpr bool is_floating(DType dtype) { return dtype != DType::boolean; }
// Sums are held in float64 for float64 tensors, else in float32; logsumexp has this type.
constexpr DType accumulator_of(DType dtype) { return dtype == DType::float64 ? DType::float64 : DType::float32; }

// `a` where the condition holds, else `b`, as masks: a conditional expression with floating-point work on one side
// becomes a branch, and the loop around it stays scalar.
[[gnu::always_inline]] constexpr uint32_t select_bits(bool condition, uint32_t a, uint32_t b) {
  return b ^ ((a ^ b) & (0u - static_cast<uint32_t>(condition)));
}

// Bit patterns. Narrowing rounds to nearest even, overflows to infinity, keeps subnormals, keeps NaN a (quiet) NaN with
// the upper bits of its payload. Widening is exact, payloads included. Written as selects, so that loops vectorise, and
// safe where the host flushes subnormals; float16_from(float) expects the default rounding mode.
// Always inlined: a copy left behind by a file compiled for a newer instruction set could be the one that gets linked.
[[gnu::always_inline]] inline uint16_t bfloat16_from(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<uint16_t>((is_nan ? bits | 0x400000u : rounded) >> 16);
}

[[gnu::always_inline]] inline float float_from_bfloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

[[gnu::always_inline]] inline uint16_t float16_from(float value) {
  constexpr uint32_t kInfinity = 0xffu << 23;            // of float
  constexpr uint32_t kOverflow = (127u + 16u) << 23;     // 2^16: no rounding leads back into range
  constexpr uint32_t kNormal = (127u - 14u) << 23;       // 2^-14, the smallest normal float16
  constexpr uint32_t kMagic = (127u - 24u + 23u) << 23;  // its last bit is worth 2^-24, as a subnormal float16's
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude - ((127u - 15u) << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + std::bit_cast<float>(kMagic)) - kMagic;
  const uint32_t special = magnitude > kInfinity ? 0x7e00u | ((magnitude >> 13) & 0x3ffu) : 0x7c00u;
  const uint32_t finite = select_bits(magnitude < kNormal, subnormal, normal);
  return static_cast<uint16_t>(select_bits(magnitude >= kOverflow, special, finite) | ((bits >> 16) & 0x8000u));
}

[[gnu::always_inline]] inline float float_from_float16(uint16_t bits) {
  constexpr uint32_t kRebias = (127u - 15u) << 23;
  constexpr uint32_t kSmallest = (127u - 14u) << 23;  // 2^-14
  const uint32_t magnitude = (bits & 0x7fffu) << 13;
  const float subnormal = std::bit_cast<float>(magnitude + kSmallest) - std::bit_cast<float>(kSmallest);
  const uint32_t normal = magnitude + kRebias + (magnitude >= (0x1fu << 23) ? kRebias : 0u);  // infinity, NaN: to 255
  const uint32_t result = select_bits(magnitude < (1u << 23), std::bit_cast<uint32_t>(subnormal), normal);
  return std::bit_cast<float>(result | (static_cast<uint32_t>(bits & 0x8000u) << 16));
}

uint16_t bfloat16_from(double value);  // rounded once, not through float
uint16_t float16_from(double value);

// One element at any address, aligned or not. boolean reads as 0 or 1, and stores 1 for anything but 0.
double load_double(const void* element, DType dtype);
void store_double(void* element, DType dtype, double value);

}  // namespace nearfield::core
