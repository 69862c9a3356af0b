// The C ABI's unfused operators on problems small enough to do by hand, and what they say to wrong arguments.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "nearfield/nearfield.hpp"

namespace nearfield {
namespace {

constexpr float kHidden = -HUGE_VALF;
constexpr nf_engine kEngines[] = {NF_ENGINE_REFERENCE, NF_ENGINE_NAIVE, NF_ENGINE_GEMM, NF_ENGINE_AUTO};

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Four tokens of one head and channel, query 1 and key and value 1 2 3 4.
struct Line {
  std::vector<float> query = {1, 1, 1, 1}, key = {1, 2, 3, 4}, out = {NAN, NAN, NAN, NAN};
  Tensor q = Tensor::of(query, {1, 4, 1, 1}), k = Tensor::of(key, {1, 4, 1, 1}), o = Tensor::of(out, {1, 4, 1, 1});
};

TEST(Unfused, WeightsLieAsTheWindowsDo) {
  struct Case {
    const char* what;
    Neighborhood pattern;
    std::vector<float> weights;
  };
  const float h = kHidden;
  const Case cases[] = {
      {"clamp", neighborhood({3}), {1, 2, 3, 1, 2, 3, 2, 3, 4, 2, 3, 4}},
      {"cut", neighborhood({3}).boundary({NF_CUT}), {1, 2, h, 1, 2, 3, 2, 3, 4, 3, 4, h}},
      {"wrap", neighborhood({3}).boundary({NF_WRAP}), {4, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 1}},
      {"wrap, whole", neighborhood({5}).boundary({NF_WRAP}), {1, 2, 3, 4, h, 1, 2, 3, 4, h,
                                                              1, 2, 3, 4, h, 1, 2, 3, 4, h}},
      {"causal", neighborhood({2}).causal({true}), {1, h, 1, 2, 2, 3, 3, 4}},
      {"dilation", neighborhood({2}).dilation({2}), {1, 3, 2, 4, 1, 3, 2, 4}},
      {"longer than the axis", neighborhood({6}), {1, 2, 3, 4, h, h, 1, 2, 3, 4, h, h,
                                                   1, 2, 3, 4, h, h, 1, 2, 3, 4, h, h}},
  };
  for (const Case& each : cases)
    for (const nf_engine engine : kEngines) {
      const Line line;
      const std::vector<int64_t> slots = weight_slots(each.pattern, {4});
      ASSERT_EQ(slots, std::vector<int64_t>{static_cast<int64_t>(each.weights.size()) / 4}) << each.what;
      std::vector<float> weights(each.weights.size(), NAN);
      const Tensor w = Tensor::of(weights, {1, 4, 1, slots[0]});
      qk(each.pattern, line.q, line.k, w, Options().with_engine(engine).with_scale(1));
      EXPECT_EQ(weights, each.weights) << each.what << ", " << nf_engine_name(engine);
      // What hidden slots hold is not read.
      for (float& x : weights) x = x == h ? NAN : 1;
      av(each.pattern, w, line.k, line.o, Options().with_engine(engine));
      for (size_t i = 0; i < 4; ++i) {
        float sum = 0;
        for (int64_t s = 0; s < slots[0]; ++s) {
          const float key = each.weights[i * static_cast<size_t>(slots[0]) + static_cast<size_t>(s)];
          if (key != h) sum += key;
        }
        EXPECT_EQ(line.out[i], sum) << each.what << ", " << nf_engine_name(engine);
      }
    }
}

TEST(Unfused, AForwardLeavesItsSoftmax) {
  for (const nf_engine engine : kEngines) {
    const Line line;
    std::vector<float> weights(12, NAN), logsumexp(4, NAN);
    forward_weights(neighborhood({3}).boundary({NF_CUT}), line.q, line.k, line.k, line.o,
                    Tensor::of(weights, {1, 4, 1, 3}), Tensor::of(logsumexp, {1, 4, 1}),
                    Options().with_engine(engine).with_scale(std::log(2.0)));
    const float expected[] = {1.f / 3, 2.f / 3, 0,       1.f / 7, 2.f / 7, 4.f / 7,
                              1.f / 7, 2.f / 7, 4.f / 7, 1.f / 3, 2.f / 3, 0};
    for (size_t i = 0; i < 12; ++i) EXPECT_NEAR(weights[i], expected[i], 1e-6) << i << nf_engine_name(engine);
    EXPECT_NEAR(line.out[0], 5.0 / 3, 1e-5);
    EXPECT_NEAR(logsumexp[0], std::log(6.0), 1e-5);
  }
}

TEST(Unfused, NothingHasNoWeightsButSumsOverItAreZero) {
  std::vector<float> bias(3, 1), dbias(3, NAN);
  const Tensor none(nullptr, NF_FLOAT32, {0, 4, 1, 1}), weights(nullptr, NF_FLOAT32, {0, 4, 1, 2});
  const Tensor table = Tensor::of(bias, {1, 3});
  qk(neighborhood({2}), none, none, weights, {}, {.bias = table});
  qk_backward(neighborhood({2}), none, none, weights, {.bias = Tensor::of(dbias, {1, 3})}, {}, {.bias = table});
  EXPECT_EQ(dbias, (std::vector<float>{0, 0, 0}));
}

TEST(Unfused, ErrorsNameTheArgumentItsValueAndTheRule) {
  const Line line;
  std::vector<float> memory(16);
  const auto weights = [&](int64_t slots) { return Tensor::of(memory.data(), {1, 4, 1, slots}); };
  const auto of_qk = [&](const nf_pattern* pattern, const Tensor& w, const Options& options = {},
                         const Modifiers& modifiers = {}) {
    return error_of([&] { qk(pattern, line.q, line.k, w, options, modifiers); });
  };
  const auto three = neighborhood({3});
  EXPECT_EQ(of_qk(three, weights(3)), "");
  EXPECT_EQ(of_qk(three, weights(2)),
            "weights.sizes[3]=2 (slots): must be 3, the slots of nf_weight_slots and the additional keys");
  EXPECT_EQ(of_qk(three, Tensor::of(memory.data(), {1, 1, 4, 3})),
            "weights.sizes[1]=1 (axis 0): must be 4, as in query");
  EXPECT_EQ(of_qk(three, Tensor(memory.data(), NF_FLOAT32, {1, 4, 1, 3}, {12, 1, 12, 4})),
            "weights.strides[3]=4 (slots): must be 1");
  EXPECT_EQ(of_qk(three, Tensor(memory.data(), NF_BFLOAT16, {1, 4, 1, 3})),
            "weights.dtype=bfloat16: must be float32, as in query");
  EXPECT_EQ(of_qk(three, Tensor(line.key.data(), NF_FLOAT32, {1, 4, 1, 3}, {0, 0, 0, 1})),
            "weights: overlaps itself: each element of an output needs memory of its own");
  EXPECT_EQ(of_qk(three, weights(3), Options().with_engine(NF_ENGINE_CPU)),
            "engine=cpu: has no explicit weights; gemm, naive and reference do");
  std::byte workspace[8];
  EXPECT_EQ(of_qk(three, weights(3), Options().with_workspace(workspace)),
            "workspace: must be NULL: unfused operators take none");
  EXPECT_EQ(of_qk(three, weights(3), {}, {.softcap = 2}), "softcap=2: must be 0: apply it to the weights of nf_qk");
  EXPECT_EQ(of_qk(three, weights(3), {}, {.key_weights = Tensor::of(memory.data(), {4})}),
            "key_weights: must be NULL: add their logarithms to the weights of nf_qk");
  EXPECT_EQ(of_qk(neighborhood({int64_t{1} << 40}), weights(3)),
            "weights.sizes[3]=3 (slots): must be 1099511627776, the slots of nf_weight_slots and the additional keys");
  EXPECT_EQ(error_of([&] { qk_backward(three, line.q, line.k, weights(3), {.bias = weights(3)}); }),
            "gradients.bias: must be NULL where bias is");
  EXPECT_EQ(error_of([&] { av(three, weights(4), line.k, line.o); }),
            "weights.sizes[3]=4 (slots): must be 3, the slots of nf_weight_slots and the additional keys");
  EXPECT_EQ(error_of([&] {
              av(three, weights(3), Tensor::of(line.key, {1, 2, 2, 1}), line.o);
            }),
            "value.sizes[1]=2 (axis 0): must be 4, as in weights");
  EXPECT_EQ(
      error_of([&] { forward_weights(three, line.q, line.k, line.k, line.o, weights(3), {}, {}, {.softcap = 1}); }),
      "softcap=1: attention that leaves its weights takes none");
  const auto sphere = Sphere({.nlat = 2, .nlon = 2});
  EXPECT_EQ(error_of([&] {
              weight_slots(sphere, {2, 2});
            }),
            "pattern: explicit weights have no slots on the sphere, where every latitude has windows of its own");
}

// The size is computed, checked and named before anything is allocated.
TEST(Unfused, WeightsTooLargeForMemoryAreRefused) {
  const std::vector<int64_t> shape = {64, 1 << 20, 64, 8};
  const Tensor none(nullptr, NF_FLOAT32, shape);
  const auto message =
      error_of([&] { explain(neighborhood({1 << 18}), none, none, none, Options().with_engine(NF_ENGINE_GEMM)); });
  EXPECT_EQ(message.substr(0, message.find(" take")),
            "explicit weights: 64 x 1048576 queries x 64 heads x 262144 slots of float32");
  const Tensor some(nullptr, NF_FLOAT32, {1, 100, 2, 8});
  const nf_explanation e =
      explain(neighborhood({5}), some, some, some, Options().with_engine(NF_ENGINE_GEMM).with_threads(1));
  EXPECT_GE(e.workspace, 100u * 2 * 5 * sizeof(float));
  EXPECT_EQ(e.engine, NF_ENGINE_GEMM);
  EXPECT_NE(std::string(e.reason).find("1 x 100 queries x 2 heads x 5 slots"), std::string::npos) << e.reason;
}

}  // namespace
}  // namespace nearfield
