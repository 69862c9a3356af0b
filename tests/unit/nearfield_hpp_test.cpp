// The C++ face: the same numbers and messages as the C ABI, and its own conveniences.
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "c_api_cases.h"
#include "nearfield/nearfield.hpp"

namespace {

namespace nf = nearfield;
using nearfield::test::Grid;
using nearfield::test::HandComputed;
using nearfield::test::kNan;

template <class Body>
std::string message_of(Body&& body, nf_status status = NF_INVALID_ARGUMENT) {
  try {
    body();
  } catch (const nf::Error& error) {
    EXPECT_EQ(error.status(), status);
    return error.what();
  }
  return "nothing was thrown";
}

TEST(CppFace, ForwardAndBackwardGiveTheHandComputedNumbers) {
  HandComputed problem;
  const std::array<int64_t, 4> shape = {1, 4, 1, 1};
  const auto q = nf::Tensor::of(problem.query, shape), k = nf::Tensor::of(problem.key, shape);
  const auto v = nf::Tensor::of(problem.value, shape), out = nf::Tensor::of(problem.out, shape);
  const auto lse = nf::Tensor::of(problem.logsumexp, {1, 4, 1});
  const auto options = nf::Options().with_engine(NF_ENGINE_REFERENCE);
  nf::forward(nf::neighborhood({3}), q, k, v, out, lse, options);
  problem.expect_out();

  const std::vector<double> dout(4, 1.0);
  std::vector<double> dvalue(4, kNan);
  nf::backward(nf::neighborhood({3}), q, k, v, out, lse, nf::Tensor::of(dout, shape),
               {.value = nf::Tensor::of(dvalue, shape)}, {}, options);
  const std::array<double, 4> expected = {1.0 / 3, 10.0 / 9, 5.0 / 3, 8.0 / 9};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(dvalue[i], expected[i], 1e-14) << i;
}

TEST(CppFace, ModifiersReachTheEngine) {
  HandComputed problem;
  const std::array<int64_t, 4> shape = {1, 4, 1, 1};
  const std::vector<unsigned char> mask = {1, 1, 0, 1};
  nf::forward(nf::neighborhood({3}), nf::Tensor::of(problem.query, shape), nf::Tensor::of(problem.key, shape),
              nf::Tensor::of(problem.value, shape), nf::Tensor::of(problem.out, shape), {},
              nf::Options().with_engine(NF_ENGINE_REFERENCE), {.key_mask = nf::Tensor::of(mask, {1, 4})});
  EXPECT_NEAR(problem.out[0], 2.0, 1e-14);  // (1*6 + 2*0) / 3
  EXPECT_NEAR(problem.out[3], 6.0, 1e-14);  // (2*0 + 4*9) / 6
}

TEST(CppFace, MessagesAreThoseOfTheCApi) {
  Grid grid;
  const nf::Tensor q = nf::Tensor::of(grid.query, {1, 9, 10, 2, 16}), out = nf::Tensor::of(grid.out, {1, 9, 10, 2, 16});
  const std::vector<nf::Neighborhood> patterns = {
      nf::neighborhood({0, 3}), nf::neighborhood({3, 3}).stride({4, 1}), nf::neighborhood({3, 3}).dilation({1, -2}),
      nf::neighborhood({3, 3}).dilation({1, 3}).boundary({NF_CLAMP, NF_WRAP}), nf::neighborhood({3})};
  for (const nf::Neighborhood& pattern : patterns) {
    const std::string cpp = message_of([&] { nf::forward(pattern, q, q, q, out); });
    ASSERT_EQ(nf_forward(pattern, &q, &q, &q, nullptr, nullptr, &out, nullptr), NF_INVALID_ARGUMENT);
    EXPECT_EQ(cpp, nf_last_error());
  }
}

TEST(CppFace, TheCallersThreadsAndWorkspaceAreUsed) {
  Grid grid;
  const std::vector<int64_t> shape = {1, 9, 10, 2, 16};
  const auto q = nf::Tensor::of(grid.query, shape), k = nf::Tensor::of(grid.key, shape);
  const auto v = nf::Tensor::of(grid.value, shape), out = nf::Tensor::of(grid.out, shape);
  const auto pattern = nf::neighborhood({3, 5});
  nf::forward(pattern, q, k, v, out, {}, nf::Options().with_threads(3));
  const std::vector<float> expected = grid.out;

  int64_t indices = 0;
  auto run = [&](int64_t count, auto body) {
    indices += count;
    for (int64_t i = 0; i < count; ++i) body(i);
  };
  auto options = nf::Options().with_threads(3).with_parallel_for(run);
  std::vector<std::byte> workspace(nf::forward_workspace(pattern, q, k, v, options));
  grid.out.assign(grid.out.size(), std::numeric_limits<float>::quiet_NaN());
  nf::forward(pattern, q, k, v, nf::Tensor::of(grid.out, shape), {}, options.with_workspace(workspace));
  EXPECT_EQ(grid.out, expected);
  EXPECT_GE(indices, 2);
}

TEST(CppFace, TensorsOfRangesHaveToFillThem) {
  std::vector<float> memory(12);
  EXPECT_EQ(nf::Tensor::of(memory, {3, 4}).strides[0], 4);
  EXPECT_EQ(message_of([&] {
              nf::Tensor::of(memory, {3, 5});
            }),
            "shape: has 15 elements: must have the 12 of its memory");
  EXPECT_EQ(message_of([&] {
              nf::Tensor(memory.data(), NF_FLOAT32, {1, 1, 1, 1, 1, 1, 12});
            }),
            "shape: has 7 dimensions: must have at most 6");
  EXPECT_EQ(message_of([&] {
              nf::Tensor(memory.data(), NF_FLOAT32, {3, 4}, {1});
            }),
            "strides: has 1 values: must have one for each of the 2 dimensions");
}

TEST(CppFace, PermutedViewsNeedNoCopy) {
  // Heads first in memory: (batch, heads, x, channel).
  Grid grid;
  const auto heads_first = nf::Tensor::of(grid.query, {1, 2, 90, 16});
  const auto tokens_first = heads_first.permuted({0, 2, 1, 3});
  EXPECT_EQ(tokens_first.data, heads_first.data);
  const std::array<int64_t, 4> sizes = {1, 90, 2, 16}, strides = {2 * 90 * 16, 16, 90 * 16, 1};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(tokens_first.sizes[i], sizes[i]);
    EXPECT_EQ(tokens_first.strides[i], strides[i]);
  }
  EXPECT_EQ(message_of([&] { heads_first.permuted({0, 1, 2}); }), "order: must name each of the 4 dimensions once");
  EXPECT_EQ(message_of([&] {
              heads_first.permuted({0, 1, 1, 3});
            }),
            "order[2]=1: must name each of the 4 dimensions once");
  EXPECT_EQ(message_of([&] {
              heads_first.permuted({0, 1, 2, 4});
            }),
            "order[3]=4: must name each of the 4 dimensions once");
}

