// The vector vocabulary on AVX2 + FMA + F16C: one ymm register. Same functions as portable.h; docs/vocabulary.md has a
// line for each.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define NEARFIELD_INLINE inline __attribute__((always_inline))

namespace nearfield::core::avx2 {

// ---- float, 8 lanes ------------------------------------------------------------------------------------------------

struct F32 {
  using Scalar = float;
  static constexpr int kLanes = 8;
  __m256 r;

  static NEARFIELD_INLINE F32 zero() { return {_mm256_setzero_ps()}; }
  static NEARFIELD_INLINE F32 set(float x) { return {_mm256_set1_ps(x)}; }
  static NEARFIELD_INLINE F32 load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static NEARFIELD_INLINE F32 broadcast(const float* p) { return {_mm256_broadcast_ss(p)}; }
  NEARFIELD_INLINE void store(float* p) const { _mm256_storeu_ps(p, r); }

  // 8 elements at any address, widened.
  static NEARFIELD_INLINE F32 load_any(const void* p) { return {_mm256_loadu_ps(static_cast<const float*>(p))}; }
  static NEARFIELD_INLINE F32 load_bfloat16(const void* p) {
    const __m128i bits = _mm_loadu_si128(static_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
  }
  static NEARFIELD_INLINE F32 load_float16(const void* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
  }
  NEARFIELD_INLINE void store_any(void* p) const { _mm256_storeu_ps(static_cast<float*>(p), r); }
  NEARFIELD_INLINE void store_bfloat16(void* p) const {
    const __m256i bits = _mm256_castps_si256(r);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i even = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(r, r, _CMP_UNORD_Q));
    const __m256i kept = _mm256_srli_epi32(_mm256_blendv_epi8(even, quiet, nan), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(kept, kept), 0x08);
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }
  NEARFIELD_INLINE void store_float16(void* p) const {
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_cvtps_ph(r, _MM_FROUND_TO_NEAREST_INT));
  }

  // Rows s[i*s_stride ...] (8x8) become columns of d.
  static NEARFIELD_INLINE void transpose(const float* s, int64_t s_stride, float* d, int64_t d_stride) {
    __m256 r[8], t[8];
    for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(s + i * s_stride);
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
      r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
      r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
      r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; ++i) {
      _mm256_storeu_ps(d + i * d_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
      _mm256_storeu_ps(d + (i + 4) * d_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
  }

  // A load that stays one load: gcc otherwise folds it into every use, and spills to do so.
  static NEARFIELD_INLINE F32 load_once(const float* p) {
    __m256 r = _mm256_loadu_ps(p);
    asm("" : "+x"(r));
    return {r};
  }
  // sum += a * b, in sum's own register: gcc otherwise renames sums between unrolled steps until they spill.
  static NEARFIELD_INLINE void accumulate(F32& sum, F32 a, F32 b) {
    asm("vfmadd231ps %2, %1, %0" : "+x"(sum.r) : "x"(a.r), "x"(b.r));
  }
  // Keeps the compiler from hoisting one address per unrolled row into spilled registers.
  static NEARFIELD_INLINE const float* opaque(const float* p) {
    asm("" : "+r"(p));
    return p;
  }
  static NEARFIELD_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
};

NEARFIELD_INLINE F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.r, b.r)}; }
NEARFIELD_INLINE F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.r, b.r)}; }
NEARFIELD_INLINE F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.r, b.r)}; }
NEARFIELD_INLINE F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.r, b.r)}; }
NEARFIELD_INLINE F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.r, b.r, c.r)}; }
// b where either is NaN.
NEARFIELD_INLINE F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.r, b.r)}; }
NEARFIELD_INLINE F32 select_greater(F32 a, F32 b, F32 yes, F32 no) {
  return {_mm256_blendv_ps(no.r, yes.r, _mm256_cmp_ps(a.r, b.r, _CMP_GT_OQ))};
}
NEARFIELD_INLINE bool any_greater(F32 a, F32 b) { return _mm256_movemask_ps(_mm256_cmp_ps(a.r, b.r, _CMP_GT_OQ)) != 0; }
NEARFIELD_INLINE F32 select_bits(uint32_t bits, F32 yes, F32 no) {
  const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i hit = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane);
  return {_mm256_blendv_ps(no.r, yes.r, _mm256_castsi256_ps(_mm256_cmpeq_epi32(hit, lane)))};
}
// The lanes' bits shifted so that the low 8 bits of each become the exponent field of a float.
NEARFIELD_INLINE F32 low_bits_as_exponent(F32 a) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a.r), 23))};
}
// x = mantissa * 2^exponent with mantissa in [sqrt(1/2), sqrt(2)), for positive normal x.
NEARFIELD_INLINE F32 split_exponent(F32 x, F32& mantissa) {
  const __m256i bits = _mm256_castps_si256(x.r);
  const __m256i e = _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_set1_epi32(0x3f3504f3)), 23);
  mantissa = {_mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(e, 23)))};
  return {_mm256_cvtepi32_ps(e)};
}

