// The vector vocabulary, lane by lane against scalar formulas. docs/vocabulary.md states the formulas.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/dtype.h"
#include "engine/cpu/kernels.h"
#include "simd_cases.h"

namespace nearfield::core {
namespace {

constexpr uint64_t kSeed = 20240611;
const int64_t kRounds = rounds_of(20000);

// Whoever skips an instruction set has to be told so by the library, and by name.
TEST(Simd, AnInstructionSetIsLeftOutOnlyWhereTheLibrarySaysSo) {
  EXPECT_EQ(avx2_float_operations() == nullptr, avx2_float_kernels() == nullptr);
  EXPECT_EQ(avx2_double_operations() == nullptr, avx2_double_kernels() == nullptr);
  EXPECT_EQ(avx512_float_operations() == nullptr, avx512_float_kernels() == nullptr);
  EXPECT_EQ(avx512_double_operations() == nullptr, avx512_double_kernels() == nullptr);
  EXPECT_EQ(neon_float_operations() == nullptr, neon_float_kernels() == nullptr);
  EXPECT_EQ(neon_double_operations() == nullptr, neon_double_kernels() == nullptr);
  const std::vector<std::string> named = {"AVX2", "AVX-512", "64-bit Arm"};
  const auto floats = native_operations<float>();
  const auto doubles = native_operations<double>();
  for (size_t i = 0; i < floats.size(); ++i) {
    const char* missing = isa_unavailable(floats[i].isa);
    if (missing == nullptr) {
      EXPECT_NE(floats[i].operations, nullptr) << named[i];
      EXPECT_NE(doubles[i].operations, nullptr) << named[i];
    } else {
      EXPECT_NE(std::string(missing).find(named[i]), std::string::npos) << missing;
    }
  }
}

template <class T>
class SimdOf : public testing::Test {
 protected:
  using Array = T[kMaxLanes];
  // Calls body(operations) for every vector type that can run.
  template <class Body>
  void each(Body body) {
    for (const SimdOperations<T>* o : runnable_operations<T>()) {
      SCOPED_TRACE(std::string(o->name) + ", seed " + std::to_string(kSeed));
      ASSERT_LE(o->lanes, kMaxLanes);
      body(*o);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  Random random{kSeed};
};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(SimdOf, Scalars);

TYPED_TEST(SimdOf, ConstantsFillEveryLane) {
  using T = TypeParam;
  this->each([&](const SimdOperations<T>& o) {
    for (int64_t round = 0; round < kRounds; ++round) {
      T zero[kMaxLanes], set[kMaxLanes], broadcast[kMaxLanes], source[2] = {awkward<T>(this->random), 0};
      o.zero(zero);
      o.set(source[0], set);
      o.broadcast(source, broadcast);
      for (int i = 0; i < o.lanes; ++i) {
        ASSERT_TRUE(identical(zero[i], T{0})) << i;
        ASSERT_TRUE(same_value(set[i], source[0])) << i << ": " << hex(set[i]) << " of " << hex(source[0]);
        ASSERT_TRUE(identical(broadcast[i], source[0])) << i << ": " << hex(broadcast[i]) << " of " << hex(source[0]);
      }
    }
  });
}

// At every misalignment that an element pointer can have: exactly the lanes are read, exactly the lanes are written.
TYPED_TEST(SimdOf, LoadsAndStoresMoveBitsAtAnyAddress) {
  using T = TypeParam;
  this->each([&](const SimdOperations<T>& o) {
    const size_t bytes = static_cast<size_t>(o.lanes) * sizeof(T);
    for (size_t shift = 0; shift < 64; ++shift) {
      alignas(64) unsigned char source[64 + kMaxLanes * sizeof(T)], target[192 + kMaxLanes * sizeof(T)];
      for (unsigned char& byte : source) byte = static_cast<unsigned char>(this->random.bits());
      T lanes[kMaxLanes];
      o.load_any(source + shift, lanes);
      ASSERT_EQ(std::memcmp(lanes, source + shift, bytes), 0) << shift;
      std::memset(target, 0xc5, sizeof target);
      o.store_any(lanes, target + 64 + shift);
      ASSERT_EQ(std::memcmp(lanes, target + 64 + shift, bytes), 0) << shift;
      for (size_t i = 0; i < sizeof target; ++i)
        ASSERT_TRUE((i >= 64 + shift && i < 64 + shift + bytes) || target[i] == 0xc5) << shift << " byte " << i;
    }
    for (int shift = 0; shift < kMaxLanes; ++shift) {
      T source[2 * kMaxLanes], target[3 * kMaxLanes], once[3 * kMaxLanes];
      fill_awkward(this->random, source, 2 * kMaxLanes);
      std::fill_n(target, 3 * kMaxLanes, T{77});
      std::fill_n(once, 3 * kMaxLanes, T{77});
      o.load(source + shift, target + kMaxLanes + shift);
      o.load_once(source + shift, once + kMaxLanes + shift);
      for (int i = -kMaxLanes - shift; i < 2 * kMaxLanes - shift; ++i) {
        const T expected = i >= 0 && i < o.lanes ? source[shift + i] : T{77};
        ASSERT_TRUE(identical(target[kMaxLanes + shift + i], expected)) << shift << " lane " << i;
        ASSERT_TRUE(identical(once[kMaxLanes + shift + i], expected)) << shift << " lane " << i;
      }
      ASSERT_EQ(o.opaque(source + shift), source + shift);
      o.prefetch(source + shift);
    }
    o.prefetch(nullptr);  // a hint, never a fault
  });
}

TYPED_TEST(SimdOf, ArithmeticIsPerLane) {
  using T = TypeParam;
  this->each([&](const SimdOperations<T>& o) {
    for (int64_t round = 0; round < kRounds; ++round) {
      T a[kMaxLanes], b[kMaxLanes], c[kMaxLanes], sum[kMaxLanes], difference[kMaxLanes], product[kMaxLanes],
          quotient[kMaxLanes], fused[kMaxLanes], accumulated[kMaxLanes];
      for (T* x : {a, b, c}) fill_awkward(this->random, x, kMaxLanes);
      o.add(a, b, sum);
      o.subtract(a, b, difference);
      o.multiply(a, b, product);
      o.divide(a, b, quotient);
      o.fma(a, b, c, fused);
      o.accumulate(c, a, b, accumulated);
      for (int i = 0; i < o.lanes; ++i) {
        const std::string operands = hex(a[i]) + ", " + hex(b[i]) + ", " + hex(c[i]);
        ASSERT_TRUE(same_value(sum[i], a[i] + b[i])) << operands;
        ASSERT_TRUE(same_value(difference[i], a[i] - b[i])) << operands;
        ASSERT_TRUE(same_value(product[i], a[i] * b[i])) << operands;
        ASSERT_TRUE(same_value(quotient[i], a[i] / b[i])) << operands;
        volatile T rounded = a[i] * b[i];  // so that the compiler can't fuse it
        ASSERT_TRUE(same_value(fused[i], std::fma(a[i], b[i], c[i])) || same_value(fused[i], rounded + c[i]))
            << operands;
        ASSERT_TRUE(same_value(accumulated[i], fused[i])) << operands;
      }
    }
  });
}

TYPED_TEST(SimdOf, ComparisonsSelectBits) {
  using T = TypeParam;
  this->each([&](const SimdOperations<T>& o) {
    for (int64_t round = 0; round < kRounds; ++round) {
      T a[kMaxLanes], b[kMaxLanes], yes[kMaxLanes], no[kMaxLanes], larger[kMaxLanes], chosen[kMaxLanes];
      for (T* x : {a, b, yes, no}) fill_awkward(this->random, x, kMaxLanes);
      o.max(a, b, larger);
      o.select_greater(a, b, yes, no, chosen);
      for (int i = 0; i < o.lanes; ++i) {
        const std::string operands = hex(a[i]) + ", " + hex(b[i]);
        ASSERT_TRUE(identical(larger[i], a[i] > b[i] ? a[i] : b[i])) << operands << ": " << hex(larger[i]);
        ASSERT_TRUE(identical(chosen[i], a[i] > b[i] ? yes[i] : no[i])) << operands << ": " << hex(chosen[i]);
      }
    }
  });
}

// One lane decides; NaN and equal numbers, zeros of either sign among them, never do.
TYPED_TEST(SimdOf, AnyGreaterSeesEveryLane) {
  using T = TypeParam;
  this->each([&](const SimdOperations<T>& o) {
    for (int64_t round = 0; round < kRounds; ++round) {
      T a[kMaxLanes], b[kMaxLanes];
      for (int i = 0; i < kMaxLanes; ++i) {
        a[i] = awkward<T>(this->random);
        b[i] = this->random.chance(0.5) ? std::numeric_limits<T>::infinity() : a[i] == 0 ? -a[i] : a[i];
        if (i >= o.lanes) a[i] = 1, b[i] = 0;  // beyond the vector
      }
      ASSERT_FALSE(o.any_greater(a, b)) << round;
      const int64_t lane = this->random.below(o.lanes);
      b[lane] = awkward<T>(this->random);
      ASSERT_EQ(o.any_greater(a, b), a[lane] > b[lane]) << round << ": " << hex(a[lane]) << ", " << hex(b[lane]);
    }
  });
}

TYPED_TEST(SimdOf, SelectBitsObeysEveryPattern) {
  using T = TypeParam;
  this->each([&](const SimdOperations<T>& o) {
    T yes[kMaxLanes], no[kMaxLanes], chosen[kMaxLanes];
    for (uint32_t pattern = 0; pattern < uint32_t{1} << o.lanes; ++pattern) {
      fill_awkward(this->random, yes, kMaxLanes);
      fill_awkward(this->random, no, kMaxLanes);
      const uint32_t beyond = static_cast<uint32_t>(this->random.bits()) << o.lanes;  // nobody's bits
      for (const uint32_t bits : {pattern, pattern | beyond}) {
        o.select_bits(bits, yes, no, chosen);
        for (int i = 0; i < o.lanes; ++i)
          ASSERT_TRUE(identical(chosen[i], (bits >> i & 1) != 0 ? yes[i] : no[i])) << bits << " lane " << i;
      }
    }
  });
}

TYPED_TEST(SimdOf, LowBitsBecomeExponent) {
  using T = TypeParam;
  this->each([&](const SimdOperations<T>& o) {
    for (int64_t round = 0; round < kRounds; ++round) {
      T a[kMaxLanes], out[kMaxLanes];
      fill_awkward(this->random, a, kMaxLanes);
      o.low_bits_as_exponent(a, out);
      for (int i = 0; i < o.lanes; ++i)
        ASSERT_EQ(bits_of(out[i]), static_cast<BitsOf<T>>(bits_of(a[i]) << (std::numeric_limits<T>::digits - 1)));
    }
  });
}

// Between matrices of any stride, with nothing else written.
TYPED_TEST(SimdOf, TransposeMovesBits) {
  using T = TypeParam;
  this->each([&](const SimdOperations<T>& o) {
    for (int64_t s_stride : {0, 1, 5})
      for (int64_t d_stride : {0, 1, 7}) {
        const int64_t W = o.lanes, from = W + s_stride, to = W + d_stride;
        std::vector<T> s(static_cast<size_t>((W - 1) * from + W)), d(static_cast<size_t>(W * to), T{77});
        fill_awkward(this->random, s.data(), static_cast<int64_t>(s.size()));
        o.transpose(s.data(), from, d.data(), to);
        for (int64_t j = 0; j < W; ++j)
          for (int64_t i = 0; i < to; ++i)
            ASSERT_TRUE(
                identical(d[static_cast<size_t>(j * to + i)], i < W ? s[static_cast<size_t>(i * from + j)] : T{77}))
                << "row " << j << " column " << i;
      }
  });
}

// Lane j is row j, combined. Whole numbers have the same sum in any order; others within a tree's rounding.
TYPED_TEST(SimdOf, TransposeReduceCombinesRows) {
  using T = TypeParam;
  this->each([&](const SimdOperations<T>& o) {
    const int W = o.lanes;
    for (int64_t round = 0; round < kRounds / 10; ++round) {
      T whole[kMaxLanes * kMaxLanes], any[kMaxLanes * kMaxLanes];
      for (int i = 0; i < W * W; ++i) {
        whole[i] = static_cast<T>(this->random.between(-1000, 1000));
        any[i] = static_cast<T>(this->random.normal());
      }
      T sum[kMaxLanes], rounded[kMaxLanes], top[kMaxLanes];
      o.reduce_sum(whole, sum);
      o.reduce_sum(any, rounded);
      o.reduce_max(any, top);
      for (int j = 0; j < W; ++j) {
        double exact = 0, expected = 0, magnitude = 0;
        for (int i = 0; i < W; ++i) {
          exact += static_cast<double>(whole[j * W + i]);
          expected += static_cast<double>(any[j * W + i]);
          magnitude += std::fabs(static_cast<double>(any[j * W + i]));
        }
        ASSERT_EQ(static_cast<double>(sum[j]), exact) << "row " << j << " of round " << round;
        const double error = std::fabs(static_cast<double>(rounded[j]) - expected);
        ASSERT_TRUE(error <= 4 * static_cast<double>(std::numeric_limits<T>::epsilon()) * magnitude) << error;
        ASSERT_TRUE(identical(top[j], *std::max_element(any + j * W, any + (j + 1) * W))) << "row " << j;
      }
    }
  });
}

// ---- float only ----------------------------------------------------------------------------------------------------

using SimdFloat = SimdOf<float>;

TEST_F(SimdFloat, SplitExponentIsExact) {
  each([&](const SimdOperations<float>& o) {
    for (int64_t round = 0; round < kRounds; ++round) {
      float x[kMaxLanes], exponent[kMaxLanes], mantissa[kMaxLanes];
      for (float& lane : x) lane = std::bit_cast<float>(static_cast<uint32_t>(random.between(0x00800000, 0x7f7fffff)));
      x[0] = std::numeric_limits<float>::min();
      x[1] = std::numeric_limits<float>::max();
      o.split_exponent(x, exponent, mantissa);
      for (int i = 0; i < o.lanes; ++i) {
        ASSERT_EQ(std::ldexp(static_cast<double>(mantissa[i]), static_cast<int>(exponent[i])),
                  static_cast<double>(x[i]));
        // The float below sqrt(1/2), and twice that.
        ASSERT_GE(bits_of(mantissa[i]), 0x3f3504f3u) << hex(x[i]);
        ASSERT_LT(bits_of(mantissa[i]), 0x3fb504f3u) << hex(x[i]);
      }
    }
  });
}

struct SixteenBit {
  const char* name;
  void (*SimdOperations<float>::*load)(const void*, float*);
  void (*SimdOperations<float>::*store)(const float*, void*);
  uint16_t (*from)(float);
  float (*widen)(uint16_t);
};
const SixteenBit kSixteenBit[] = {
    {"bfloat16", &SimdOperations<float>::load_bfloat16, &SimdOperations<float>::store_bfloat16,
     [](float x) { return bfloat16_from(x); }, [](uint16_t bits) { return float_from_bfloat16(bits); }},
    {"float16", &SimdOperations<float>::load_float16, &SimdOperations<float>::store_float16,
     [](float x) { return float16_from(x); }, [](uint16_t bits) { return float_from_float16(bits); }},
};

TEST_F(SimdFloat, SixteenBitElementsWidenExactly) {
  for (const SixteenBit& format : kSixteenBit)
    each([&](const SimdOperations<float>& o) {
      for (int first = 0; first < 65536; first += o.lanes) {
        unsigned char bytes[2 * kMaxLanes + 1];
        uint16_t patterns[kMaxLanes];
        for (int i = 0; i < o.lanes; ++i) patterns[i] = static_cast<uint16_t>(first + i);
        std::memcpy(bytes + first / o.lanes % 2, patterns, 2 * static_cast<size_t>(o.lanes));  // aligned or not
        float wide[kMaxLanes];
        (o.*format.load)(bytes + first / o.lanes % 2, wide);
        for (int i = 0; i < o.lanes; ++i)
          ASSERT_TRUE(same_value(wide[i], format.widen(patterns[i]))) << format.name << ' ' << patterns[i];
      }
    });
}

// Every pattern, every midpoint of neighbours and its neighbours, and random bits: as base/dtype.h rounds them. A NaN's
// payload may differ, being a NaN may not.
TEST_F(SimdFloat, SixteenBitElementsRoundAsElsewhere) {
  for (const SixteenBit& format : kSixteenBit)
    each([&](const SimdOperations<float>& o) {
      const auto check = [&](const float* x, size_t shift) {
        unsigned char bytes[2 * kMaxLanes + 2];
        std::memset(bytes, 0xc5, sizeof bytes);
        (o.*format.store)(x, bytes + shift);
        uint16_t stored[kMaxLanes];
        std::memcpy(stored, bytes + shift, 2 * static_cast<size_t>(o.lanes));
        for (int i = 0; i < o.lanes; ++i) {
          const bool right = std::isnan(x[i]) ? std::isnan(format.widen(stored[i])) : stored[i] == format.from(x[i]);
          ASSERT_TRUE(right) << format.name << " of " << hex(x[i]) << ": " << stored[i];
        }
        for (size_t i = 0; i < sizeof bytes; ++i)
          ASSERT_TRUE((i >= shift && i < shift + 2 * static_cast<size_t>(o.lanes)) || bytes[i] == 0xc5) << i;
      };
      float x[kMaxLanes];
      for (int pattern = 0; pattern < 65536; pattern += step_of_rounds()) {
        const float low = format.widen(static_cast<uint16_t>(pattern));
        const float high = format.widen(static_cast<uint16_t>(pattern + 1));
        const uint32_t middle = bits_of(static_cast<float>((static_cast<double>(low) + static_cast<double>(high)) / 2));
        for (int i = 0; i < kMaxLanes; ++i) {
          const uint32_t near = middle - 1 + static_cast<uint32_t>(i % 4);
          x[i] = i % 4 == 3 ? low : std::bit_cast<float>(near);
        }
        check(x, static_cast<size_t>(pattern & 1));
        fill_awkward(random, x, kMaxLanes);
        check(x, static_cast<size_t>(pattern & 1));
        if (HasFatalFailure()) return;
      }
    });
}

}  // namespace
}  // namespace nearfield::core
