// The reference engine's forward against brute force on random problems.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "brute_force.h"
#include "check/compare.h"
#include "check/random_problem.h"
#include "engine/reference/reference.h"

namespace nearfield::test {
namespace {

using namespace core;

RandomProblemOptions small_problems() {
  RandomProblemOptions options;
  options.max_pairs = 3000;
  options.max_multiplies = 60000;
  return options;
}

// NaN and infinities only equal themselves.
bool is_close(double actual, long double expected, double tolerance) {
  if (std::isinf(expected)) return actual == static_cast<double>(expected);
  return std::fabs(actual - expected) <= tolerance * (1 + std::fabs(expected));
}

// "" or the first element that differs.
std::string difference(const std::vector<double>& actual, const std::vector<long double>& expected, double tolerance) {
  if (actual.size() != expected.size()) return concat(actual.size(), " elements, not ", expected.size());
  for (size_t n = 0; n < actual.size(); ++n) {
    if (!is_close(actual[n], expected[n], tolerance)) {
      return concat("element ", n, " is ", actual[n], ", brute force says ", expected[n]);
    }
  }
  return "";
}

TEST(ReferenceForward, MatchesBruteForce) {
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    RandomProblem random(seed, small_problems());
    const ExpectedForward reference(random.problem());
    const BruteForward brute = brute_forward(random.problem(), load_numbers(random.problem()));
    ASSERT_EQ(difference(reference.out().values, brute.out, 1e-13), "") << "out of " << random.describe();
    ASSERT_EQ(difference(reference.logsumexp().values, brute.logsumexp, 1e-13), "")
        << "logsumexp of " << random.describe();
  }
}

// Any dtype and strides of the outputs: each element is the float64 result rounded once, and nothing else is written.
TEST(ReferenceForward, RoundsOnceAndWritesOnlyElements) {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    RandomProblem random(seed, small_problems());
    const ExpectedForward exact(random.problem());
    random.poison();
    reference_forward(random.problem(), random.outputs());
    ASSERT_EQ(random.damage(), "") << random.describe();
    const TensorView& out = random.outputs().out;
    size_t n = 0;
    for_each_element(out, [&](const ElementIndex&, int64_t element) {
      double rounded = 0;
      store_double(&rounded, out.dtype, exact.out().values[n++]);
      ASSERT_EQ(load_double(out.at(element), out.dtype), load_double(&rounded, out.dtype)) << random.describe();
    });
  }
}

}  // namespace
}  // namespace nearfield::test
