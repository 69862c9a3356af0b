// Every rule for the arguments of a ragged call, by the exact text of its message.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "c_api_cases.h"
#include "nearfield/nearfield.h"

namespace {

using namespace nearfield::test;

// Pieces of 2x3, 0x4, 4x2 and 1x5 tokens with every argument; each test breaks one thing. 4 heads over 2.
struct Call {
  std::vector<float> memory = std::vector<float>(8000, 0.5F);
  std::vector<unsigned char> mask_memory = std::vector<unsigned char>(19, 1);
  size_t used = 0;
  std::vector<int64_t> offsets = {0, 6, 6, 14, 19}, grids = {2, 3, 0, 4, 4, 2, 1, 5};
  nf_tensor query, key, value, out, lse, dout, dlse, dquery, dkey, dvalue;
  nf_tensor additional_keys, additional_values, mask, weights, bias;
  nf_tensor dadditional_keys, dadditional_values, dweights, dbias;
  nf_neighborhood neighborhood;
  const nf_pattern* pattern = &neighborhood.pattern;
  nf_ragged ragged = {sizeof(nf_ragged), 4, offsets.data(), grids.data()};
  const nf_ragged* pieces = &ragged;
  const nf_tensor *q = &query, *k = &key, *v = &value;
  nf_modifiers modifiers = no_modifiers();
  nf_options options = reference_options();
  nf_gradients gradients = {};

  Call() {
    const int64_t windows[2] = {3, 3};
    neighborhood = nf_make_neighborhood(2, windows);
    for (nf_tensor* t : {&query, &dquery}) *t = take({19, 4, 8});
    for (nf_tensor* t : {&key, &dkey}) *t = take({19, 2, 8});
    for (nf_tensor* t : {&value, &dvalue}) *t = take({19, 2, 3});
    for (nf_tensor* t : {&out, &dout}) *t = take({19, 4, 3});
    for (nf_tensor* t : {&lse, &dlse}) *t = take({19, 4});
    for (nf_tensor* t : {&additional_keys, &dadditional_keys}) *t = take({4, 7, 2, 8});
    for (nf_tensor* t : {&additional_values, &dadditional_values}) *t = take({4, 7, 2, 3});
    for (nf_tensor* t : {&weights, &dweights}) *t = take({19});
    for (nf_tensor* t : {&bias, &dbias}) *t = take({4, 5, 5});
    mask = tensor(mask_memory.data(), NF_BOOL, {19});
    modifiers = {sizeof modifiers, &additional_keys, &additional_values, &mask, &weights, &bias, 0};
    gradients = {sizeof gradients, &dquery, &dkey, &dvalue, &dadditional_keys, &dadditional_values, &dweights, &dbias};
  }
  Call(const Call&) = delete;

