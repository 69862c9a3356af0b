// Parts of a call together are the call: the progress bar must not change a bit of the result.
#include "forward_call.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "io/tensor.h"

namespace nearfield::cli::testing {
namespace {

OwnedTensor uniform(std::vector<int64_t> sizes, double low, std::mt19937_64& random) {
  OwnedTensor tensor = make_tensor(NF_FLOAT32, std::move(sizes));
  std::uniform_real_distribution<float> values(static_cast<float>(low), 1.0f);
  for (size_t i = 0; i < tensor.bytes.size(); i += sizeof(float)) {
    const float value = values(random);
    std::memcpy(&tensor.bytes[i], &value, sizeof value);
  }
  return tensor;
}

struct Problem {
  OwnedTensor query, key, value, out, logsumexp, bias, mask, weights, extra_keys, extra_values;

  explicit Problem(uint64_t seed, bool weights_per_batch = true) {
    std::mt19937_64 random(seed);
    query = uniform({3, 6, 7, 4, 8}, -1, random);
    key = uniform({3, 6, 7, 2, 8}, -1, random);
    value = uniform({3, 6, 7, 2, 5}, -1, random);
    out = make_tensor(NF_FLOAT32, {3, 6, 7, 4, 5});
    logsumexp = make_tensor(NF_FLOAT32, {3, 6, 7, 4});
    bias = uniform({4, 5, 5}, -1, random);
    mask = make_tensor(NF_BOOL, {3, 6, 7});
    for (std::byte& byte : mask.bytes) byte = static_cast<std::byte>(random() % 4 != 0);
    weights = weights_per_batch ? uniform({3, 6, 7}, 0, random) : uniform({6, 7}, 0, random);
    extra_keys = uniform({3, 2, 2, 8}, -1, random);
    extra_values = uniform({3, 2, 2, 5}, -1, random);
    std::fill(out.bytes.begin(), out.bytes.end(), std::byte{0xFF});
    std::fill(logsumexp.bytes.begin(), logsumexp.bytes.end(), std::byte{0xFF});
  }

  ForwardCall call(nf_engine engine, bool modified) const {
    const int64_t kernel_size[2] = {3, 3};
    Options options;
    options.engine = engine;
    Modifiers modifiers;
    if (modified) {
      modifiers.bias = bias.view();
      modifiers.key_mask = mask.view();
      modifiers.key_weights = weights.view();
      modifiers.additional_keys = extra_keys.view();
      modifiers.additional_values = extra_values.view();
      modifiers.softcap = 5;
    }
    return {nf_make_neighborhood(2, kernel_size),
            query.view(),
            key.view(),
            value.view(),
            out.view(),
            logsumexp.view(),
            options,
            modifiers};
  }
};

void expect_parts_equal_whole(nf_engine engine, bool modified, bool weights_per_batch) {
  const Problem whole(7, weights_per_batch);
  whole.call(engine, modified).run();
  for (const int64_t parts : {1, 2, 3, 4, 6, 100}) {
    const Problem divided(7, weights_per_batch);
    const std::vector<ForwardCall> calls = split(divided.call(engine, modified), parts);
    EXPECT_LE(calls.size(), static_cast<size_t>(parts));
    EXPECT_EQ(calls.size(), static_cast<size_t>(parts <= 3 ? parts : parts < 6 ? 3 : 6));
    for (const ForwardCall& call : calls) call.run();
    EXPECT_EQ(divided.out.bytes, whole.out.bytes) << parts << " parts";
    EXPECT_EQ(divided.logsumexp.bytes, whole.logsumexp.bytes) << parts << " parts";
  }
}

TEST(Split, ReferenceWithEveryModifier) {
  expect_parts_equal_whole(NF_ENGINE_REFERENCE, true, true);
  expect_parts_equal_whole(NF_ENGINE_REFERENCE, true, false);
}

TEST(Split, FastestEngine) { expect_parts_equal_whole(NF_ENGINE_AUTO, false, true); }

TEST(Split, LeavesEmptyProblemsWhole) {
  const Problem problem(7);
  ForwardCall call = problem.call(NF_ENGINE_AUTO, false);
  for (Tensor* tensor : {&call.query, &call.key, &call.value, &call.out, &*call.logsumexp}) tensor->sizes[0] = 0;
  EXPECT_EQ(split(call, 10).size(), 1u);
}

TEST(UsefulFlops, CountBothProductsAndAdditionalKeys) {
  const Problem problem(7);
  nf_explanation explanation = {};
  explanation.useful_pairs = 1000;
  EXPECT_EQ(useful_flops(problem.call(NF_ENGINE_AUTO, false), explanation), 2 * 1000.0 * (8 + 5));
  const double rows = 3 * 6 * 7 * 4;
  EXPECT_EQ(useful_flops(problem.call(NF_ENGINE_AUTO, true), explanation), 2 * (1000.0 + 2 * rows) * (8 + 5));
}

}  // namespace
}  // namespace nearfield::cli::testing
