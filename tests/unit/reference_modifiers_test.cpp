// The reference engine's modifiers on cases whose results are known by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/reference/reference.h"
#include "small_problem.h"

namespace nearfield::test {
namespace {

using namespace core;

constexpr double kClose = 1e-14;

// One byte per token.
TensorView mask_of(std::vector<unsigned char>& mask) {
  TensorView view;
  view.data = reinterpret_cast<std::byte*>(mask.data());
  view.dtype = DType::boolean;
  view.rank = 2;
  view.sizes[0] = 1;
  view.sizes[1] = view.strides[0] = static_cast<int64_t>(mask.size());
  view.strides[1] = 1;
  return view;
}

TEST(ReferenceModifiers, MaskedKeysAreNeverRead) {
  SmallProblem small(4, 4);
  small.allocate();
  std::vector<unsigned char> mask = {1, 0, 1, 0};
  small.problem.modifiers.key_mask = mask_of(mask);
  small.key = {0, kNan, 0, 0};
  small.value = {1, 5, 3, kNan};
  small.dout.assign(4, 1.0);
  reference_forward(small.problem, small.outputs);
  for (double x : small.out) EXPECT_NEAR(x, 2, kClose);
  reference_backward(small.problem, small.inputs, small.gradients);
  for (size_t j : {1, 3}) {
    EXPECT_EQ(small.dkey[j], 0);
    EXPECT_EQ(small.dvalue[j], 0);
  }
  EXPECT_NEAR(small.dvalue[0], 2, kClose);
  for (double x : small.dquery) EXPECT_EQ(x, 0);  // all seen keys are 0
}

TEST(ReferenceModifiers, QueryWithoutKeysGivesZeros) {
  SmallProblem small(3, 3);
  small.allocate();
  std::vector<unsigned char> mask = {0, 0, 0};
  small.problem.modifiers.key_mask = mask_of(mask);
  small.query = small.key = small.value = {kNan, 1, kInfinity};
  small.dout.assign(3, 1.0);
  small.dlogsumexp.assign(3, 1.0);
  reference_forward(small.problem, small.outputs);
  reference_backward(small.problem, small.inputs, small.gradients);
  const std::vector<double> zeros(3, 0.0);
  EXPECT_EQ(small.out, zeros);
  EXPECT_EQ(small.logsumexp, std::vector<double>(3, -kInfinity));
  for (const auto* gradient : {&small.dquery, &small.dkey, &small.dvalue}) EXPECT_EQ(*gradient, zeros);
}

TEST(ReferenceModifiers, WeightsMultiplyAndZeroMasks) {
  SmallProblem small(3, 3);
  small.allocate();
  std::vector<double> weights = {1, 3, 0}, dweights(3, kNan);
  small.problem.modifiers.key_weights = view_of(weights, {1, 3});
  small.key = {0, 0, kNan};  // of weight 0: not part of anything
  small.value = {2, 6, kNan};
  reference_forward(small.problem, small.outputs);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(small.out[i], (2 + 3 * 6) / 4.0, kClose);
    EXPECT_NEAR(small.logsumexp[i], std::log(4.0), kClose);
  }
  // At weight 0 the derivative is the true one: d out / d w_2 = (v_2 - out) / 4 for each of three queries.
  small.key[2] = 0;
  small.value[2] = 9;
  small.dout.assign(3, 1.0);
  small.gradients.key_weights = view_of(dweights, {1, 3});
  reference_backward(small.problem, small.inputs, small.gradients);
  EXPECT_NEAR(dweights[0], 3 * (2 - 5) / 4.0, kClose * 10);
  EXPECT_NEAR(dweights[1], 3 * (6 - 5) / 4.0, kClose * 10);
  EXPECT_NEAR(dweights[2], 3 * (9 - 5) / 4.0, kClose * 10);
  EXPECT_EQ(small.dkey[2], 0);
  EXPECT_EQ(small.dvalue[2], 0);
}

TEST(ReferenceModifiers, WeightsThatAreAllZeroGiveZeros) {
  SmallProblem small(2, 2);
  small.allocate();
  std::vector<double> weights = {0, 0}, dweights(2, kNan);
  small.problem.modifiers.key_weights = view_of(weights, {1, 2});
  small.gradients.key_weights = view_of(dweights, {1, 2});
  small.value = {1, 2};
  small.dout = {1, 1};
  reference_forward(small.problem, small.outputs);
  reference_backward(small.problem, small.inputs, small.gradients);
  EXPECT_EQ(small.out, (std::vector<double>{0, 0}));
  EXPECT_EQ(small.logsumexp[0], -kInfinity);
  EXPECT_EQ(dweights, (std::vector<double>{0, 0}));
}

TEST(ReferenceModifiers, SharedWeightsHaveOneGradientForAllBatches) {
  SmallProblem small(2, 2);
  small.problem.shape.batch = 3;
  small.allocate();
  std::vector<double> weights = {1, 1}, dweights(2, kNan);
  TensorView view = view_of(weights, {3, 2}), gradient = view_of(dweights, {3, 2});
  view.strides[0] = gradient.strides[0] = 0;
  small.problem.modifiers.key_weights = view;
  small.gradients.key_weights = gradient;
  small.value = {0, 4, 0, 4, 0, 4};
  small.dout.assign(6, 1.0);
  reference_backward(small.problem, small.inputs, small.gradients);
  // d out / d w_j = (v_j - 2) / 2, in six queries.
  EXPECT_NEAR(dweights[0], -6, kClose * 10);
  EXPECT_NEAR(dweights[1], 6, kClose * 10);
}

TEST(ReferenceModifiers, AdditionalKeysAreNeverMaskedWeightedOrBiased) {
  SmallProblem small(2, 2);
  small.allocate();
  small.problem.shape.additional = 2;
  std::vector<double> keys = {1, 2}, values = {10, 30};
  std::vector<double> weights = {0, 0}, bias = {100, 100, 100};
  small.problem.modifiers.additional_keys = view_of(keys, {1, 2, 1, 1});
  small.problem.modifiers.additional_values = view_of(values, {1, 2, 1, 1});
  small.problem.modifiers.key_weights = view_of(weights, {1, 2});
  small.problem.modifiers.bias = view_of(bias, {1, 3});
  small.problem.modifiers.softcap = 0.5;
  small.query = {1, 0};
  reference_forward(small.problem, small.outputs);
  const double a = std::exp(0.5 * std::tanh(2.0)), b = std::exp(0.5 * std::tanh(4.0));
  EXPECT_NEAR(small.out[0], (10 * a + 30 * b) / (a + b), kClose * 30);
  EXPECT_NEAR(small.logsumexp[0], std::log(a + b), kClose);
  EXPECT_NEAR(small.out[1], 20, kClose * 30);
}

TEST(ReferenceModifiers, SoftcapComesBeforeBiasAndWeights) {
  SmallProblem small(1, 1);
  small.allocate();
  std::vector<double> bias = {7}, weights = {5};
  small.query = {3};
  small.key = {2};
  small.problem.modifiers.softcap = 4;
  small.problem.modifiers.bias = view_of(bias, {1, 1});
  small.problem.modifiers.key_weights = view_of(weights, {1, 1});
  reference_forward(small.problem, small.outputs);
  EXPECT_NEAR(small.logsumexp[0], 4 * std::tanh(6.0 / 4) + 7 + std::log(5.0), kClose * 10);
  small.dlogsumexp = {1};
  reference_backward(small.problem, small.inputs, small.gradients);
  const double slope = 1 / (std::cosh(1.5) * std::cosh(1.5));
  EXPECT_NEAR(small.dquery[0], 2 * slope, kClose * 10);
}

// A bias of 1000 at one offset makes each query answer with the key at that offset.
std::vector<double> key_at_offset(int64_t length, int64_t kernel_size, int64_t stride, Boundary boundary,
                                  int64_t offset) {
  SmallProblem small(length, kernel_size);
  small.axis.boundary = boundary;
  small.axis.stride = stride;
  small.allocate();
  for (int64_t j = 0; j < length; ++j) small.value[static_cast<size_t>(j)] = static_cast<double>(j);
  std::vector<double> bias(static_cast<size_t>(2 * kernel_size - 1), 0.0);
  bias[static_cast<size_t>(offset + kernel_size - 1)] = 1000;
  small.problem.modifiers.bias = view_of(bias, {1, 2 * kernel_size - 1});
  reference_forward(small.problem, small.outputs);
  return small.out;
}

TEST(ReferenceModifiers, BiasIsIndexedByKeyMinusQuery) {
  using Keys = std::vector<double>;
  // Across the seam too.
  EXPECT_EQ(key_at_offset(5, 3, 1, Boundary::wrap, -1), (Keys{4, 0, 1, 2, 3}));
  EXPECT_EQ(key_at_offset(5, 3, 1, Boundary::wrap, 1), (Keys{1, 2, 3, 4, 0}));
  // Windows that hold the whole axis: offsets in (-n/2, n/2], so -1, 0, 1, 2 of four.
  EXPECT_EQ(key_at_offset(4, 6, 1, Boundary::wrap, 2), (Keys{2, 3, 0, 1}));
  EXPECT_EQ(key_at_offset(4, 6, 1, Boundary::wrap, -1), (Keys{3, 0, 1, 2}));
  EXPECT_EQ(key_at_offset(4, 6, 1, Boundary::wrap, -2), (Keys{1.5, 1.5, 1.5, 1.5}));  // no such offset: means
  // Blocks of two: only the first query of each has a key ahead; the others answer with the block's mean.
  EXPECT_EQ(key_at_offset(4, 2, 2, Boundary::wrap, 1), (Keys{1, 0.5, 3, 2.5}));
  // At a clamped border the window has shifted: only the first query sees two ahead.
  EXPECT_EQ(key_at_offset(5, 3, 1, Boundary::clamp, 2), (Keys{2, 1, 2, 3, 3}));
  EXPECT_EQ(key_at_offset(5, 3, 1, Boundary::cut, 1), (Keys{1, 2, 3, 4, 3.5}));
}

TEST(ReferenceModifiers, BiasOfMinusInfinityRemovesPairs) {
  SmallProblem small(3, 3);
  small.allocate();
  std::vector<double> bias(5, -kInfinity), dbias(5, kNan);
  small.problem.modifiers.bias = view_of(bias, {1, 5});
  small.gradients.bias = view_of(dbias, {1, 5});
  small.value = {1, 2, 3};
  small.dout.assign(3, 1.0);
  reference_forward(small.problem, small.outputs);
  EXPECT_EQ(small.out, (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(small.logsumexp[1], -kInfinity);
  bias[2] = 0;  // each query sees itself only
  reference_forward(small.problem, small.outputs);
  EXPECT_EQ(small.out, small.value);
  reference_backward(small.problem, small.inputs, small.gradients);
  EXPECT_EQ(small.dvalue, small.dout);
  EXPECT_EQ(dbias, std::vector<double>(5, 0.0));
}

}  // namespace
}  // namespace nearfield::test
