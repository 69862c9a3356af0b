// Rows of any dtype in and out of packed rows of T. V is a vector of the vocabulary (simd/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "engine/cpu/kernels.h"

namespace nearfield::core::kernel {

template <DType D>
inline constexpr int64_t kElementSize = size_of(D);

template <class V, DType D>
inline V load_as(const void* p) {
  if constexpr (D == DType::bfloat16) return V::load_bfloat16(p);
  if constexpr (D == DType::float16) return V::load_float16(p);
  if constexpr (D == DType::float32 || D == DType::float64) return V::load_any(p);
}
template <class V, DType D>
inline void store_as(V x, void* p) {
  if constexpr (D == DType::bfloat16) x.store_bfloat16(p);
  if constexpr (D == DType::float16) x.store_float16(p);
  if constexpr (D == DType::float32 || D == DType::float64) x.store_any(p);
}

// N: whole vectors of a row that needs no padding, 0 for any row.
template <class V, DType D, int64_t N, bool Scaled>
void load_rows_of(const std::byte* source, const int64_t* offsets, int64_t count, int64_t columns,
                  typename V::Scalar factor, typename V::Scalar* rows, int64_t stride) {
  constexpr int64_t W = V::kLanes, size = kElementSize<D>;
  const V f = V::set(factor);
  const auto load = [&](const void* p) {
    const V x = load_as<V, D>(p);
    return Scaled ? x * f : x;
  };
  for (int64_t i = 0; i < count; ++i, rows += stride) {
    const std::byte* from = source + offsets[i] * size;
    if constexpr (N != 0) {
      V row[N];
#pragma GCC unroll 8
      for (int64_t c = 0; c < N; ++c) row[c] = load(from + c * W * size);
#pragma GCC unroll 8
      for (int64_t c = 0; c < N; ++c) row[c].store(rows + c * W);
      continue;
    }
    const int64_t whole = columns / W * W, tail = columns - whole;
    for (int64_t c = 0; c < whole; c += W) load(from + c * size).store(rows + c);
    if (tail != 0) {
      std::byte last[W * size] = {};
      std::memcpy(last, from + whole * size, static_cast<size_t>(tail * size));
      load(last).store(rows + whole);
    }
    for (int64_t c = whole + (tail != 0 ? W : 0); c < stride; c += W) V::zero().store(rows + c);
  }
}

template <class V, DType D, bool Scaled>
void load_any_rows(const std::byte* source, const int64_t* offsets, int64_t count, int64_t columns,
                   typename V::Scalar factor, typename V::Scalar* rows, int64_t stride) {
  const int64_t vectors = columns == stride && columns % V::kLanes == 0 ? columns / V::kLanes : 0;
  switch (vectors) {
    case 2: return load_rows_of<V, D, 2, Scaled>(source, offsets, count, columns, factor, rows, stride);
    case 4: return load_rows_of<V, D, 4, Scaled>(source, offsets, count, columns, factor, rows, stride);
    case 8: return load_rows_of<V, D, 8, Scaled>(source, offsets, count, columns, factor, rows, stride);
    default: return load_rows_of<V, D, 0, Scaled>(source, offsets, count, columns, factor, rows, stride);
  }
}

// Adds to what is there, or takes its place.
template <class V, bool Adds>
void sum_rows(const typename V::Scalar* rows, int64_t stride, int64_t count, int64_t columns, typename V::Scalar factor,
              void* target, const int64_t* offsets) {
  using T = typename V::Scalar;
  constexpr int64_t W = V::kLanes, size = sizeof(T);
  const int64_t whole = columns / W * W, tail = columns - whole;
  const V f = V::set(factor);
  for (int64_t i = 0; i < count; ++i, rows += stride) {
    std::byte* to = static_cast<std::byte*>(target) + offsets[i] * size;
    for (int64_t c = 0; c < whole; c += W)
      fma(V::load(rows + c), f, Adds ? V::load_any(to + c * size) : V::set(0)).store_any(to + c * size);
    if (tail != 0) {
      std::byte last[W * size] = {};
      if (Adds) std::memcpy(last, to + whole * size, static_cast<size_t>(tail * size));
      fma(V::load(rows + whole), f, V::load_any(last)).store_any(last);
      std::memcpy(to + whole * size, last, static_cast<size_t>(tail * size));
    }
  }
}

template <class V, DType D>
void store_rows_of(const typename V::Scalar* rows, int64_t stride, int64_t count, int64_t columns, std::byte* target,
                   const int64_t* offsets) {
  constexpr int64_t W = V::kLanes, size = kElementSize<D>;
  const int64_t whole = columns / W * W, tail = columns - whole;
  for (int64_t i = 0; i < count; ++i) {
    const typename V::Scalar* from = rows + i * stride;
    std::byte* to = target + offsets[i] * size;
    for (int64_t c = 0; c < whole; c += W) store_as<V, D>(V::load(from + c), to + c * size);
    if (tail != 0) {
      std::byte last[W * size];
      store_as<V, D>(V::load(from + whole), last);
      std::memcpy(to + whole * size, last, static_cast<size_t>(tail * size));
    }
  }
}

template <class V>
void load_rows(const void* source, DType dtype, const int64_t* offsets, int64_t count, int64_t columns,
               typename V::Scalar factor, typename V::Scalar* rows, int64_t stride) {
  const auto* bytes = static_cast<const std::byte*>(source);
  const auto load = [&]<DType D>() {
    if (factor == 1) return load_any_rows<V, D, false>(bytes, offsets, count, columns, factor, rows, stride);
    load_any_rows<V, D, true>(bytes, offsets, count, columns, factor, rows, stride);
  };
  if constexpr (sizeof(typename V::Scalar) == 8) {
    load.template operator()<DType::float64>();
  } else if (dtype == DType::bfloat16) {
    load.template operator()<DType::bfloat16>();
  } else if (dtype == DType::float16) {
    load.template operator()<DType::float16>();
  } else {
    load.template operator()<DType::float32>();
  }
}

template <class V>
void store_rows(const typename V::Scalar* rows, int64_t stride, int64_t count, int64_t columns, void* target,
                DType dtype, const int64_t* offsets) {
  auto* bytes = static_cast<std::byte*>(target);
  if constexpr (sizeof(typename V::Scalar) == 8) {
    store_rows_of<V, DType::float64>(rows, stride, count, columns, bytes, offsets);
  } else if (dtype == DType::bfloat16) {
    store_rows_of<V, DType::bfloat16>(rows, stride, count, columns, bytes, offsets);
  } else if (dtype == DType::float16) {
    store_rows_of<V, DType::float16>(rows, stride, count, columns, bytes, offsets);
  } else {
    store_rows_of<V, DType::float32>(rows, stride, count, columns, bytes, offsets);
  }
}

// [2 lanes][stride] to [columns][2 lanes].
template <class V>
void transpose_tile(const typename V::Scalar* rows, int64_t stride, int64_t columns,
                    typename V::Scalar* columns_first) {
  constexpr int64_t W = V::kLanes;
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t c = 0; c < columns; c += W)
      V::transpose(rows + half * W * stride + c, stride, columns_first + c * 2 * W + half * W, 2 * W);
}

}  // namespace nearfield::core::kernel
