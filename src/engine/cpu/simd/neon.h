// The vector vocabulary on NEON (64-bit Arm): two registers to a vector, as many lanes as on AVX2. Arm has 32
// registers, so that kernels whose sums fill 16 vectors fill them too, and each broadcast serves twice the
// multiply-adds. Same functions as portable.h; docs/vocabulary.md has a line for each.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#define NEARFIELD_INLINE inline __attribute__((always_inline))

namespace nearfield::core::neon {

// ---- float, 8 lanes ------------------------------------------------------------------------------------------------

struct F32 {
  using Scalar = float;
  static constexpr int kLanes = 8;
  float32x4_t low, high;

  static NEARFIELD_INLINE F32 zero() { return set(0); }
  static NEARFIELD_INLINE F32 set(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
  static NEARFIELD_INLINE F32 load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  static NEARFIELD_INLINE F32 broadcast(const float* p) {
    const float32x4_t x = vld1q_dup_f32(p);
    return {x, x};
  }
  NEARFIELD_INLINE void store(float* p) const {
    vst1q_f32(p, low);
    vst1q_f32(p + 4, high);
  }

  // 8 elements at any address, widened. As bytes: loads of wider elements promise their alignment.
  static NEARFIELD_INLINE F32 load_any(const void* p) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    return {vreinterpretq_f32_u8(vld1q_u8(bytes)), vreinterpretq_f32_u8(vld1q_u8(bytes + 16))};
  }
  static NEARFIELD_INLINE F32 load_bfloat16(const void* p) {
    const uint16x8_t bits = vreinterpretq_u16_u8(vld1q_u8(static_cast<const uint8_t*>(p)));
    return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
            vreinterpretq_f32_u32(vshll_high_n_u16(bits, 16))};
  }
  static NEARFIELD_INLINE F32 load_float16(const void* p) {
    const float16x8_t halves = vreinterpretq_f16_u8(vld1q_u8(static_cast<const uint8_t*>(p)));
    return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
  }
  NEARFIELD_INLINE void store_any(void* p) const {
    auto* bytes = static_cast<uint8_t*>(p);
    vst1q_u8(bytes, vreinterpretq_u8_f32(low));
    vst1q_u8(bytes + 16, vreinterpretq_u8_f32(high));
  }
  NEARFIELD_INLINE void store_bfloat16(void* p) const {
    const auto rounded = [](float32x4_t x) {
      const uint32x4_t bits = vreinterpretq_u32_f32(x);
      const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
      const uint32x4_t even = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
      const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x00400000));
      return vbslq_u32(vceqq_f32(x, x), even, quiet);
    };
    const uint16x8_t kept = vshrn_high_n_u32(vshrn_n_u32(rounded(low), 16), rounded(high), 16);
    vst1q_u8(static_cast<uint8_t*>(p), vreinterpretq_u8_u16(kept));
  }
  NEARFIELD_INLINE void store_float16(void* p) const {
    const float16x8_t halves = vcvt_high_f16_f32(vcvt_f16_f32(low), high);
    vst1q_u8(static_cast<uint8_t*>(p), vreinterpretq_u8_f16(halves));
  }

  // Rows s[i*s_stride ...] (8x8) become columns of d, a 4x4 block at a time.
  static NEARFIELD_INLINE void transpose(const float* s, int64_t s_stride, float* d, int64_t d_stride) {
    for (int i = 0; i < 8; i += 4)
      for (int j = 0; j < 8; j += 4) transpose_block(s + i * s_stride + j, s_stride, d + j * d_stride + i, d_stride);
  }

  // A load that stays one load, rather than one for every use.
  static NEARFIELD_INLINE F32 load_once(const float* p) {
    F32 x = load(p);
    asm("" : "+w"(x.low), "+w"(x.high));
    return x;
  }
  // sum += a * b, in sum's own registers.
  static NEARFIELD_INLINE void accumulate(F32& sum, F32 a, F32 b) {
    asm("fmla %0.4s, %1.4s, %2.4s" : "+w"(sum.low) : "w"(a.low), "w"(b.low));
    asm("fmla %0.4s, %1.4s, %2.4s" : "+w"(sum.high) : "w"(a.high), "w"(b.high));
  }
  // Keeps the compiler from hoisting one address per unrolled row into spilled registers.
  static NEARFIELD_INLINE const float* opaque(const float* p) {
    asm("" : "+r"(p));
    return p;
  }
  static NEARFIELD_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }

 private:
  static NEARFIELD_INLINE void transpose_block(const float* s, int64_t s_stride, float* d, int64_t d_stride) {
    const float32x4_t a = vld1q_f32(s), b = vld1q_f32(s + s_stride);
    const float32x4_t c = vld1q_f32(s + 2 * s_stride), e = vld1q_f32(s + 3 * s_stride);
    const float64x2_t ab02 = vreinterpretq_f64_f32(vtrn1q_f32(a, b)), ab13 = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
    const float64x2_t ce02 = vreinterpretq_f64_f32(vtrn1q_f32(c, e)), ce13 = vreinterpretq_f64_f32(vtrn2q_f32(c, e));
    vst1q_f32(d, vreinterpretq_f32_f64(vtrn1q_f64(ab02, ce02)));
    vst1q_f32(d + d_stride, vreinterpretq_f32_f64(vtrn1q_f64(ab13, ce13)));
    vst1q_f32(d + 2 * d_stride, vreinterpretq_f32_f64(vtrn2q_f64(ab02, ce02)));
    vst1q_f32(d + 3 * d_stride, vreinterpretq_f32_f64(vtrn2q_f64(ab13, ce13)));
  }
};

