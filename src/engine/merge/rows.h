// What both passes of merging share: element types, the softmax over the parts of one row, and the walk over tokens.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/merge/merge.h"

namespace nearfield::core::merge {

// How a row's elements are read and written, at any address. Sum is what they are added up in.
template <class T>
struct Plain {
  using Sum = T;
  static constexpr int64_t kSize = sizeof(T);
  static T load(const std::byte* element) {
    T value;
    std::memcpy(&value, element, sizeof value);
    return value;
  }
  static void store(std::byte* element, T value) { std::memcpy(element, &value, sizeof value); }
};
using Float64 = Plain<double>;
using Float32 = Plain<float>;

template <float (*widen)(uint16_t), uint16_t (*narrow)(float)>
struct Half {
  using Sum = float;
  static constexpr int64_t kSize = 2;
  static float load(const std::byte* element) {
    uint16_t bits;
    std::memcpy(&bits, element, sizeof bits);
    return widen(bits);
  }
  static void store(std::byte* element, float value) {
    const uint16_t bits = narrow(value);
    std::memcpy(element, &bits, sizeof bits);
  }
};
using Bfloat16 = Half<float_from_bfloat16, bfloat16_from>;
using Float16 = Half<float_from_float16, float16_from>;

template <class Sum>
struct AccumulatorOf {
  using Element = Float32;
};
template <>
struct AccumulatorOf<double> {
  using Element = Float64;
};

// Calls body(Element()) for the dtype; never for boolean, which validation keeps out.
template <class Body>
void with_element(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::float64: return body(Float64());
    case DType::float32: return body(Float32());
    case DType::bfloat16: return body(Bfloat16());
    case DType::float16: return body(Float16());
    case DType::boolean: return;
  }
}

// A token of one batch entry.
struct Place {
  int64_t batch = 0;
  int64_t token[kMaxGridRank] = {};

  Place(const Shape& shape, int64_t index) {
    for (int a = shape.rank - 1; a >= 0; index /= shape.grid[a--]) token[a] = index % shape.grid[a];
    batch = index;
  }
  // The address of one head's row, or of its logsumexp.
  std::byte* row(const TensorView& tensor, int rank, int64_t head) const {
    int64_t element = batch * tensor.strides[0] + head * tensor.strides[1 + rank];
    for (int a = 0; a < rank; ++a) element += token[a] * tensor.strides[1 + a];
    return tensor.at(element);
  }
};

// w_i of one row. A part that saw no key has lives[i] false and w_i 0. NaN and +inf come out as NaN: only -inf says
// "no key".
template <class Sum>
struct Weights {
  bool lives[kMaxMergeParts] = {};
  Sum weight[kMaxMergeParts] = {};
  Sum logsumexp = -std::numeric_limits<Sum>::infinity();

  Weights(const MergeProblem& problem, const Place& place, int64_t head) {
    using Element = typename AccumulatorOf<Sum>::Element;
    constexpr Sum kNone = -std::numeric_limits<Sum>::infinity();
    Sum lse[kMaxMergeParts], largest = kNone, sum = 0;
    bool any = false;
    for (int i = 0; i < problem.count; ++i) {
      lse[i] = Element::load(place.row(problem.parts[i].logsumexp, problem.shape.rank, head));
      lives[i] = lse[i] != kNone;
      any = any || lives[i];
      largest = std::max(largest, lse[i]);  // passes over NaN, which the sum then meets
    }
    if (!any) return;
    for (int i = 0; i < problem.count; ++i) {
      if (lives[i]) weight[i] = std::exp(lse[i] - largest);
      sum += weight[i];
    }
    for (int i = 0; i < problem.count; ++i)
      if (lives[i]) weight[i] /= sum;
    logsumexp = largest + std::log(sum);
  }
};

// Calls body(place, head) for every row, with neighbouring tokens on the same thread.
template <class Body>
void for_each_row(const MergeProblem& problem, Body&& body) {
  constexpr int64_t kElementsPerTask = 1 << 14;  // some microseconds
  const Shape& shape = problem.shape;
  const int64_t tokens = shape.batch * shape.tokens();
  const int64_t per_task = std::max<int64_t>(1, kElementsPerTask / (shape.heads * shape.head_dim_v));
  parallel_for(problem.threading, ceil_div(tokens, per_task), [&](int64_t task) {
    const int64_t end = std::min(tokens, (task + 1) * per_task);
    for (int64_t index = task * per_task; index < end; ++index) {
      const Place place(shape, index);
      for (int64_t head = 0; head < shape.heads; ++head) body(place, head);
    }
  });
}

}  // namespace nearfield::core::merge
