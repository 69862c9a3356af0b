// What a backward needs per thread stays below a megabyte, for any shape; where a task has no room for its own sums
// over queries it adds to the shared ones, with the same results.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "check/random.h"
#include "nearfield/nearfield.hpp"

namespace nearfield {
namespace {

struct Case {
  std::string name;
  std::vector<int64_t> grid, kernel_size;
  int64_t heads = 1, heads_kv = 1, head_dim = 8, head_dim_v = 8, additional = 0;
  bool bias = false, weights = false;
  nf_dtype dtype = NF_FLOAT32;

  std::vector<int64_t> shape(int64_t its_heads, int64_t channels) const {
    std::vector<int64_t> sizes = {1};
    sizes.insert(sizes.end(), grid.begin(), grid.end());
    sizes.insert(sizes.end(), {its_heads, channels});
    return sizes;
  }
  std::vector<int64_t> bias_shape() const {
    std::vector<int64_t> sizes = {heads};
    for (int64_t size : kernel_size) sizes.push_back(2 * size - 1);
    return sizes;
  }
};

// A call with all that a case has, and all its gradients; memory only if asked for.
struct Call {
  Neighborhood pattern;
  std::optional<Tensor> query, key, value, out, logsumexp, dout;
  Modifiers modifiers;
  Gradients gradients;
  std::vector<std::vector<float>> inputs, results;

  core::Random random{7};

  Call(const Case& c, bool with_memory) : pattern(neighborhood(c.kernel_size)) {
    inputs.reserve(16);
    results.reserve(16);
    const auto place = [&](std::vector<std::vector<float>>& memories, const std::vector<int64_t>& shape, float first) {
      if (!with_memory) return Tensor(nullptr, c.dtype, shape);
      size_t count = 1;
      for (int64_t size : shape) count *= static_cast<size_t>(size);
      auto& memory = memories.emplace_back(count);
      for (size_t i = 0; i < count; ++i)
        memory[i] = first + static_cast<float>(random.normal()) * (first == 0 ? 1 : 0.1F);
      return Tensor::of(memory, shape);
    };
    const auto add = [&](std::optional<Tensor>& tensor, std::optional<Tensor>& gradient,
                         const std::vector<int64_t>& shape) {
      tensor = place(inputs, shape, 0);
      gradient = place(results, shape, NAN);
    };
    add(query, gradients.query, c.shape(c.heads, c.head_dim));
    add(key, gradients.key, c.shape(c.heads_kv, c.head_dim));
    add(value, gradients.value, c.shape(c.heads_kv, c.head_dim_v));
    const auto modify = [&](std::optional<Tensor>& tensor, std::optional<Tensor>& gradient, std::vector<int64_t> shape,
                            float first) {
      tensor = place(inputs, shape, first);
      gradient = place(results, shape, NAN);
    };
    if (c.additional > 0) {
      modify(modifiers.additional_keys, gradients.additional_keys, {1, c.additional, c.heads_kv, c.head_dim}, 0);
      modify(modifiers.additional_values, gradients.additional_values, {1, c.additional, c.heads_kv, c.head_dim_v}, 0);
    }
    if (c.bias) modify(modifiers.bias, gradients.bias, c.bias_shape(), 0);
    if (c.weights) modify(modifiers.key_weights, gradients.key_weights, c.grid, 1.5F);
    if (!with_memory) return;
    std::vector<int64_t> rows = c.shape(c.heads, 1);
    rows.pop_back();
    out = place(inputs, c.shape(c.heads, c.head_dim_v), 0);
    dout = place(inputs, c.shape(c.heads, c.head_dim_v), 0);
    logsumexp = place(inputs, rows, 0);
  }