// One level of a transposing reduction: pairs of registers become one that holds both, half reduced.
template <class Op>
NEARFIELD_INLINE F32 transpose_reduce(const F32 (&a)[8], Op op) {
  const auto first = [&](F32 x, F32 y) {  // [x02 y02 x13 y13]
    return op(F32{_mm256_unpacklo_ps(x.r, y.r)}, F32{_mm256_unpackhi_ps(x.r, y.r)});
  };
  const auto second = [&](F32 x, F32 y) {
    return op(F32{_mm256_blend_ps(x.r, y.r, 0xCC)}, F32{_mm256_shuffle_ps(x.r, y.r, 0x4E)});
  };
  const auto third = [&](F32 x, F32 y) {
    return op(F32{_mm256_blend_ps(x.r, y.r, 0xF0)}, F32{_mm256_permute2f128_ps(x.r, y.r, 0x21)});
  };
  return third(second(first(a[0], a[1]), first(a[2], a[3])), second(first(a[4], a[5]), first(a[6], a[7])));
}

// ---- double, 4 lanes -----------------------------------------------------------------------------------------------

struct F64 {
  using Scalar = double;
  static constexpr int kLanes = 4;
  __m256d r;

  static NEARFIELD_INLINE F64 zero() { return {_mm256_setzero_pd()}; }
  static NEARFIELD_INLINE F64 set(double x) { return {_mm256_set1_pd(x)}; }
  static NEARFIELD_INLINE F64 load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static NEARFIELD_INLINE F64 broadcast(const double* p) { return {_mm256_broadcast_sd(p)}; }
  NEARFIELD_INLINE void store(double* p) const { _mm256_storeu_pd(p, r); }
  static NEARFIELD_INLINE F64 load_any(const void* p) { return {_mm256_loadu_pd(static_cast<const double*>(p))}; }
  NEARFIELD_INLINE void store_any(void* p) const { _mm256_storeu_pd(static_cast<double*>(p), r); }

  static NEARFIELD_INLINE void transpose(const double* s, int64_t s_stride, double* d, int64_t d_stride) {
    __m256d r[4], t[4];
    for (int i = 0; i < 4; ++i) r[i] = _mm256_loadu_pd(s + i * s_stride);
    for (int i = 0; i < 4; i += 2) {
      t[i] = _mm256_unpacklo_pd(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_pd(r[i], r[i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
      _mm256_storeu_pd(d + i * d_stride, _mm256_permute2f128_pd(t[i], t[i + 2], 0x20));
      _mm256_storeu_pd(d + (i + 2) * d_stride, _mm256_permute2f128_pd(t[i], t[i + 2], 0x31));
    }
  }

  // A load that stays one load: gcc otherwise folds it into every use, and spills to do so.
  static NEARFIELD_INLINE F64 load_once(const double* p) {
    __m256d r = _mm256_loadu_pd(p);
    asm("" : "+x"(r));
    return {r};
  }
  // sum += a * b, in sum's own register: gcc otherwise renames sums between unrolled steps until they spill.
  static NEARFIELD_INLINE void accumulate(F64& sum, F64 a, F64 b) {
    asm("vfmadd231pd %2, %1, %0" : "+x"(sum.r) : "x"(a.r), "x"(b.r));
  }
  // Keeps the compiler from hoisting one address per unrolled row into spilled registers.
  static NEARFIELD_INLINE const double* opaque(const double* p) {
    asm("" : "+r"(p));
    return p;
  }
  static NEARFIELD_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
};

NEARFIELD_INLINE F64 operator+(F64 a, F64 b) { return {_mm256_add_pd(a.r, b.r)}; }
NEARFIELD_INLINE F64 operator-(F64 a, F64 b) { return {_mm256_sub_pd(a.r, b.r)}; }
NEARFIELD_INLINE F64 operator*(F64 a, F64 b) { return {_mm256_mul_pd(a.r, b.r)}; }
NEARFIELD_INLINE F64 operator/(F64 a, F64 b) { return {_mm256_div_pd(a.r, b.r)}; }
NEARFIELD_INLINE F64 fma(F64 a, F64 b, F64 c) { return {_mm256_fmadd_pd(a.r, b.r, c.r)}; }
NEARFIELD_INLINE F64 max(F64 a, F64 b) { return {_mm256_max_pd(a.r, b.r)}; }
NEARFIELD_INLINE F64 select_greater(F64 a, F64 b, F64 yes, F64 no) {
  return {_mm256_blendv_pd(no.r, yes.r, _mm256_cmp_pd(a.r, b.r, _CMP_GT_OQ))};
}
NEARFIELD_INLINE bool any_greater(F64 a, F64 b) { return _mm256_movemask_pd(_mm256_cmp_pd(a.r, b.r, _CMP_GT_OQ)) != 0; }
NEARFIELD_INLINE F64 select_bits(uint32_t bits, F64 yes, F64 no) {
  const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
  const __m256i hit = _mm256_and_si256(_mm256_set1_epi64x(bits), lane);
  return {_mm256_blendv_pd(no.r, yes.r, _mm256_castsi256_pd(_mm256_cmpeq_epi64(hit, lane)))};
}
NEARFIELD_INLINE F64 low_bits_as_exponent(F64 a) {
  return {_mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(a.r), 52))};
}
template <class Op>
NEARFIELD_INLINE F64 transpose_reduce(const F64 (&a)[4], Op op) {
  const auto first = [&](F64 x, F64 y) {
    return op(F64{_mm256_unpacklo_pd(x.r, y.r)}, F64{_mm256_unpackhi_pd(x.r, y.r)});
  };
  const F64 x = first(a[0], a[1]), y = first(a[2], a[3]);
  return op(F64{_mm256_blend_pd(x.r, y.r, 0xC)}, F64{_mm256_permute2f128_pd(x.r, y.r, 0x21)});
}
}  // namespace nearfield::core::avx2
