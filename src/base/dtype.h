// Element types and their conversions.
#pragma once

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
const char* name_of(DType dtype);
constexpr bool is_floating(DType dtype) { return dtype != DType::boolean; }
// Sums are held in float64 for float64 tensors, else in float32; logsumexp has this type.
constexpr DType accumulator_of(DType dtype) { return dtype == DType::float64 ? DType::float64 : DType::float32; }

// Bit patterns. Narrowing rounds to nearest even, overflows to infinity, keeps subnormals, keeps NaN a (quiet) NaN.
uint16_t bfloat16_from(float value);
uint16_t bfloat16_from(double value);  // rounded once, not through float
float float_from_bfloat16(uint16_t bits);
uint16_t float16_from(float value);
uint16_t float16_from(double value);
float float_from_float16(uint16_t bits);

// One element at any address, aligned or not. boolean reads as 0 or 1.
double load_double(const void* element, DType dtype);
void store_double(void* element, DType dtype, double value);

}  // namespace nearfield::core
