// Conversions of 16-bit elements against a slow definition: list every finite value, take the nearest.
#include "base/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace nearfield::core {
namespace {

struct Format {
  const char* name;
  int exponent_bits, mantissa_bits;
  uint16_t (*from_float)(float);
  uint16_t (*from_double)(double);
  float (*widen)(uint16_t);

  uint16_t infinity() const { return static_cast<uint16_t>(((1 << exponent_bits) - 1) << mantissa_bits); }
  uint16_t quiet() const { return static_cast<uint16_t>(1 << (mantissa_bits - 1)); }
  bool is_nan(uint16_t bits) const { return (bits & 0x7fff) > infinity(); }
  // The definition of a finite pattern's value.
  double value(uint16_t bits) const {
    const int exponent = (bits & 0x7fff) >> mantissa_bits, mantissa = bits & ((1 << mantissa_bits) - 1);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const double magnitude = exponent == 0
                                 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                 : std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
    return bits & 0x8000 ? -magnitude : magnitude;
  }
  // The value that the infinity's pattern would have were it finite: from half-way to it on, a number is infinite.
  double beyond() const {
    return value(static_cast<uint16_t>(infinity() - 1)) * 2 - value(static_cast<uint16_t>(infinity() - 2));
  }

  // Nearest even by bisection over the finite patterns and `beyond`, for any x but NaN. Exact: differences of a double
  // and a 16-bit value nearby are exact, or the comparison is not close.
  uint16_t nearest(double x) const {
    const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    const double magnitude = std::fabs(x);
    if (magnitude >= beyond()) return static_cast<uint16_t>(sign | infinity());
    int low = 0, high = infinity();  // value(low) <= magnitude < value(high)
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (value(static_cast<uint16_t>(middle)) <= magnitude ? low : high) = middle;
    }
    const double below = value(static_cast<uint16_t>(low));
    const double above = high == infinity() ? beyond() : value(static_cast<uint16_t>(high));
    const double half_way = below + (above - below) / 2;  // exact: one more bit than the format has
    const bool up = magnitude > half_way || (magnitude == half_way && low % 2 == 1);
    return static_cast<uint16_t>(sign | (up ? high : low));
  }
};

const Format kFormats[] = {
    {"bfloat16", 8, 7, [](float x) { return bfloat16_from(x); }, [](double x) { return bfloat16_from(x); },
     [](uint16_t b) { return float_from_bfloat16(b); }},
    {"float16", 5, 10, [](float x) { return float16_from(x); }, [](double x) { return float16_from(x); },
     [](uint16_t b) { return float_from_float16(b); }},
};