  nf_tensor take(std::initializer_list<int64_t> sizes) {
    const nf_tensor result = tensor(memory.data() + used, NF_FLOAT32, sizes);
    used += static_cast<size_t>(result.strides[0] * result.sizes[0]);
    return result;
  }
  std::string forward() {
    return message(nf_forward_ragged(pattern, pieces, q, k, v, &modifiers, &options, &out, &lse));
  }
  std::string backward() {
    return message(
        nf_backward_ragged(pattern, pieces, q, k, v, &modifiers, &options, &out, &lse, &dout, &dlse, &gradients));
  }
  static std::string message(nf_status status) {
    EXPECT_TRUE(status == NF_OK || status == NF_INVALID_ARGUMENT) << nf_last_error();
    return status == NF_OK ? "" : nf_last_error();
  }
};

using Change = void (*)(Call&);
void expect_forward(const std::string& message, Change change) {
  Call call;
  change(call);
  EXPECT_EQ(call.forward(), message);
}
void expect_backward(const std::string& message, Change change) {
  Call call;
  change(call);
  EXPECT_EQ(call.backward(), message);
}
void expect_both(const std::string& message, Change change) {
  expect_forward(message, change);
  expect_backward(message, change);
}

TEST(RaggedErrors, Pieces) {
  expect_both("", [](Call&) {});
  expect_both("pattern: must not be NULL", [](Call& c) { c.pattern = nullptr; });
  expect_both("kernel_size[1]=0: must be at least 1", [](Call& c) { c.neighborhood.kernel_size[1] = 0; });
  expect_both("ragged: must not be NULL", [](Call& c) { c.pieces = nullptr; });
  expect_both("ragged.struct_size=8: must be at least 32", [](Call& c) { c.ragged.struct_size = 8; });
  expect_both("count=-1: must be at least 0", [](Call& c) { c.ragged.count = -1; });
  expect_both("count=2147483648: must be at most 2147483647", [](Call& c) { c.ragged.count = int64_t{1} << 31; });
  expect_both("token_offsets: must not be NULL", [](Call& c) { c.ragged.token_offsets = nullptr; });
  expect_both("grids: must not be NULL", [](Call& c) { c.ragged.grids = nullptr; });
  expect_both("token_offsets[0]=1: must be 0", [](Call& c) { c.offsets[0] = 1; });
  expect_both("token_offsets[2]=5: must be at least token_offsets[1]=6", [](Call& c) { c.offsets[2] = 5; });
  expect_both("token_offsets[1]=-1: must be at least token_offsets[0]=0", [](Call& c) { c.offsets[1] = -1; });
  expect_both("token_offsets[4]=20: must be 19, the tokens of query", [](Call& c) { c.offsets[4] = 20; });
  expect_both("token_offsets[3]=14: must be 19, the tokens of query", [](Call& c) { c.ragged.count = 3; });
  expect_both("token_offsets[0]=0: must be 19, the tokens of query", [](Call& c) {
    c.ragged = {32, 0, nullptr, nullptr};
  });
  expect_both("grids[2][1]=-2: must be at least 0", [](Call& c) { c.grids[5] = -2; });
  expect_both("grids[1][1]=2147483648: must be at most 2147483647", [](Call& c) { c.grids[3] = int64_t{1} << 31; });
  expect_both("grids[2]=4x3: must have 8 tokens, token_offsets[3] - token_offsets[2]", [](Call& c) { c.grids[5] = 3; });
  expect_both("grids[0]=2147483647x2147483647: must have 6 tokens, token_offsets[1] - token_offsets[0]",
              [](Call& c) { c.grids[0] = c.grids[1] = (int64_t{1} << 31) - 1; });
}

TEST(RaggedErrors, WhatThePatternDoesNotAllowForOnePiece) {
  expect_both("grids[0][1]=3: dilation[1]=2: must be a divisor of the axis's 3 tokens where boundary[1] is wrap",
              [](Call& c) { c.neighborhood.boundary[1] = NF_WRAP, c.neighborhood.dilation[1] = 2; });
  expect_both("grids[3][0]=1: dilation[0]=2: must be a divisor of the axis's 1 tokens where boundary[0] is wrap",
              [](Call& c) { c.neighborhood.boundary[0] = NF_WRAP, c.neighborhood.dilation[0] = 2; });
  // Neither axis is too much alone: tokens and windows of 2^15 x 2^15 together make 2^60 pairs.
  const std::string message = [] {
    Call c;
    constexpr int64_t kSide = 1 << 15;
    c.offsets = {0, kSide * kSide}, c.grids = {kSide, kSide};
    c.ragged = {sizeof(nf_ragged), 1, c.offsets.data(), c.grids.data()};
    for (nf_tensor* t : {&c.query, &c.key, &c.value, &c.out, &c.lse}) t->sizes[0] = kSide * kSide, t->strides[0] = 0;
    c.neighborhood.kernel_size[0] = c.neighborhood.kernel_size[1] = kSide;
    c.modifiers = no_modifiers();
    return c.forward();
  }();
  EXPECT_EQ(message,
            "grids[0]=32768x32768: kernel_size[1]=32768: must be smaller: a head must have at most 2^53 (query, key) "
            "pairs");
}

TEST(RaggedErrors, Tensors) {
  expect_both("query: must not be NULL", [](Call& c) { c.q = nullptr; });
  expect_both("value: must not be NULL", [](Call& c) { c.v = nullptr; });
  expect_both("query.rank=5: must be 3 (tokens, heads, head_dim)", [](Call& c) { c.query.rank = 5; });
  expect_both("query.sizes[0]=-1 (tokens): must be at least 0", [](Call& c) { c.query.sizes[0] = -1; });
  expect_both("query.sizes[2]=513 (head_dim): must be at most 512", [](Call& c) { c.query.sizes[2] = 513; });
  expect_both("key.sizes[0]=18 (tokens): must be 19, as in query", [](Call& c) { c.key.sizes[0] = 18; });
  expect_both("key.sizes[1]=3 (heads_kv): must divide the 4 heads of query", [](Call& c) { c.key.sizes[1] = 3; });
  expect_both("value.sizes[1]=4 (heads_kv): must be 2, as in key", [](Call& c) { c.value.sizes[1] = 4; });
  expect_both("key.dtype=float16: must be float32, as in query", [](Call& c) { c.key.dtype = NF_FLOAT16; });
  expect_both("value.strides[2]=2 (head_dim_v): must be 1", [](Call& c) { c.value.strides[2] = 2; });
  expect_both("out.sizes[2]=4 (head_dim_v): must be 3, as in value", [](Call& c) { c.out.sizes[2] = 4; });
  expect_both("logsumexp.dtype=float64: must be float32 unless query is float64",
              [](Call& c) { c.lse.dtype = NF_FLOAT64; });
  expect_backward("dout.sizes[0]=18 (tokens): must be 19, as in query", [](Call& c) { c.dout.sizes[0] = 18; });
  expect_backward("dlogsumexp.rank=1: must be 2 (tokens, heads)", [](Call& c) { c.dlse.rank = 1; });
  expect_forward("out: overlaps query: an output must not share memory with an input or another output",
                 [](Call& c) { c.out.data = c.query.data; });
}

TEST(RaggedErrors, ModifiersAndOptions) {
  expect_both("modifiers.struct_size=8: must be at least 56", [](Call& c) { c.modifiers.struct_size = 8; });
  expect_both("softcap=-1: must be finite and at least 0", [](Call& c) { c.modifiers.softcap = -1; });
  expect_both("additional_values: must not be NULL: additional_keys and additional_values come together",
              [](Call& c) { c.modifiers.additional_values = nullptr; });
  expect_both("additional_keys.sizes[0]=3 (pieces): must be 4, the count of ragged",
              [](Call& c) { c.additional_keys.sizes[0] = 3; });
  expect_both("additional_values.sizes[1]=6 (additional keys): must be 7, as in additional_keys",
              [](Call& c) { c.additional_values.sizes[1] = 6; });
  expect_both("key_mask.rank=2: must be 1 (tokens)", [](Call& c) { c.mask.rank = 2; });
  expect_both("key_mask.dtype=float32: must be bool", [](Call& c) { c.mask.dtype = NF_FLOAT32; });
  expect_both("key_weights.sizes[0]=18 (tokens): must be 19, as in query", [](Call& c) { c.weights.sizes[0] = 18; });
  expect_both("key_weights[17]=-0.5: must be finite and at least 0",
              [](Call& c) { static_cast<float*>(c.weights.data)[17] = -0.5F; });
  expect_both("bias.sizes[1]=3 (axis 0): must be 5, 2*kernel_size[0]-1", [](Call& c) { c.bias.sizes[1] = 3; });
  expect_both("num_threads=-1: must be at least 0", [](Call& c) { c.options.num_threads = -1; });
  expect_both("workspace: must be NULL: a ragged call allocates what its pieces need",
              [](Call& c) { c.options.workspace = c.memory.data(), c.options.workspace_size = 64; });
}

TEST(RaggedErrors, Gradients) {
  Call call;
  EXPECT_EQ(Call::message(nf_backward_ragged(call.pattern, call.pieces, call.q, call.k, call.v, &call.modifiers,
                                             &call.options, &call.out, &call.lse, &call.dout, nullptr, nullptr)),
            "gradients: must not be NULL");
  expect_backward("gradients.struct_size=8: must be at least 64", [](Call& c) { c.gradients.struct_size = 8; });
  expect_backward("gradients.bias: must be NULL where bias is NULL", [](Call& c) { c.modifiers.bias = nullptr; });
  expect_backward("gradients.key_weights.sizes[0]=18 (tokens): must be 19, as in query",
                  [](Call& c) { c.dweights.sizes[0] = 18; });
  expect_backward("gradients.additional_keys.sizes[0]=3 (pieces): must be 4, the count of ragged",
                  [](Call& c) { c.dadditional_keys.sizes[0] = 3; });
  expect_backward(
      "gradients.key: overlaps gradients.query: an output must not share memory with an input or another "
      "output",
      [](Call& c) { c.dkey.data = c.dquery.data; });
  expect_backward("", [](Call& c) {
    c.gradients = {};
    c.gradients.struct_size = sizeof c.gradients;
  });
}

TEST(RaggedErrors, NewerStructs) {
  struct Newer {
    nf_ragged known;
    int64_t unknown;
  };
  Call call;
  Newer newer = {call.ragged, 0};
  newer.known.struct_size = sizeof newer;
  call.pieces = &newer.known;
  EXPECT_EQ(call.forward(), "");
  newer.unknown = 1;
  EXPECT_EQ(nf_forward_ragged(call.pattern, call.pieces, call.q, call.k, call.v, nullptr, nullptr, &call.out, nullptr),
            NF_UNSUPPORTED);
  EXPECT_STREQ(nf_last_error(),
               "ragged.struct_size=40: sets a field that nearfield 0.1.0, whose struct has 32 bytes, does not know");
}

}  // namespace