NEARFIELD_INLINE F32 operator+(F32 a, F32 b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
NEARFIELD_INLINE F32 operator-(F32 a, F32 b) { return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
NEARFIELD_INLINE F32 operator*(F32 a, F32 b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
NEARFIELD_INLINE F32 operator/(F32 a, F32 b) { return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }
NEARFIELD_INLINE F32 fma(F32 a, F32 b, F32 c) {
  return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
NEARFIELD_INLINE F32 select_greater(F32 a, F32 b, F32 yes, F32 no) {
  return {vbslq_f32(vcgtq_f32(a.low, b.low), yes.low, no.low), vbslq_f32(vcgtq_f32(a.high, b.high), yes.high, no.high)};
}
// b where either is NaN, unlike the instruction fmax.
NEARFIELD_INLINE F32 max(F32 a, F32 b) { return select_greater(a, b, a, b); }
NEARFIELD_INLINE bool any_greater(F32 a, F32 b) {
  return vmaxvq_u32(vorrq_u32(vcgtq_f32(a.low, b.low), vcgtq_f32(a.high, b.high))) != 0;
}
NEARFIELD_INLINE F32 select_bits(uint32_t bits, F32 yes, F32 no) {
  const uint32x4_t all = vdupq_n_u32(bits), low = {1, 2, 4, 8}, high = {16, 32, 64, 128};
  return {vbslq_f32(vtstq_u32(all, low), yes.low, no.low), vbslq_f32(vtstq_u32(all, high), yes.high, no.high)};
}
// The lanes' bits shifted so that the low 8 bits of each become the exponent field of a float.
NEARFIELD_INLINE F32 low_bits_as_exponent(F32 a) {
  return {vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a.low), 23)),
          vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a.high), 23))};
}
// x = mantissa * 2^exponent with mantissa in [sqrt(1/2), sqrt(2)), for positive normal x.
NEARFIELD_INLINE F32 split_exponent(F32 x, F32& mantissa) {
  const int32x4_t half = vdupq_n_s32(0x3f3504f3);
  const int32x4_t low = vreinterpretq_s32_f32(x.low), high = vreinterpretq_s32_f32(x.high);
  const int32x4_t e = vshrq_n_s32(vsubq_s32(low, half), 23), f = vshrq_n_s32(vsubq_s32(high, half), 23);
  mantissa = {vreinterpretq_f32_s32(vsubq_s32(low, vshlq_n_s32(e, 23))),
              vreinterpretq_f32_s32(vsubq_s32(high, vshlq_n_s32(f, 23)))};
  return {vcvtq_f32_s32(e), vcvtq_f32_s32(f)};
}

// One level of a transposing reduction after the other: pairs of vectors become one that holds both, half reduced.
template <class Op>
NEARFIELD_INLINE F32 transpose_reduce(const F32 (&a)[8], Op op) {
  const auto first = [&](F32 x, F32 y) { return op(F32{x.low, y.low}, F32{x.high, y.high}); };
  const auto later = [&](F32 x, F32 y) {  // neighbouring lanes
    return op(F32{vuzp1q_f32(x.low, x.high), vuzp1q_f32(y.low, y.high)},
              F32{vuzp2q_f32(x.low, x.high), vuzp2q_f32(y.low, y.high)});
  };
  return later(later(first(a[0], a[1]), first(a[2], a[3])), later(first(a[4], a[5]), first(a[6], a[7])));
}

// ---- double, 4 lanes -----------------------------------------------------------------------------------------------

struct F64 {
  using Scalar = double;
  static constexpr int kLanes = 4;
  float64x2_t low, high;

