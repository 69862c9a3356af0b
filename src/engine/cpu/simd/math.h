// Functions over the vector vocabulary. They find the vocabulary's overloads by argument-dependent lookup.
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/cpu/kernels.h"

namespace nearfield::core::simd {

// 2^x. NaN of any sign and payload stays NaN; up to -126.5 (double: -1022.5) the result is exactly 0, so a masked score
// (kMaskedScore) is a weight of exactly 0; 2^n is exact for whole n. Beyond 127.5 (1023.5) it is infinity, a little
// early, and from 128.5 (1024.5) on anything, NaN for infinity: differences to a maximum never get there. Relative
// error, measured: float 2e-7 (degree 5, c0 = 1), double 1.8e-16 (degree 13), 1.4e-16 where multiply-adds are fused;
// where the result is subnormal, 2.4e-7 and 3e-16.
template <class V>
inline __attribute__((always_inline)) V exp2(V x) {
  using T = typename V::Scalar;
  if constexpr (sizeof(T) == 4) {
    // Adding `magic` leaves round(x) + 127 in the low bits, which low_bits_as_exponent turns into 2^round(x).
    const V magic = V::set(12582912.0f + 127.0f);
    x = max(V::set(-127.0f), x);
    const V t = x + magic, r = x - (t - magic);
    V p = V::set(0.00132647271f);
    p = fma(p, r, V::set(0.00967151268f));
    p = fma(p, r, V::set(0.0555073374f));
    p = fma(p, r, V::set(0.240222421f));
    p = fma(p, r, V::set(0.693146978f));
    p = fma(p, r, V::set(1.0f));
    return p * low_bits_as_exponent(t);
  } else {
    const V magic = V::set(6755399441055744.0 + 1023.0);
    x = max(V::set(-1023.0), x);
    const V t = x + magic, r = x - (t - magic);
    // Taylor coefficients ln(2)^n / n!, each the nearest double: |r| <= 1/2 leaves a truncation error below 1e-17 at
    // degree 13.
    constexpr double c[] = {1.3691488853904128e-12, 2.5678435993488206e-11,
                            4.4455382718708116e-10, 7.0549116208011234e-9,
                            1.0178086009239700e-7,  1.3215486790144310e-6,
                            1.5252733804059841e-5,  1.5403530393381609e-4,
                            1.3333558146428443e-3,  9.6181291076284769e-3,
                            5.5504108664821583e-2,  2.4022650695910072e-1,
                            6.9314718055994529e-1,  1.0};
    V p = V::set(c[0]);
    for (int i = 1; i < 14; ++i) p = fma(p, r, V::set(c[i]));
    return p * low_bits_as_exponent(t);
  }
}

// Natural logarithm of positive normal numbers; NaN stays NaN. float (cephes' polynomial): 8e-8 relative, also near 1;
// of infinity NaN. double: the C library's, a lane at a time.
template <class V>
inline __attribute__((always_inline)) V log(V x) {
  using T = typename V::Scalar;
  if constexpr (sizeof(T) == 4) {
    V m;
    const V e = split_exponent(x, m);
    const V f = m - V::set(1.0f), z = f * f;
    constexpr float c[] = {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                           -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
    V p = V::set(7.0376836292e-2f);
    for (float each : c) p = fma(p, f, V::set(each));
    V y = p * f * z;
    y = fma(e, V::set(-2.12194440e-4f), y);
    y = fma(z, V::set(-0.5f), y);
    // Beside the split, which reads bits, x*0 carries NaN and infinity through.
    return fma(x, V::zero(), fma(e, V::set(0.693359375f), f + y));
  } else {
    T lanes[V::kLanes];
    x.store(lanes);
    for (T& lane : lanes) lane = std::log(lane);
    return V::load(lanes);
  }
}

// Hyperbolic tangent; NaN stays NaN, infinities become 1 and -1. float: cephes' polynomial below 0.625, else by exp2,
// 4e-7 relative; double: the C library's, a lane at a time.
template <class V>
inline __attribute__((always_inline)) V tanh(V x) {
  using T = typename V::Scalar;
  if constexpr (sizeof(T) == 4) {
    const V one = V::set(1.0f), limit = V::set(9.1f);  // beyond, 1 in float
    V y = select_greater(x, limit, limit, x);
    y = select_greater(V::zero() - limit, y, V::zero() - limit, y);
    const V z = y * y;
    constexpr float c[] = {2.06390887954531e-2f, -5.37397155531047e-2f, 1.33314422036103e-1f, -3.33332819422498e-1f};
    V p = V::set(-5.70498872745233e-3f);
    for (float each : c) p = fma(p, z, V::set(each));
    const V near_zero = fma(p * z, y, y);
    const V e = exp2(y * V::set(2.8853900817779268f));  // exp(2y)
    const V far = one - V::set(2.0f) / (e + one);
    // NaN compares greater with nothing and is in near_zero too.
    return select_greater(z, V::set(0.390625f), far, near_zero);
  } else {
    T lanes[V::kLanes];
    x.store(lanes);
    for (T& lane : lanes) lane = std::tanh(lane);
    return V::load(lanes);
  }
}

}  // namespace nearfield::core::simd
