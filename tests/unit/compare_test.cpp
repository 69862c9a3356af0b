// The comparison with the reference: what passes, what fails, and what it says.
#include "check/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "check/random_problem.h"
#include "engine/reference/reference.h"
#include "small_problem.h"

namespace nearfield::test {
namespace {

using namespace core;

std::string failure(double actual, double expected, const Tolerance& tolerance) {
  std::vector<double> a = {0, actual}, e = {0, expected};
  return compare_tensors("out", view_of(a, {1, 2}), view_of(e, {1, 2}), tolerance).failure;
}

TEST(Compare, AcceptsOnlyWhatIsCloseEnough) {
  const Tolerance tolerance{.max_error = 1e-3};
  EXPECT_EQ(failure(1.0009, 1, tolerance), "");
  EXPECT_NE(failure(1.0011, 1, tolerance), "");
  EXPECT_NE(failure(kNan, 1, tolerance), "");
  EXPECT_NE(failure(1, kNan, tolerance), "");
  EXPECT_EQ(failure(kNan, kNan, tolerance), "");
  EXPECT_EQ(failure(-kInfinity, -kInfinity, tolerance), "");
  EXPECT_NE(failure(kInfinity, -kInfinity, tolerance), "");
  EXPECT_NE(failure(1e300, kInfinity, tolerance), "");
  EXPECT_NE(failure(kInfinity, 1, tolerance), "");
}

TEST(Compare, NamesTheFirstElementThatDiffers) {
  const std::string text = failure(3, 1, {.max_error = 1e-3});
  EXPECT_NE(text.find("out[0, 1] of (1, 2) is 3, the reference says 1"), std::string::npos) << text;
}

TEST(Compare, AssertsTheNormToo) {
  std::vector<double> expected(100, 1.0), actual(100, 1.0009);
  const auto compare = [&](const Tolerance& tolerance) {
    return compare_tensors("out", view_of(actual, {100}), view_of(expected, {100}), tolerance);
  };
  EXPECT_TRUE(compare({.max_error = 1e-3, .relative_l2 = 1e-3}).agrees());
  EXPECT_FALSE(compare({.max_error = 1e-3, .relative_l2 = 1e-4}).agrees());
  EXPECT_TRUE(compare({.max_error = 1e-3, .relative_l2 = 1e-4, .l2_floor = 100}).agrees());
  EXPECT_NEAR(compare({.max_error = 1e-3}).relative_l2, 9e-4, 1e-9);
}

// Adds `error` to one element.
void disturb(const TensorView& view, int64_t which, double error) {
  int64_t n = 0;
  for_each_element(view, [&](const ElementIndex&, int64_t element) {
    if (n++ != which) return;
    store_double(view.at(element), view.dtype, load_double(view.at(element), view.dtype) + error);
  });
}

TEST(Compare, EveryDtypePassesRoundedAndFailsDisturbed) {
  int compared = 0;
  for (uint64_t seed = 0; seed < 150; ++seed) {
    RandomProblem random(seed, {.zero_sizes = false, .gradients = true, .max_multiplies = 20000});
    const Problem& problem = random.problem();
    const ExpectedForward expected(problem);
    random.poison();
    EXPECT_FALSE(expected.compare(random.outputs()).agrees()) << "poison passes: " << random.describe();
    reference_forward(problem, random.outputs());
    ASSERT_EQ(expected.compare(random.outputs()).failure, "") << random.describe();
    disturb(random.outputs().out, 0, 0.5);
    ASSERT_NE(expected.compare(random.outputs()).failure, "") << random.describe();

    const ExpectedGradients gradients(problem, random.backward_inputs(), random.gradients());
    reference_backward(problem, random.backward_inputs(), random.gradients());
    ASSERT_EQ(gradients.compare(random.gradients()).failure, "") << random.describe();
    if (!random.gradients().query) continue;
    disturb(random.gradients().query, 0, kNan);
    ASSERT_NE(gradients.compare(random.gradients()).failure, "") << random.describe();
    ++compared;
  }
  EXPECT_GT(compared, 100);
}

// Gradients that cancel to 0 exactly are measured by the terms that cancelled.
TEST(Compare, CancelledGradientsAreMeasuredByTheirTerms) {
  SmallProblem small(4, 1);
  small.allocate();
  small.query = small.key = small.value = small.dout = {1, 2, 3, 4};
  const ExpectedGradients expected(small.problem, small.inputs, small.gradients);
  reference_backward(small.problem, small.inputs, small.gradients);
  EXPECT_EQ(small.dquery, std::vector<double>(4, 0.0));
  small.dquery[3] = 1e-13;  // of terms about 16 * 4
  EXPECT_EQ(expected.compare(small.gradients).failure, "");
  small.dquery[3] = 1e-9;
  EXPECT_NE(expected.compare(small.gradients).failure, "");
}

TEST(Compare, LogitsBeyondSixteenAllowMore) {
  SmallProblem small(2, 2);
  small.allocate();
  small.query = {1, 1};
  small.key = {3200, -3200};
  small.value = {1, 2};
  EXPECT_EQ(largest_logit(small.problem), 3200);
  const ExpectedForward expected(small.problem);
  reference_forward(small.problem, small.outputs);
  small.out[0] += 1e-10;  // 200 times more than 1e-12 is allowed
  EXPECT_EQ(expected.compare(small.outputs).failure, "");
  small.out[0] += 1e-9;
  EXPECT_NE(expected.compare(small.outputs).failure, "");
}

TEST(Compare, BeyondTheRangeOfFloat16IsInfinite) {
  double expected_value = -77267;
  TensorView expected;
  expected.data = reinterpret_cast<std::byte*>(&expected_value);
  expected.dtype = DType::float64;
  expected.rank = 1;
  expected.sizes[0] = expected.strides[0] = 1;
  std::byte element[2];
  TensorView actual = expected;
  actual.data = element;
  actual.dtype = DType::float16;
  const auto agrees = [&](double value) {
    store_double(element, DType::float16, value);
    return compare_tensors("x", actual, expected, {.max_error = 1}).failure.empty();
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(agrees(-kInfinity));
  EXPECT_FALSE(agrees(kInfinity));
  EXPECT_FALSE(agrees(std::numeric_limits<double>::quiet_NaN()));
  expected_value = -65000;
  EXPECT_FALSE(agrees(-kInfinity));
}

}  // namespace
}  // namespace nearfield::test
