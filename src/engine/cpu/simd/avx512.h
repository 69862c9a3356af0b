// The vector vocabulary on AVX-512 (F, BW, DQ, VL): one zmm register. Same functions as portable.h; docs/vocabulary.md
// has a line for each. With GCC 12 the tile kernel's loops spill nothing and have 8 loads for 12 multiply-adds: a
// broadcast is an instruction of its own where two of them share it. Embedded in them broadcasts would make it 14, and
// a core does two loads for two multiply-adds.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define NEARFIELD_INLINE inline __attribute__((always_inline))

namespace nearfield::core::avx512 {

// ---- float, 16 lanes -----------------------------------------------------------------------------------------------

struct F32 {
  using Scalar = float;
  static constexpr int kLanes = 16;
  __m512 r;

  static NEARFIELD_INLINE F32 zero() { return {_mm512_setzero_ps()}; }
  static NEARFIELD_INLINE F32 set(float x) { return {_mm512_set1_ps(x)}; }
  static NEARFIELD_INLINE F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static NEARFIELD_INLINE F32 broadcast(const float* p) { return {_mm512_set1_ps(*p)}; }
  NEARFIELD_INLINE void store(float* p) const { _mm512_storeu_ps(p, r); }

  // 16 elements at any address, widened.
  static NEARFIELD_INLINE F32 load_any(const void* p) { return {_mm512_loadu_ps(p)}; }
  static NEARFIELD_INLINE F32 load_bfloat16(const void* p) {
    const __m256i bits = _mm256_loadu_si256(static_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
  }
  static NEARFIELD_INLINE F32 load_float16(const void* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
  }
  NEARFIELD_INLINE void store_any(void* p) const { _mm512_storeu_ps(p, r); }
  NEARFIELD_INLINE void store_bfloat16(void* p) const {
    const __m512i bits = _mm512_castps_si512(r);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i even = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(r, r, _CMP_UNORD_Q);
    const __m512i kept = _mm512_mask_or_epi32(even, nan, bits, _mm512_set1_epi32(0x00400000));
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
  }
  NEARFIELD_INLINE void store_float16(void* p) const {
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(r, _MM_FROUND_TO_NEAREST_INT));
  }

  // Rows s[i*s_stride ...] (16x16) become columns of d.
  static NEARFIELD_INLINE void transpose(const float* s, int64_t s_stride, float* d, int64_t d_stride) {
    __m512 r[16], t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(s + i * s_stride);
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    // Of rows 4i .. 4i+3, column c of each 128-bit quarter in r[4i + c].
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
      r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
      r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
      r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    // Then a 4x4 transpose of quarters.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const __m512 even01 = _mm512_shuffle_f32x4(r[c], r[c + 4], 0x88),
                   odd01 = _mm512_shuffle_f32x4(r[c], r[c + 4], 0xDD);
      const __m512 even23 = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0x88);
      const __m512 odd23 = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0xDD);
      _mm512_storeu_ps(d + c * d_stride, _mm512_shuffle_f32x4(even01, even23, 0x88));
      _mm512_storeu_ps(d + (c + 4) * d_stride, _mm512_shuffle_f32x4(odd01, odd23, 0x88));
      _mm512_storeu_ps(d + (c + 8) * d_stride, _mm512_shuffle_f32x4(even01, even23, 0xDD));
      _mm512_storeu_ps(d + (c + 12) * d_stride, _mm512_shuffle_f32x4(odd01, odd23, 0xDD));
    }
  }

  // A load that stays one load: gcc otherwise folds it into every use, and spills to do so.
  static NEARFIELD_INLINE F32 load_once(const float* p) {
    __m512 r = _mm512_loadu_ps(p);
    asm("" : "+v"(r));
    return {r};
  }
  // sum += a * b, in sum's own register: gcc otherwise renames sums between unrolled steps until they spill.
  static NEARFIELD_INLINE void accumulate(F32& sum, F32 a, F32 b) {
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum.r) : "v"(a.r), "v"(b.r));
  }
  // Keeps the compiler from hoisting one address per unrolled row into spilled registers.
  static NEARFIELD_INLINE const float* opaque(const float* p) {
    asm("" : "+r"(p));
    return p;
  }
  static NEARFIELD_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
};

