// The rules of the unfused operators in docs/api.md: each is broken, and the message looked up in the page.
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "api_doc.h"
#include "nearfield/nearfield.hpp"

namespace nearfield {
namespace {

// Valid arguments of all of them: 2 images of 4 x 6 tokens, 4 heads over 2 of keys, 3 additional keys.
struct Call {
  std::vector<float> memory = std::vector<float>(20000, 0.5F);
  size_t used = 0;
  std::vector<std::byte> scratch = std::vector<std::byte>(64);
  Neighborhood pattern = neighborhood({3, 3});
  Tensor query = take({2, 4, 6, 4, 8}), key = take({2, 4, 6, 2, 8}), value = take({2, 4, 6, 2, 8});
  Tensor weights = take({2, 4, 6, 4, 12}), out = take({2, 4, 6, 4, 8});
  Tensor dbias = take({4, 5, 5}), dvalues = take({2, 3, 2, 8});
  Modifiers modifiers = {.additional_keys = take({2, 3, 2, 8}), .additional_values = take({2, 3, 2, 8})};
  Options options;

  Tensor take(const std::vector<int64_t>& sizes) {
    Tensor tensor = Tensor::of(memory.data() + used, sizes);
    used += static_cast<size_t>(tensor.strides[0] * tensor.sizes[0]);
    return tensor;
  }
  void make_qk() { qk(pattern, query, key, weights, options, modifiers); }
  void make_av() { av(pattern, weights, value, out, options, modifiers); }
  void make_forward() { forward_weights(pattern, query, key, value, out, weights, {}, options, modifiers); }
};

TEST(ApiDoc, ExplicitWeights) {
  Call valid;
  valid.make_qk();
  valid.make_av();
  valid.make_forward();
  const std::vector<std::function<void(Call&)>> broken = {
      [](Call& c) {
        c.weights.sizes[4] = 9;
        c.make_qk();
      },
      [](Call& c) {
        c.weights.strides[4] = 2;
        c.make_qk();
      },
      [](Call& c) {
        c.weights.dtype = NF_BFLOAT16;
        c.make_qk();
      },
      [](Call& c) {
        c.weights.data = c.query.data;
        c.make_qk();
      },
      [](Call& c) {
        c.key.sizes[3] = 3;
        c.make_qk();
      },
      [](Call& c) {
        c.value.sizes[2] = 5;
        c.make_av();
      },
      [](Call& c) {
        c.weights.dtype = NF_FLOAT16;
        c.make_av();
      },
      [](Call& c) {
        c.out.sizes[4] = 4;
        c.make_av();
      },
      [](Call& c) {
        c.modifiers.softcap = 2;
        c.make_qk();
      },
      [](Call& c) {
        c.modifiers.key_weights = c.take({4, 6});
        c.make_qk();
      },
      [](Call& c) {
        c.modifiers.softcap = 2;
        c.make_forward();
      },
      [](Call& c) { qk_backward(c.pattern, c.query, c.key, c.weights, {.bias = c.dbias}, c.options, c.modifiers); },
      [](Call& c) {
        const Tensor slots = c.take({2, 4, 6, 4, 9});
        av_backward(c.pattern, slots, c.value, c.out, {.additional_values = c.dvalues}, c.options);
      },
      [](Call& c) {
        c.options.with_engine(NF_ENGINE_CPU);
        c.make_qk();
      },
      [](Call& c) {
        c.options.with_workspace(c.scratch);
        c.make_qk();
      },
      [](Call& c) {
        c.pattern = neighborhood({int64_t{1} << 31, int64_t{1} << 31});
        c.make_qk();
      },
      [](Call&) {
        weight_slots(Sphere({.nlat = 2, .nlon = 2}), {2, 2});
      },
  };
  test::DocumentedRules page;
  for (const auto& each : broken) {
    Call call;
    try {
      each(call);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      page.expect_next(error.what());
    }
  }
}

}  // namespace
}  // namespace nearfield
