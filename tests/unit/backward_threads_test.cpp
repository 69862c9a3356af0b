// Gradients that are sums over all queries go through one task after another; whoever runs the tasks, in any order.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "nearfield/nearfield.hpp"

namespace nearfield {
namespace {

// A host that has one thread and takes the indices from the end.
void backwards(void*, int64_t count, void (*body)(void*, int64_t), void* body_context) {
  for (int64_t i = count; i-- > 0;) body(body_context, i);
}

struct Problem {
  static constexpr int64_t kTokens = 300, kHeads = 2, kChannels = 8, kWindow = 9, kMore = 3;
  std::vector<float> query, key, value, out, dout, more_keys, more_values, bias;
  std::vector<float> logsumexp = std::vector<float>(kTokens * kHeads);

  Problem() {
    for (auto* tensor : {&query, &key, &value, &out, &dout}) tensor->resize(kTokens * kHeads * kChannels);
    for (auto* tensor : {&more_keys, &more_values}) tensor->resize(kMore * kHeads * kChannels);
    bias.resize(kHeads * (2 * kWindow - 1));
    float x = 0.1F;
    for (auto* tensor : {&query, &key, &value, &dout, &more_keys, &more_values, &bias})
      for (float& each : *tensor) each = std::sin(x += 0.7F);
  }
  Tensor grid(std::vector<float>& memory) const { return Tensor::of(memory, {1, kTokens, kHeads, kChannels}); }
  Tensor more(std::vector<float>& memory) const { return Tensor::of(memory, {1, kMore, kHeads, kChannels}); }

  // dquery, dkey, dvalue, dadditional_keys, dadditional_values, dbias
  std::vector<std::vector<float>> gradients(const Options& options) {
    const auto pattern = neighborhood({kWindow});
    Modifiers modifiers;
    modifiers.additional_keys = more(more_keys);
    modifiers.additional_values = more(more_values);
    modifiers.bias = Tensor::of(bias, {kHeads, 2 * kWindow - 1});
    const Tensor lse = Tensor::of(logsumexp, {1, kTokens, kHeads});
    forward(pattern, grid(query), grid(key), grid(value), grid(out), lse, options, modifiers);
    const auto nan = [](size_t size) { return std::vector<float>(size, std::nanf("")); };
    std::vector<std::vector<float>> all = {nan(query.size()),     nan(key.size()),         nan(value.size()),
                                           nan(more_keys.size()), nan(more_values.size()), nan(bias.size())};
    Gradients gradients;
    gradients.query = grid(all[0]);
    gradients.key = grid(all[1]);
    gradients.value = grid(all[2]);
    gradients.additional_keys = more(all[3]);
    gradients.additional_values = more(all[4]);
    gradients.bias = Tensor::of(all[5], {kHeads, 2 * kWindow - 1});
    backward(pattern, grid(query), grid(key), grid(value), grid(out), lse, grid(dout), gradients, {}, options,
             modifiers);
    return all;
  }
};

TEST(BackwardThreads, AHostWithOneThreadThatTakesTheLastTasksFirstGivesTheSameBits) {
  for (const int32_t kernel : {NF_KERNEL_BAND, NF_KERNEL_TILE}) {
    Problem problem;
    Options one, host, many;
    one.kernel = host.kernel = many.kernel = kernel;
    one.num_threads = 1;
    host.num_threads = many.num_threads = 5;
    host.parallel_for = backwards;
    const auto expected = problem.gradients(one);
    for (const std::vector<float>& gradient : expected)
      for (float x : gradient) ASSERT_TRUE(std::isfinite(x));
    EXPECT_EQ(problem.gradients(host), expected) << "kernel " << kernel;
    EXPECT_EQ(problem.gradients(many), expected) << "kernel " << kernel;
  }
}

}  // namespace
}  // namespace nearfield