NEARFIELD_INLINE F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.r, b.r)}; }
NEARFIELD_INLINE F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.r, b.r)}; }
NEARFIELD_INLINE F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.r, b.r)}; }
NEARFIELD_INLINE F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.r, b.r)}; }
NEARFIELD_INLINE F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.r, b.r, c.r)}; }
// b where either is NaN.
NEARFIELD_INLINE F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.r, b.r)}; }
NEARFIELD_INLINE F32 select_greater(F32 a, F32 b, F32 yes, F32 no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.r, b.r, _CMP_GT_OQ), no.r, yes.r)};
}
NEARFIELD_INLINE bool any_greater(F32 a, F32 b) { return _mm512_cmp_ps_mask(a.r, b.r, _CMP_GT_OQ) != 0; }
NEARFIELD_INLINE F32 select_bits(uint32_t bits, F32 yes, F32 no) {
  return {_mm512_mask_blend_ps(static_cast<__mmask16>(bits), no.r, yes.r)};
}
// The lanes' bits shifted so that the low 8 bits of each become the exponent field of a float.
NEARFIELD_INLINE F32 low_bits_as_exponent(F32 a) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a.r), 23))};
}
// x = mantissa * 2^exponent with mantissa in [sqrt(1/2), sqrt(2)), for positive normal x.
NEARFIELD_INLINE F32 split_exponent(F32 x, F32& mantissa) {
  const __m512i bits = _mm512_castps_si512(x.r);
  const __m512i e = _mm512_srai_epi32(_mm512_sub_epi32(bits, _mm512_set1_epi32(0x3f3504f3)), 23);
  mantissa = {_mm512_castsi512_ps(_mm512_sub_epi32(bits, _mm512_slli_epi32(e, 23)))};
  return {_mm512_cvtepi32_ps(e)};
}

// One level of a transposing reduction after the other: pairs of registers become one that holds both, half reduced.
// A blend where one will do: shuffles have one port, blends two.
template <class Op>
NEARFIELD_INLINE F32 transpose_reduce(const F32 (&a)[16], Op op) {
  const auto first = [&](F32 x, F32 y) {  // of each quarter: [x02 y02 x13 y13]
    return op(F32{_mm512_unpacklo_ps(x.r, y.r)}, F32{_mm512_unpackhi_ps(x.r, y.r)});
  };
  const auto second = [&](F32 x, F32 y) {
    return op(F32{_mm512_mask_blend_ps(0xCCCC, x.r, y.r)}, F32{_mm512_shuffle_ps(x.r, y.r, 0x4E)});
  };
  const auto third = [&](F32 x, F32 y) {  // quarters: [x02 x13 y02 y13]
    return op(F32{_mm512_mask_blend_ps(0xFF00, x.r, y.r)}, F32{_mm512_shuffle_f32x4(x.r, y.r, 0x4E)});
  };
  const auto four = [&](const F32* x) { return second(first(x[0], x[1]), first(x[2], x[3])); };
  const F32 low = third(four(a), four(a + 4)), high = third(four(a + 8), four(a + 12));
  return op(F32{_mm512_shuffle_f32x4(low.r, high.r, 0x88)}, F32{_mm512_shuffle_f32x4(low.r, high.r, 0xDD)});
}

// ---- double, 8 lanes -----------------------------------------------------------------------------------------------

struct F64 {
  using Scalar = double;
  static constexpr int kLanes = 8;
  __m512d r;

  static NEARFIELD_INLINE F64 zero() { return {_mm512_setzero_pd()}; }
  static NEARFIELD_INLINE F64 set(double x) { return {_mm512_set1_pd(x)}; }
  static NEARFIELD_INLINE F64 load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static NEARFIELD_INLINE F64 broadcast(const double* p) { return {_mm512_set1_pd(*p)}; }
  NEARFIELD_INLINE void store(double* p) const { _mm512_storeu_pd(p, r); }
  static NEARFIELD_INLINE F64 load_any(const void* p) { return {_mm512_loadu_pd(p)}; }
  NEARFIELD_INLINE void store_any(void* p) const { _mm512_storeu_pd(p, r); }

