// Turns a vector type into SimdOperations. Like the kernels, it is compiled with one instruction set's flags, so it
// pulls in nothing but the vocabulary: an inline function of GoogleTest or the standard library compiled here could be
// the copy that the linker keeps for everybody.
#pragma once

#include "engine/cpu/simd/math.h"
#include "operations.h"

namespace nearfield::core {

template <class V>
struct Operate {
  using T = typename V::Scalar;
  static constexpr int W = V::kLanes;
  static V at(const T* p) { return V::load(p); }

  template <class Op>
  static void reduce(const T* rows, T* out, Op op) {
    V a[W];
    for (int i = 0; i < W; ++i) a[i] = at(rows + i * W);
    transpose_reduce(a, op).store(out);
  }

  static constexpr SimdOperations<T> table(const char* name) {
    SimdOperations<T> t;
    t.name = name;
    t.lanes = W;
    memory(t);
    arithmetic(t);
    if constexpr (sizeof(T) == 4) float_only(t);
    return t;
  }
  static constexpr void memory(SimdOperations<T>& t) {
    t.zero = [](T* out) { V::zero().store(out); };
    t.set = [](T x, T* out) { V::set(x).store(out); };
    t.load = [](const T* p, T* out) { V::load(p).store(out); };
    t.load_once = [](const T* p, T* out) { V::load_once(p).store(out); };
    t.broadcast = [](const T* p, T* out) { V::broadcast(p).store(out); };
    t.load_any = [](const void* p, T* out) { V::load_any(p).store(out); };
    t.store_any = [](const T* x, void* p) { at(x).store_any(p); };
    t.transpose = [](const T* s, int64_t s_stride, T* d, int64_t d_stride) { V::transpose(s, s_stride, d, d_stride); };
    t.opaque = [](const T* p) { return V::opaque(p); };
    t.prefetch = [](const void* p) { V::prefetch(p); };
  }
  static constexpr void arithmetic(SimdOperations<T>& t) {
    t.add = [](const T* a, const T* b, T* out) { (at(a) + at(b)).store(out); };
    t.subtract = [](const T* a, const T* b, T* out) { (at(a) - at(b)).store(out); };
    t.multiply = [](const T* a, const T* b, T* out) { (at(a) * at(b)).store(out); };
    t.divide = [](const T* a, const T* b, T* out) { (at(a) / at(b)).store(out); };
    t.accumulate = [](const T* sum, const T* a, const T* b, T* out) {
      V total = at(sum);
      V::accumulate(total, at(a), at(b));
      total.store(out);
    };
    t.fma = [](const T* a, const T* b, const T* c, T* out) { fma(at(a), at(b), at(c)).store(out); };
    t.max = [](const T* a, const T* b, T* out) { max(at(a), at(b)).store(out); };
    t.select_greater = [](const T* a, const T* b, const T* yes, const T* no, T* out) {
      select_greater(at(a), at(b), at(yes), at(no)).store(out);
    };
    t.any_greater = [](const T* a, const T* b) { return any_greater(at(a), at(b)); };
    t.select_bits = [](uint32_t bits, const T* yes, const T* no, T* out) {
      select_bits(bits, at(yes), at(no)).store(out);
    };
    t.low_bits_as_exponent = [](const T* a, T* out) { low_bits_as_exponent(at(a)).store(out); };
    t.reduce_sum = [](const T* rows, T* out) { reduce(rows, out, [](V a, V b) { return a + b; }); };
    t.reduce_max = [](const T* rows, T* out) { reduce(rows, out, [](V a, V b) { return max(a, b); }); };
    t.exp2 = [](const T* x, T* out) { simd::exp2(at(x)).store(out); };
    t.log = [](const T* x, T* out) { simd::log(at(x)).store(out); };
    t.tanh = [](const T* x, T* out) { simd::tanh(at(x)).store(out); };
  }
  static constexpr void float_only(SimdOperations<T>& t) {
    t.load_bfloat16 = [](const void* p, T* out) { V::load_bfloat16(p).store(out); };
    t.store_bfloat16 = [](const T* x, void* p) { at(x).store_bfloat16(p); };
    t.load_float16 = [](const void* p, T* out) { V::load_float16(p).store(out); };
    t.store_float16 = [](const T* x, void* p) { at(x).store_float16(p); };
    t.split_exponent = [](const T* x, T* exponent, T* mantissa) {
      V m;
      const V e = split_exponent(at(x), m);
      e.store(exponent);
      m.store(mantissa);
    };
  }
};

}  // namespace nearfield::core
