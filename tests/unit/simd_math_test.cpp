// exp2, log and tanh of engine/cpu/simd/math.h against long double, and the promises that the kernels build on.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/cpu/kernels.h"
#include "simd_cases.h"

namespace nearfield::core {
namespace {

constexpr uint64_t kSeed = 20240612;
const int64_t kPoints = rounds_of(1 << 20);

// Relative errors that math.h states. Up to `cut` exp2 is 0, beyond `top` infinity.
template <class T>
struct Bounds;
template <>
struct Bounds<float> {
  static constexpr long double exp2 = 2e-7L, subnormal_exp2 = 2.4e-7L, log = 9e-8L, tanh = 4e-7L;
  static constexpr float cut = -126.5f, top = 127.5f;
};
template <>
struct Bounds<double> {
  static constexpr long double exp2 = 1.9e-16L, subnormal_exp2 = 3.2e-16L, log = 2.3e-16L, tanh = 4.5e-16L;
  static constexpr double cut = -1022.5, top = 1023.5;
};

template <class T>
class SimdMath : public testing::Test {
 protected:
  // Calls body(operations, exp2, log), the last two for one number in every lane.
  template <class Body>
  void each(Body body) {
    for (const SimdOperations<T>* o : runnable_operations<T>()) {
      SCOPED_TRACE(std::string(o->name) + ", seed " + std::to_string(kSeed));
      const auto of = [o](void (*f)(const T*, T*)) {
        return [o, f](T x) {
          T in[kMaxLanes], out[kMaxLanes];
          for (T& lane : in) lane = x;
          f(in, out);
          for (int i = 1; i < o->lanes; ++i) EXPECT_TRUE(same_value(out[i], out[0])) << hex(x) << " lane " << i;
          return out[0];
        };
      };
      body(*o, of(o->exp2), of(o->log));
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  static long double exp2_bound(long double exact) {
    return exact < std::numeric_limits<T>::min() ? Bounds<T>::subnormal_exp2 : Bounds<T>::exp2;
  }
  static long double log_bound(long double) { return Bounds<T>::log; }

  // The relative error of `f` at the numbers that next(n) makes is within bound(exact result).
  template <class Next, class Reference>
  void sweep(const SimdOperations<T>& o, void (*f)(const T*, T*), Next next, Reference reference,
             long double (*bound)(long double), int64_t points = kPoints) {
    T x[kMaxLanes], y[kMaxLanes];
    for (int64_t n = 0; n < points; n += o.lanes) {
      for (int i = 0; i < o.lanes; ++i) x[i] = next(n + i);
      f(x, y);
      for (int i = 0; i < o.lanes; ++i) {
        const long double exact = reference(static_cast<long double>(x[i]));
        const long double error = std::fabs(static_cast<long double>(y[i]) - exact);
        ASSERT_TRUE(error <= bound(exact) * std::fabs(exact))
            << hex(x[i]) << ": " << hex(y[i]) << ", relative error " << error / std::fabs(exact);
      }
    }
  }
  Random random{kSeed};
};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(SimdMath, Scalars);

TYPED_TEST(SimdMath, Exp2IsAccurateOverItsWholeRange) {
  using T = TypeParam;
  using B = Bounds<T>;
  const auto reference = [](long double x) { return std::exp2(x); };
  this->each([&](const SimdOperations<T>& o, auto, auto) {
    const T step = (B::top - B::cut) / static_cast<T>(kPoints);
    this->sweep(
        o, o.exp2,
        [&](int64_t n) {
          const T x = B::cut + (static_cast<T>(n) + static_cast<T>(this->random.uniform())) * step;
          return std::clamp(x, std::nextafter(B::cut, T{0}), std::nextafter(B::top, T{0}));
        },
        reference, this->exp2_bound);
    // Attention's range, and numbers so small that 2^x is next to 1.
    this->sweep(
        o, o.exp2, [&](int64_t) { return static_cast<T>(-20 * this->random.uniform()); }, reference, this->exp2_bound);
    this->sweep(
        o, o.exp2,
        [&](int64_t n) { return std::ldexp(static_cast<T>(this->random.uniform() - 0.5), static_cast<int>(-n % 60)); },
        reference, this->exp2_bound);
    // Subnormal results: of float each one (65536 of them), of double that many.
    const T first = B::cut + T{0.5}, apart = std::ldexp(T{1}, -17);
    this->sweep(
        o, o.exp2,
        [&](int64_t n) {
          const T x = first - static_cast<T>(n) * apart;
          return sizeof(T) == 4 ? x : x + apart * static_cast<T>(this->random.uniform());
        },
        reference, this->exp2_bound, rounds_of(1 << 16));
  });
}

TYPED_TEST(SimdMath, Exp2KeepsItsPromises) {
  using T = TypeParam;
  using B = Bounds<T>;
  constexpr T kInfinity = std::numeric_limits<T>::infinity(), kMax = std::numeric_limits<T>::max();
  this->each([&](const SimdOperations<T>&, auto exp2, auto) {
    EXPECT_TRUE(identical(exp2(T{0}), T{1}));
    EXPECT_TRUE(identical(exp2(-T{0}), T{1}));
    for (T x = std::ceil(B::cut); x < B::top; ++x) ASSERT_EQ(exp2(x), std::exp2(x)) << x;
    for (const T x : {B::cut, std::nextafter(B::cut, -kMax), -kMax, -kInfinity, kMaskedScore<T>, 2 * kMaskedScore<T>})
      EXPECT_TRUE(identical(exp2(x), T{0})) << hex(x) << ": " << hex(exp2(x));
    for (int i = 0; i < 1000; ++i) {
      const T x = B::cut * static_cast<T>(std::exp2(100 * this->random.uniform()));
      ASSERT_TRUE(identical(exp2(x), T{0})) << hex(x) << ": " << hex(exp2(x));
    }
    EXPECT_GT(exp2(std::nextafter(B::cut, T{0})), 0);
    EXPECT_TRUE(std::isnan(exp2(kInfinity)));
    EXPECT_LT(exp2(B::top), kInfinity);
    EXPECT_EQ(exp2(std::nextafter(B::top, kMax)), kInfinity);
    EXPECT_EQ(exp2(B::top + T{0.5}), kInfinity);
  });
}

// A NaN's payload must not be mistaken for an exponent that turns it into a number.
TYPED_TEST(SimdMath, NanOfAnyPayloadStaysNan) {
  using T = TypeParam;
  this->each([&](const SimdOperations<T>& o, auto, auto) {
    for (int64_t i = 0; i < rounds_of(1 << 16); i += o.lanes) {
      T x[kMaxLanes], power[kMaxLanes], logarithm[kMaxLanes];
      for (T& lane : x) lane = random_nan<T>(this->random);
      const int64_t number = this->random.below(o.lanes);  // its neighbours do not matter
      x[number] = 1;
      o.exp2(x, power);
      o.log(x, logarithm);
      for (int lane = 0; lane < o.lanes; ++lane) {
        ASSERT_EQ(std::isnan(power[lane]), lane != number) << hex(x[lane]) << ": " << hex(power[lane]);
        ASSERT_EQ(std::isnan(logarithm[lane]), lane != number) << hex(x[lane]) << ": " << hex(logarithm[lane]);
      }
      ASSERT_EQ(power[number], T{2});
      ASSERT_EQ(logarithm[number], T{0});
    }
  });
}

// From one number to the next, also across the half-way points where the polynomial changes: never down by more than
// the error bound of one of them.
TYPED_TEST(SimdMath, Exp2IsNearlyMonotone) {
  using T = TypeParam;
  using B = Bounds<T>;
  this->each([&](const SimdOperations<T>&, auto exp2, auto) {
    for (T centre = B::cut + 1; centre < B::top; centre += static_cast<T>(0.25) * static_cast<T>(step_of_rounds())) {
      T x = centre;
      for (int i = 0; i < 20; ++i) x = std::nextafter(x, B::cut);
      for (int i = 0; i < 40; ++i) {
        const T next = std::nextafter(x, B::top);
        const long double before = static_cast<long double>(exp2(x)), after = static_cast<long double>(exp2(next));
        ASSERT_TRUE(after >= before * (1 - this->exp2_bound(before)))
            << hex(x) << ": " << hex(exp2(x)) << ", " << hex(exp2(next));
        x = next;
      }
    }
  });
}

TYPED_TEST(SimdMath, LogIsAccurateOverAllNormalNumbers) {
  using T = TypeParam;
  using B = Bounds<T>;
  using Limits = std::numeric_limits<T>;
  const auto reference = [](long double x) { return std::log(x); };
  this->each([&](const SimdOperations<T>& o, auto, auto log) {
    const BitsOf<T> first = bits_of(Limits::min()), last = bits_of(Limits::max());
    const BitsOf<T> step = (last - first) / static_cast<BitsOf<T>>(kPoints);
    this->sweep(
        o, o.log,
        [&](int64_t n) {
          const auto offset = static_cast<BitsOf<T>>(this->random.bits()) % step;
          return std::bit_cast<T>(static_cast<BitsOf<T>>(first + static_cast<BitsOf<T>>(n) * step + offset));
        },
        reference, this->log_bound);
    // Around 1, where the result is small, at every distance.
    this->sweep(
        o, o.log,
        [&](int64_t n) {
          return 1 + std::ldexp(static_cast<T>(this->random.uniform() - 0.5), static_cast<int>(-n % 50));
        },
        reference, this->log_bound);
    for (const T x : {Limits::min(), Limits::max()}) {
      const long double exact = std::log(static_cast<long double>(x));
      EXPECT_TRUE(std::fabs(static_cast<long double>(log(x)) - exact) <= B::log * std::fabs(exact)) << hex(log(x));
    }
    EXPECT_EQ(log(T{1}), T{0});
    // float: NaN, as x * 0 is; double: the library's infinity.
    EXPECT_FALSE(std::isfinite(log(Limits::infinity())));
  });
}

TYPED_TEST(SimdMath, TanhIsAccurateNearZeroAndFarFromIt) {
  using T = TypeParam;
  using B = Bounds<T>;
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  const auto reference = [](long double x) { return std::tanh(x); };
  constexpr auto bound = +[](long double) { return B::tanh; };
  this->each([&](const SimdOperations<T>& o, auto, auto) {
    this->sweep(
        o, o.tanh, [&](int64_t) { return static_cast<T>(24 * this->random.uniform() - 12); }, reference, bound);
    this->sweep(
        o, o.tanh,
        [&](int64_t n) { return std::ldexp(static_cast<T>(this->random.uniform() - 0.5), static_cast<int>(-n % 60)); },
        reference, bound);
    T x[kMaxLanes], y[kMaxLanes];
    for (const T special : {kInfinity, -kInfinity, std::numeric_limits<T>::quiet_NaN(), T{0}}) {
      std::fill_n(x, kMaxLanes, special);
      o.tanh(x, y);
      EXPECT_TRUE(same_value(y[0], std::tanh(special))) << hex(special) << ": " << hex(y[0]);
    }
  });
}

}  // namespace
}  // namespace nearfield::core