  static NEARFIELD_INLINE void transpose(const double* s, int64_t s_stride, double* d, int64_t d_stride) {
    __m512d r[8], t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) r[i] = _mm512_loadu_pd(s + i * s_stride);
      // Of rows 2i and 2i+1, column c of each quarter in t[2i + c].
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) {
      const __m512d even01 = _mm512_shuffle_f64x2(t[c], t[c + 2], 0x88),
                    odd01 = _mm512_shuffle_f64x2(t[c], t[c + 2], 0xDD);
      const __m512d even23 = _mm512_shuffle_f64x2(t[c + 4], t[c + 6], 0x88);
      const __m512d odd23 = _mm512_shuffle_f64x2(t[c + 4], t[c + 6], 0xDD);
      _mm512_storeu_pd(d + c * d_stride, _mm512_shuffle_f64x2(even01, even23, 0x88));
      _mm512_storeu_pd(d + (c + 2) * d_stride, _mm512_shuffle_f64x2(odd01, odd23, 0x88));
      _mm512_storeu_pd(d + (c + 4) * d_stride, _mm512_shuffle_f64x2(even01, even23, 0xDD));
      _mm512_storeu_pd(d + (c + 6) * d_stride, _mm512_shuffle_f64x2(odd01, odd23, 0xDD));
    }
  }

  // As F32's.
  static NEARFIELD_INLINE F64 load_once(const double* p) {
    __m512d r = _mm512_loadu_pd(p);
    asm("" : "+v"(r));
    return {r};
  }
  static NEARFIELD_INLINE void accumulate(F64& sum, F64 a, F64 b) {
    asm("vfmadd231pd %2, %1, %0" : "+v"(sum.r) : "v"(a.r), "v"(b.r));
  }
  static NEARFIELD_INLINE const double* opaque(const double* p) {
    asm("" : "+r"(p));
    return p;
  }
  static NEARFIELD_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
};

NEARFIELD_INLINE F64 operator+(F64 a, F64 b) { return {_mm512_add_pd(a.r, b.r)}; }
NEARFIELD_INLINE F64 operator-(F64 a, F64 b) { return {_mm512_sub_pd(a.r, b.r)}; }
NEARFIELD_INLINE F64 operator*(F64 a, F64 b) { return {_mm512_mul_pd(a.r, b.r)}; }
NEARFIELD_INLINE F64 operator/(F64 a, F64 b) { return {_mm512_div_pd(a.r, b.r)}; }
NEARFIELD_INLINE F64 fma(F64 a, F64 b, F64 c) { return {_mm512_fmadd_pd(a.r, b.r, c.r)}; }
NEARFIELD_INLINE F64 max(F64 a, F64 b) { return {_mm512_max_pd(a.r, b.r)}; }
NEARFIELD_INLINE F64 select_greater(F64 a, F64 b, F64 yes, F64 no) {
  return {_mm512_mask_blend_pd(_mm512_cmp_pd_mask(a.r, b.r, _CMP_GT_OQ), no.r, yes.r)};
}
NEARFIELD_INLINE bool any_greater(F64 a, F64 b) { return _mm512_cmp_pd_mask(a.r, b.r, _CMP_GT_OQ) != 0; }
NEARFIELD_INLINE F64 select_bits(uint32_t bits, F64 yes, F64 no) {
  return {_mm512_mask_blend_pd(static_cast<__mmask8>(bits), no.r, yes.r)};
}
NEARFIELD_INLINE F64 low_bits_as_exponent(F64 a) {
  return {_mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(a.r), 52))};
}
template <class Op>
NEARFIELD_INLINE F64 transpose_reduce(const F64 (&a)[8], Op op) {
  const auto first = [&](F64 x, F64 y) {
    return op(F64{_mm512_unpacklo_pd(x.r, y.r)}, F64{_mm512_unpackhi_pd(x.r, y.r)});
  };
  const auto second = [&](F64 x, F64 y) {  // quarters: [x02 x13 y02 y13]
    return op(F64{_mm512_mask_blend_pd(0xF0, x.r, y.r)}, F64{_mm512_shuffle_f64x2(x.r, y.r, 0x4E)});
  };
  const F64 low = second(first(a[0], a[1]), first(a[2], a[3])), high = second(first(a[4], a[5]), first(a[6], a[7]));
  return op(F64{_mm512_shuffle_f64x2(low.r, high.r, 0x88)}, F64{_mm512_shuffle_f64x2(low.r, high.r, 0xDD)});
}

}  // namespace nearfield::core::avx512
