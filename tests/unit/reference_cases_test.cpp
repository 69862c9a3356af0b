// The reference engine on cases whose results are known by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "check/random_problem.h"
#include "engine/reference/reference.h"
#include "small_problem.h"

namespace nearfield::test {
namespace {

using namespace core;

constexpr double kClose = 1e-14;

TEST(ReferenceCases, WindowsShiftAtTheBorder) {
  SmallProblem small(5, 3);
  small.allocate();
  small.value = {1, 2, 3, 4, 9};
  reference_forward(small.problem, small.outputs);
  const double expected[] = {2, 2, 3, 16.0 / 3, 16.0 / 3};  // means: all logits are 0
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(small.out[i], expected[i], kClose) << i;
    EXPECT_NEAR(small.logsumexp[i], std::log(3.0), kClose) << i;
  }
}

TEST(ReferenceCases, TwoKeysByHand) {
  SmallProblem small(2, 2);
  small.allocate();
  small.problem.scale = 0.5;
  small.query = {2, -1};
  small.key = {1, 3};
  small.value = {10, 20};
  small.dout = {1, 0};
  reference_forward(small.problem, small.outputs);
  const double p = 1 / (1 + std::exp(-2.0));  // query 0: logits 1 and 3; p is the second key's
  EXPECT_NEAR(small.out[0], 10 + 10 * p, kClose * 20);
  EXPECT_NEAR(small.logsumexp[0], std::log(std::exp(1.0) + std::exp(3.0)), kClose * 4);
  reference_backward(small.problem, small.inputs, small.gradients);
  // d out_0 / d (logit_1 - logit_0) = 10 p (1 - p)
  const double slope = 10 * p * (1 - p);
  EXPECT_NEAR(small.dquery[0], slope * 0.5 * (3 - 1), kClose * 20);
  EXPECT_NEAR(small.dkey[0], -slope * 0.5 * 2, kClose * 20);
  EXPECT_NEAR(small.dkey[1], slope * 0.5 * 2, kClose * 20);
  EXPECT_NEAR(small.dvalue[0], 1 - p, kClose);
  EXPECT_NEAR(small.dvalue[1], p, kClose);
  EXPECT_EQ(small.dquery[1], 0);
}

TEST(ReferenceCases, WindowOfOneHasExactGradients) {
  SmallProblem small(3, 1);
  small.allocate();
  small.query = {1, 2, 3};
  small.key = {4, 5, 6};
  small.value = {7, 8, 9};
  small.dout = {1, -2, 3};
  small.dlogsumexp = {0, 0, 2};
  reference_backward(small.problem, small.inputs, small.gradients);
  EXPECT_EQ(small.dvalue, small.dout);
  EXPECT_EQ(small.dquery, (std::vector<double>{0, 0, 2 * 6}));  // logsumexp_2 = q_2 k_2
  EXPECT_EQ(small.dkey, (std::vector<double>{0, 0, 2 * 3}));
}

TEST(ReferenceCases, WholeAxisIsPlainSoftmaxAttention) {
  const size_t n = 7, dim = 3;
  SmallProblem small(7, 7);
  small.problem.shape.head_dim = small.problem.shape.head_dim_v = 3;
  small.problem.scale = 0.7;
  small.allocate();
  Random random(1);
  for (auto* tensor : {&small.query, &small.key, &small.value}) {
    for (double& x : *tensor) x = random.normal();
  }
  reference_forward(small.problem, small.outputs);
  for (size_t i = 0; i < n; ++i) {
    double total = 0, sums[dim] = {};
    for (size_t j = 0; j < n; ++j) {
      double product = 0;
      for (size_t c = 0; c < dim; ++c) product += small.query[i * dim + c] * small.key[j * dim + c];
      const double weight = std::exp(0.7 * product);
      total += weight;
      for (size_t c = 0; c < dim; ++c) sums[c] += weight * small.value[j * dim + c];
    }
    for (size_t c = 0; c < dim; ++c) EXPECT_NEAR(small.out[i * dim + c], sums[c] / total, kClose);
    EXPECT_NEAR(small.logsumexp[i], std::log(total), kClose);
  }
}

TEST(ReferenceCases, GroupedHeadsReadTheirKeyValueHead) {
  SmallProblem small(2, 2);
  small.problem.shape.heads = 6;
  small.problem.shape.heads_kv = 2;
  small.allocate();
  small.value = {5, 8, 5, 8};
  small.dout.assign(12, 1.0);
  reference_forward(small.problem, small.outputs);
  EXPECT_EQ(small.out, (std::vector<double>{5, 5, 5, 8, 8, 8, 5, 5, 5, 8, 8, 8}));
  reference_backward(small.problem, small.inputs, small.gradients);
  EXPECT_EQ(small.dvalue, (std::vector<double>{3, 3, 3, 3}));  // three query heads each, half from each of two queries
}

TEST(ReferenceCases, ZeroAndNegativeScaleAreUsedAsGiven) {
  SmallProblem small(4, 4), flipped(4, 4);
  for (SmallProblem* s : {&small, &flipped}) {
    s->allocate();
    s->query = {1, -2, 3, 0.5};
    s->key = {0.3, 2, -1, 1};
    s->value = {1, 2, 3, 10};
  }
  small.problem.scale = 0;
  reference_forward(small.problem, small.outputs);
  for (double x : small.out) EXPECT_NEAR(x, 4, kClose);
  small.problem.scale = -0.8;
  flipped.problem.scale = 0.8;
  for (double& q : flipped.query) q = -q;
  reference_forward(small.problem, small.outputs);
  reference_forward(flipped.problem, flipped.outputs);
  EXPECT_EQ(small.out, flipped.out);
  EXPECT_NEAR(small.logsumexp[1], std::log(std::exp(1.6 * 0.3) + std::exp(1.6 * 2) + std::exp(-1.6) + std::exp(1.6)),
              kClose * 4);
}

TEST(ReferenceCases, NonFiniteTokensReachOnlyTheirNeighbours) {
  for (const double poison : {kNan, kInfinity}) {
    for (int tensor = 0; tensor < 3; ++tensor) {
      SmallProblem small(9, 3);
      small.allocate();
      small.query.assign(9, 1.0);
      (tensor == 0 ? small.query : tensor == 1 ? small.key : small.value)[4] = poison;
      reference_forward(small.problem, small.outputs);
      for (int64_t i = 0; i < 9; ++i) {
        const bool sees = tensor == 0 ? i == 4 : std::abs(i - 4) <= 1;
        EXPECT_EQ(std::isfinite(small.out[static_cast<size_t>(i)]), !sees) << "tensor " << tensor << " query " << i;
      }
      small.dout.assign(9, 1.0);
      reference_backward(small.problem, small.inputs, small.gradients);
      for (int64_t i = 0; i < 9; ++i) {
        const bool sees = tensor == 0 ? i == 4 : std::abs(i - 4) <= 1;
        EXPECT_TRUE(sees || std::isfinite(small.dquery[static_cast<size_t>(i)])) << tensor << " query " << i;
        // A key hears from queries that see the token, so from at most two windows away.
        EXPECT_TRUE(std::abs(i - 4) <= 2 || std::isfinite(small.dkey[static_cast<size_t>(i)])) << tensor;
      }
    }
  }
}

TEST(ReferenceCases, RoundsToTheOutputsDtypeOnce) {
  SmallProblem small(1, 1);
  small.allocate();
  // Nearest bfloat16 is 1 + 2^-7; through float32 it would be a tie, and 1.
  small.value = {1 + 0x1p-8 + 0x1p-40};
  uint16_t bits = 0;
  TensorView out = small.outputs.out;
  out.data = reinterpret_cast<std::byte*>(&bits);
  out.dtype = DType::bfloat16;
  reference_forward(small.problem, {out, {}});
  EXPECT_EQ(load_double(&bits, DType::bfloat16), 1 + 0x1p-7);
  // The same for float16 and 10 bits.
  small.value = {1 + 0x1p-11 + 0x1p-40};
  out.dtype = DType::float16;
  reference_forward(small.problem, {out, {}});
  EXPECT_EQ(load_double(&bits, DType::float16), 1 + 0x1p-10);
}

TEST(ReferenceCases, NothingToDoIsNoError) {
  SmallProblem no_batch(3, 3), no_tokens(0, 3);
  no_batch.problem.shape.batch = 0;
  for (SmallProblem* small : {&no_batch, &no_tokens}) {
    small->allocate();
    std::vector<double> bias(5, 1.0), dbias(5, kNan);
    small->problem.modifiers.bias = view_of(bias, {1, 5});
    small->gradients.bias = view_of(dbias, {1, 5});
    reference_forward(small->problem, small->outputs);
    reference_backward(small->problem, small->inputs, small->gradients);
    EXPECT_EQ(dbias, std::vector<double>(5, 0.0));
  }
}

TEST(ReferenceCases, ThreadsDoNotChangeBits) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    RandomProblem random(seed, {.dtypes = {DType::float64}, .max_multiplies = 50000});
    std::vector<double> results[2];
    for (int run = 0; run < 2; ++run) {
      random.problem().threading.num_threads = run == 0 ? 1 : 4;
      random.poison();
      reference_forward(random.problem(), random.outputs());
      const TensorView& out = random.outputs().out;
      for_each_element(out, [&](const ElementIndex&, int64_t element) {
        results[run].push_back(load_double(out.at(element), out.dtype));
      });
    }
    EXPECT_EQ(results[0], results[1]) << random.describe();
  }
}

}  // namespace
}  // namespace nearfield::test