  static NEARFIELD_INLINE F64 zero() { return set(0); }
  static NEARFIELD_INLINE F64 set(double x) { return {vdupq_n_f64(x), vdupq_n_f64(x)}; }
  static NEARFIELD_INLINE F64 load(const double* p) { return {vld1q_f64(p), vld1q_f64(p + 2)}; }
  static NEARFIELD_INLINE F64 broadcast(const double* p) {
    const float64x2_t x = vld1q_dup_f64(p);
    return {x, x};
  }
  NEARFIELD_INLINE void store(double* p) const {
    vst1q_f64(p, low);
    vst1q_f64(p + 2, high);
  }
  static NEARFIELD_INLINE F64 load_any(const void* p) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    return {vreinterpretq_f64_u8(vld1q_u8(bytes)), vreinterpretq_f64_u8(vld1q_u8(bytes + 16))};
  }
  NEARFIELD_INLINE void store_any(void* p) const {
    auto* bytes = static_cast<uint8_t*>(p);
    vst1q_u8(bytes, vreinterpretq_u8_f64(low));
    vst1q_u8(bytes + 16, vreinterpretq_u8_f64(high));
  }

  static NEARFIELD_INLINE void transpose(const double* s, int64_t s_stride, double* d, int64_t d_stride) {
    for (int i = 0; i < 4; i += 2)
      for (int j = 0; j < 4; j += 2) {
        const double* from = s + i * s_stride + j;
        double* to = d + j * d_stride + i;
        const float64x2_t a = vld1q_f64(from), b = vld1q_f64(from + s_stride);
        vst1q_f64(to, vtrn1q_f64(a, b));
        vst1q_f64(to + d_stride, vtrn2q_f64(a, b));
      }
  }

  // As F32's.
  static NEARFIELD_INLINE F64 load_once(const double* p) {
    F64 x = load(p);
    asm("" : "+w"(x.low), "+w"(x.high));
    return x;
  }
  static NEARFIELD_INLINE void accumulate(F64& sum, F64 a, F64 b) {
    asm("fmla %0.2d, %1.2d, %2.2d" : "+w"(sum.low) : "w"(a.low), "w"(b.low));
    asm("fmla %0.2d, %1.2d, %2.2d" : "+w"(sum.high) : "w"(a.high), "w"(b.high));
  }
  static NEARFIELD_INLINE const double* opaque(const double* p) {
    asm("" : "+r"(p));
    return p;
  }
  static NEARFIELD_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }
};

NEARFIELD_INLINE F64 operator+(F64 a, F64 b) { return {vaddq_f64(a.low, b.low), vaddq_f64(a.high, b.high)}; }
NEARFIELD_INLINE F64 operator-(F64 a, F64 b) { return {vsubq_f64(a.low, b.low), vsubq_f64(a.high, b.high)}; }
NEARFIELD_INLINE F64 operator*(F64 a, F64 b) { return {vmulq_f64(a.low, b.low), vmulq_f64(a.high, b.high)}; }
NEARFIELD_INLINE F64 operator/(F64 a, F64 b) { return {vdivq_f64(a.low, b.low), vdivq_f64(a.high, b.high)}; }
NEARFIELD_INLINE F64 fma(F64 a, F64 b, F64 c) {
  return {vfmaq_f64(c.low, a.low, b.low), vfmaq_f64(c.high, a.high, b.high)};
}
NEARFIELD_INLINE F64 select_greater(F64 a, F64 b, F64 yes, F64 no) {
  return {vbslq_f64(vcgtq_f64(a.low, b.low), yes.low, no.low), vbslq_f64(vcgtq_f64(a.high, b.high), yes.high, no.high)};
}
NEARFIELD_INLINE F64 max(F64 a, F64 b) { return select_greater(a, b, a, b); }
NEARFIELD_INLINE bool any_greater(F64 a, F64 b) {
  return vmaxvq_u32(vreinterpretq_u32_u64(vorrq_u64(vcgtq_f64(a.low, b.low), vcgtq_f64(a.high, b.high)))) != 0;
}
NEARFIELD_INLINE F64 select_bits(uint32_t bits, F64 yes, F64 no) {
  const uint64x2_t all = vdupq_n_u64(bits), low = {1, 2}, high = {4, 8};
  return {vbslq_f64(vtstq_u64(all, low), yes.low, no.low), vbslq_f64(vtstq_u64(all, high), yes.high, no.high)};
}
NEARFIELD_INLINE F64 low_bits_as_exponent(F64 a) {
  return {vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(a.low), 52)),
          vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(a.high), 52))};
}
template <class Op>
NEARFIELD_INLINE F64 transpose_reduce(const F64 (&a)[4], Op op) {
  const auto first = [&](F64 x, F64 y) { return op(F64{x.low, y.low}, F64{x.high, y.high}); };
  const F64 x = first(a[0], a[1]), y = first(a[2], a[3]);
  return op(F64{vuzp1q_f64(x.low, x.high), vuzp1q_f64(y.low, y.high)},
            F64{vuzp2q_f64(x.low, x.high), vuzp2q_f64(y.low, y.high)});
}

}  // namespace nearfield::core::neon
