// Small problems for the tests of the C ABI.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

#include "nearfield/nearfield.h"

namespace nearfield::test {

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

inline nf_tensor tensor(const void* data, nf_dtype dtype, std::initializer_list<int64_t> sizes) {
  nf_tensor result = {};
  result.data = const_cast<void*>(data);
  result.dtype = dtype;
  result.rank = static_cast<int32_t>(sizes.size());
  int64_t stride = 1;
  for (int i = result.rank - 1; i >= 0; --i) {
    result.sizes[i] = sizes.begin()[i];
    result.strides[i] = stride;
    stride *= result.sizes[i];
  }
  return result;
}

inline nf_modifiers no_modifiers() {
  nf_modifiers result = {};
  result.struct_size = sizeof result;
  return result;
}

inline nf_options reference_options() {
  nf_options options = nf_default_options();
  options.engine = NF_ENGINE_REFERENCE;
  return options;
}

// Four tokens, windows of three, one channel, query 1 and key ln(w) with w = 1 2 3 4: the weights of a window are w
// itself. Queries 0 and 1 see tokens 0 1 2 (sum 6), queries 2 and 3 see 1 2 3 (sum 9).
struct HandComputed {
  std::array<double, 4> query = {1, 1, 1, 1}, key = {std::log(1.0), std::log(2.0), std::log(3.0), std::log(4.0)};
  std::array<double, 4> value = {6, 0, 3, 9};
  std::array<double, 4> out = {kNan, kNan, kNan, kNan}, logsumexp = out;
  nf_tensor q = view(query), k = view(key), v = view(value), o = view(out);
  nf_tensor l = tensor(logsumexp.data(), NF_FLOAT64, {1, 4, 1});
  nf_neighborhood pattern = window(3);

  static nf_tensor view(const std::array<double, 4>& memory) { return tensor(memory.data(), NF_FLOAT64, {1, 4, 1, 1}); }
  static nf_neighborhood window(int64_t size) { return nf_make_neighborhood(1, &size); }
  nf_status forward(const nf_options& options) {
    return nf_forward(&pattern.pattern, &q, &k, &v, nullptr, &options, &o, &l);
  }
  void expect_out() const {
    const std::array<double, 4> expected = {2.5, 2.5, 5, 5};
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(out[i], expected[i], 1e-14) << i;
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(logsumexp[i], std::log(i < 2 ? 6.0 : 9.0), 1e-14) << i;
  }
};

// 9 x 10 tokens of float32, two heads of 16 channels: something that the CPU engine takes.
struct Grid {
  std::vector<float> query, key, value, out;
  nf_tensor q, k, v, o;
  nf_neighborhood pattern;

  Grid() : query(9 * 10 * 2 * 16), out(query.size(), std::numeric_limits<float>::quiet_NaN()) {
    for (size_t i = 0; i < query.size(); ++i) query[i] = std::sin(0.37F * static_cast<float>(i));
    key.assign(query.rbegin(), query.rend());
    value = query;
    q = view(query), k = view(key), v = view(value), o = view(out);
    const int64_t windows[2] = {3, 5};
    pattern = nf_make_neighborhood(2, windows);
  }
  static nf_tensor view(const std::vector<float>& memory) {
    return tensor(memory.data(), NF_FLOAT32, {1, 9, 10, 2, 16});
  }
  nf_status forward(const nf_options* options, const nf_modifiers* modifiers = nullptr) {
    return nf_forward(&pattern.pattern, &q, &k, &v, modifiers, options, &o, nullptr);
  }
};

}  // namespace nearfield::test