class DTypeFormat : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(All, DTypeFormat, testing::ValuesIn(kFormats),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(DTypeFormat, EveryPatternRoundTrips) {
  const Format& f = GetParam();
  for (int i = 0; i < 65536; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    const float wide = f.widen(bits);
    if (f.is_nan(bits)) {
      ASSERT_TRUE(std::isnan(wide)) << i;
      ASSERT_EQ(f.from_float(wide), bits | f.quiet()) << i;
      ASSERT_EQ(f.from_double(static_cast<double>(wide)), bits | f.quiet()) << i;
      continue;
    }
    if ((bits & 0x7fff) == f.infinity()) {
      ASSERT_TRUE(std::isinf(wide)) << i;
    } else {
      ASSERT_EQ(static_cast<double>(wide), f.value(bits)) << i;
    }
    ASSERT_EQ(std::signbit(wide), (bits & 0x8000) != 0) << i;
    ASSERT_EQ(f.from_float(wide), bits) << i;
    ASSERT_EQ(f.from_double(static_cast<double>(wide)), bits) << i;
  }
}

TEST_P(DTypeFormat, MidpointsAndTheirNeighboursRoundToNearestEven) {
  const Format& f = GetParam();
  const double infinity = std::numeric_limits<double>::infinity();
  const float infinity_f = std::numeric_limits<float>::infinity();
  for (int i = 0; i < f.infinity(); ++i) {
    const double below = f.value(static_cast<uint16_t>(i));
    const double above = i + 1 == f.infinity() ? f.beyond() : f.value(static_cast<uint16_t>(i + 1));
    const double middle = below + (above - below) / 2;
    // The tie itself goes to the even pattern; independent of nearest().
    const uint16_t even = static_cast<uint16_t>(i % 2 == 0 ? i : i + 1);
    ASSERT_EQ(f.from_double(middle), even) << i;
    for (double x : {middle, std::nextafter(middle, 0.0), std::nextafter(middle, infinity), std::nextafter(below, 0.0),
                     std::nextafter(below, infinity), below + (above - below) * 0.25, below + (above - below) * 0.75}) {
      ASSERT_EQ(f.from_double(x), f.nearest(x)) << i << " " << x;
      ASSERT_EQ(f.from_double(-x), f.nearest(-x)) << i << " " << x;
    }
    const float middle_f = static_cast<float>(middle);  // exact: 24 bits hold one more than the format
    ASSERT_EQ(static_cast<double>(middle_f), middle) << i;
    ASSERT_EQ(f.from_float(middle_f), even) << i;
    for (float x :
         {middle_f, std::nextafter(middle_f, 0.0f), std::nextafter(middle_f, infinity_f),
          std::nextafter(static_cast<float>(below), 0.0f), std::nextafter(static_cast<float>(below), infinity_f)}) {
      ASSERT_EQ(f.from_float(x), f.nearest(static_cast<double>(x))) << i << " " << x;
      ASSERT_EQ(f.from_float(-x), f.nearest(static_cast<double>(-x))) << i << " " << x;
    }
  }
}

// Just above a midpoint by less than float can hold: going through float first would fall back on the tie.
TEST_P(DTypeFormat, DoublesAreRoundedOnce) {
  const Format& f = GetParam();
  const uint16_t one = f.from_float(1.0f);
  ASSERT_EQ(one % 2, 0);
  const double half_step = std::ldexp(1.0, -f.mantissa_bits - 1);
  EXPECT_EQ(f.from_double(1.0 + half_step), one);
  EXPECT_EQ(f.from_double(1.0 + half_step + 1e-15), one + 1);
  EXPECT_EQ(f.from_double(1.0 - half_step / 2 + 1e-16), one);
  EXPECT_EQ(f.from_double(-(1.0 + half_step + 1e-15)), 0x8000 | (one + 1));
}

TEST_P(DTypeFormat, RandomNumbersRoundToNearest) {
  const Format& f = GetParam();
  const unsigned seed = 20240607;
  std::mt19937_64 random(seed);
  for (int i = 0; i < 300000; ++i) {
    const uint64_t bits = random();
    int exponent = 0;
    const double x = std::bit_cast<double>(bits),
                 near = std::ldexp(std::frexp(x, &exponent), static_cast<int>(bits % 300) - 150);
    const float y = std::bit_cast<float>(static_cast<uint32_t>(bits));
    const auto where = [&] { return "seed " + std::to_string(seed) + " case " + std::to_string(i); };
    if (!std::isnan(x)) {
      ASSERT_EQ(f.from_double(x), f.nearest(x)) << where();
    }
    if (std::isfinite(x) && x != 0) {
      ASSERT_EQ(f.from_double(near), f.nearest(near)) << where();
    }
    if (!std::isnan(y)) {
      ASSERT_EQ(f.from_float(y), f.nearest(static_cast<double>(y))) << where();
    }
  }
}

TEST_P(DTypeFormat, ExtremesOverflowOrVanish) {
  const Format& f = GetParam();
  EXPECT_EQ(f.from_double(std::numeric_limits<double>::max()), f.infinity());
  EXPECT_EQ(f.from_double(-std::numeric_limits<double>::infinity()), 0x8000 | f.infinity());
  EXPECT_EQ(f.from_float(std::numeric_limits<float>::infinity()), f.infinity());
  EXPECT_EQ(f.from_float(std::numeric_limits<float>::max()), f.infinity());
  EXPECT_EQ(f.from_double(std::numeric_limits<double>::denorm_min()), 0);
  EXPECT_EQ(f.from_double(-std::numeric_limits<double>::denorm_min()), 0x8000);
  EXPECT_EQ(f.from_float(std::numeric_limits<float>::denorm_min()), 0);
  const double smallest = f.value(1);
  EXPECT_EQ(f.from_double(smallest / 2), 0);
  EXPECT_EQ(f.from_double(std::nextafter(smallest / 2, 1.0)), 1);
}

// Payloads whose upper bits are all zero must not become infinity.
TEST_P(DTypeFormat, EveryNanStaysNan) {
  const Format& f = GetParam();
  for (uint32_t sign : {0u, 0x80000000u}) {
    for (int bit = 0; bit < 23; ++bit) {
      const uint16_t bits = f.from_float(std::bit_cast<float>(sign | 0x7f800000u | (1u << bit)));
      EXPECT_TRUE(f.is_nan(bits)) << bit;
      EXPECT_TRUE(bits & f.quiet()) << bit;
      EXPECT_EQ(bits >> 15, sign >> 31) << bit;
    }
    EXPECT_TRUE(f.is_nan(f.from_float(std::bit_cast<float>(sign | 0x7fffffffu))));
    for (int bit = 0; bit < 52; ++bit) {
      const uint64_t nan = (uint64_t{sign} << 32) | 0x7ff0000000000000u | (uint64_t{1} << bit);
      const uint16_t bits = f.from_double(std::bit_cast<double>(nan));
      EXPECT_TRUE(f.is_nan(bits)) << bit;
      EXPECT_TRUE(bits & f.quiet()) << bit;
      EXPECT_EQ(bits >> 15, sign >> 31) << bit;
    }
  }
}

TEST(DType, LoadsAndStoresAtAnyAddress) {
  for (DType dtype : {DType::float64, DType::float32, DType::bfloat16, DType::float16, DType::boolean}) {
    for (size_t offset = 0; offset < 9; ++offset) {
      std::vector<unsigned char> memory(24, 0xa5);
      const double value = dtype == DType::boolean ? 1 : -1.5;
      store_double(memory.data() + offset, dtype, value);
      EXPECT_EQ(load_double(memory.data() + offset, dtype), value) << name_of(dtype) << " " << offset;
      const size_t end = offset + static_cast<size_t>(size_of(dtype));
      for (size_t i = 0; i < memory.size(); ++i) {
        const bool outside = i < offset || i >= end;
        EXPECT_TRUE(!outside || memory[i] == 0xa5) << name_of(dtype) << " " << offset << " " << i;
      }
    }
  }
  const unsigned char odd = 7;
  EXPECT_EQ(load_double(&odd, DType::boolean), 1);
  float narrowed = 0;
  store_double(&narrowed, DType::float32, 1e300);
  EXPECT_EQ(narrowed, std::numeric_limits<float>::infinity());
}

TEST(DType, NamesAndSizes) {
  EXPECT_STREQ(name_of(DType::float64), "float64");
  EXPECT_STREQ(name_of(DType::float32), "float32");
  EXPECT_STREQ(name_of(DType::bfloat16), "bfloat16");
  EXPECT_STREQ(name_of(DType::float16), "float16");
  EXPECT_STREQ(name_of(DType::boolean), "bool");
  EXPECT_EQ(name_of(static_cast<DType>(9)), nullptr);
  EXPECT_EQ(size_of(DType::bfloat16), 2);
}

}  // namespace
}  // namespace nearfield::core