TEST(CppFace, PatternsNeedOneValueForEachAxis) {
  EXPECT_EQ(message_of([] { nf::neighborhood({1, 1, 1, 1}); }), "kernel_size: has 4 values: must have 1, 2 or 3");
  EXPECT_EQ(message_of([] { nf::neighborhood(std::vector<int64_t>{}); }),
            "kernel_size: has 0 values: must have 1, 2 or 3");
  EXPECT_EQ(message_of([] {
              nf::neighborhood({7, 7}).stride({2});
            }),
            "stride: has 1 values: must have one for each of the 2 axes");
  const nf_neighborhood spec = nf::neighborhood({7, 5}).causal({false, true}).boundary({NF_WRAP, NF_CUT}).spec();
  const int64_t windows[2] = {7, 5};
  nf_neighborhood expected = nf_make_neighborhood(2, windows);
  expected.is_causal[1] = 1;
  expected.boundary[0] = NF_WRAP;
  expected.boundary[1] = NF_CUT;
  EXPECT_EQ(std::memcmp(&spec, &expected, sizeof spec), 0);
}

TEST(CppFace, TellsOfTheMachineAndTheChoice) {
  EXPECT_EQ(nf::version(), nf_version());
  EXPECT_EQ(nf::name(NF_BFLOAT16), nf_dtype_name(NF_BFLOAT16));
  EXPECT_EQ(nf::name(static_cast<nf_isa>(99)), "unknown");
  EXPECT_TRUE(nf::available(nf::selected_isa()));
  EXPECT_TRUE(nf::available(NF_ENGINE_CPU));
  EXPECT_GE(nf::default_num_threads(), 1);
  const auto q = nf::Tensor(nullptr, NF_FLOAT32, {1, 9, 10, 2, 16});
  const auto options = nf::Options().with_engine(NF_ENGINE_REFERENCE).with_threads(1);
  const std::string text = nf::to_string(nf::explain(nf::neighborhood({3, 3}), q, q, q, options));
  EXPECT_EQ(text.find("engine=reference threads=1 waste=1.00: "), 0U) << text;
}

TEST(CppFace, ExplainsABackwardAndItsMemory) {
  const auto q = nf::Tensor(nullptr, NF_BFLOAT16, {1, 9, 10, 2, 16});
  const auto pattern = nf::neighborhood({3, 3});
  const auto options = nf::Options().with_threads(1);
  nf::Gradients only_query, all;
  only_query.query = all.query = q;
  all.key = all.value = q;
  const size_t small = nf::backward_workspace(pattern, q, q, q, only_query, options);
  const size_t large = nf::backward_workspace(pattern, q, q, q, all, options);
  EXPECT_GT(small, 0U);
  EXPECT_GE(large, small + 2 * 9 * 10 * 2 * 16 * sizeof(float)) << "16-bit gradients are summed in float copies";
  const std::string text = nf::to_string(nf::explain_backward(pattern, q, q, q, all, options));
  EXPECT_NE(text.find("one pass over the pairs"), std::string::npos) << text;
}

}  // namespace