  size_t workspace(int32_t threads, nf_kernel kernel) const {
    return backward_workspace(pattern, *query, *key, *value, gradients,
                              Options().with_threads(threads).with_kernel(kernel), modifiers);
  }
  void run(const Options& options) {
    for (auto& result : results) std::fill(result.begin(), result.end(), NAN);
    forward(pattern, *query, *key, *value, *out, *logsumexp, options, modifiers);
    backward(pattern, *query, *key, *value, *out, *logsumexp, *dout, gradients, {}, options, modifiers);
  }
};

TEST(BackwardWorkspace, NeedsAtMostAMegabyteAThread) {
  const std::vector<Case> cases = {
      {.name = "small", .grid = {56, 56}, .kernel_size = {7, 7}, .heads = 2, .heads_kv = 2, .bias = true},
      {.name = "wide channels",
       .grid = {64, 64},
       .kernel_size = {31, 31},
       .head_dim = 512,
       .head_dim_v = 512,
       .bias = true,
       .weights = true,
       .dtype = NF_FLOAT64},
      {.name = "wide channels and additional keys",
       .grid = {64},
       .kernel_size = {31},
       .head_dim = 512,
       .head_dim_v = 512,
       .additional = 1000,
       .bias = true,
       .weights = true,
       .dtype = NF_FLOAT64},
      {.name = "wide channels of 16 bits",
       .grid = {64, 64},
       .kernel_size = {5, 5},
       .head_dim = 511,
       .head_dim_v = 512,
       .additional = 100,
       .weights = true,
       .dtype = NF_BFLOAT16},
      {.name = "3-D bias", .grid = {30, 48, 80}, .kernel_size = {30, 40, 40}, .heads = 24, .heads_kv = 3, .bias = true},
      {.name = "1-D bias", .grid = {5000}, .kernel_size = {65536}, .bias = true, .dtype = NF_FLOAT64},
      {.name = "small bias of many heads", .grid = {64, 64}, .kernel_size = {7, 7}, .heads = 4096, .bias = true},
      {.name = "many additional keys",
       .grid = {64, 64},
       .kernel_size = {7, 7},
       .head_dim = 128,
       .head_dim_v = 128,
       .additional = 20000},
      {.name = "all", .grid = {8, 90, 180}, .kernel_size = {5, 45, 45}, .additional = 5000, .bias = true},
  };
  for (const Case& each : cases) {
    const Call call(each, false);
    for (const nf_kernel kernel : {NF_KERNEL_AUTO, NF_KERNEL_TILE}) {
      const size_t two = call.workspace(2, kernel), three = call.workspace(3, kernel);
      EXPECT_GT(three, two) << each.name;
      EXPECT_LE(three - two, size_t{1} << 20) << each.name;
    }
  }
}

void expect_close(const Call& actual, const Call& expected) {
  ASSERT_EQ(actual.results.size(), expected.results.size());
  for (size_t i = 0; i < actual.results.size(); ++i) {
    double error = 0, norm = 0;
    for (size_t j = 0; j < actual.results[i].size(); ++j) {
      error += std::pow(actual.results[i][j] - expected.results[i][j], 2);
      norm += std::pow(expected.results[i][j], 2);
    }
    EXPECT_LE(error, 1e-10 * norm) << "gradient " << i;
    EXPECT_GT(norm, 0) << "gradient " << i;
  }
}

TEST(BackwardWorkspace, SumsWithoutRoomForTheirOwnAreTheSame) {
  const std::vector<Case> cases = {
      {.name = "bias", .grid = {3, 9, 7}, .kernel_size = {9, 41, 41}, .heads = 4, .heads_kv = 2, .bias = true},
      {.name = "additional keys", .grid = {9, 7}, .kernel_size = {3, 3}, .head_dim = 20, .additional = 9503},
      {.name = "both",
       .grid = {40, 3},
       .kernel_size = {5, 7000},
       .heads = 3,
       .heads_kv = 3,
       .head_dim_v = 12,
       .additional = 1300,
       .bias = true,
       .weights = true},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.name);
    Call expected(each, true), one(each, true), many(each, true);
    expected.run(Options().with_engine(NF_ENGINE_REFERENCE));
    one.run(Options().with_kernel(NF_KERNEL_TILE).with_threads(1));
    expect_close(one, expected);
    many.run(Options().with_kernel(NF_KERNEL_TILE).with_threads(4));
    EXPECT_EQ(many.results, one.results);
    const nf_explanation why = explain_backward(one.pattern, *one.query, *one.key, *one.value, one.gradients,
                                                Options().with_kernel(NF_KERNEL_TILE), one.modifiers);
    EXPECT_NE(std::string(why.reason).find("one task of a head"), std::string::npos) << why.reason;
  }
}

}  // namespace
}  // namespace nearfield
