// The reference engine's gradients on random problems, against automatic differentiation of the brute force and
// against finite differences.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "brute_force.h"
#include "check/compare.h"
#include "check/random_problem.h"
#include "engine/reference/reference.h"

namespace nearfield::test {
namespace {

using namespace core;

constexpr const char* kNames[] = {"query",       "key", "value", "additional_keys", "additional_values",
                                  "key_weights", "bias"};

RandomProblemOptions tiny_problems(int64_t multiplies) {
  RandomProblemOptions options;
  options.gradients = true;
  options.max_pairs = 1000;
  options.max_multiplies = multiplies;
  options.max_head_dim = 64;
  return options;
}

// The gradients in float64, one for each element of Numbers: key_weights have one per batch even where they share
// memory.
struct ReferenceGradients {
  std::vector<DenseTensor> tensors;
  explicit ReferenceGradients(RandomProblem& random) {
    const Problem& problem = random.problem();
    const Modifiers& m = problem.modifiers;
    for (const TensorView* view : {&problem.query, &problem.key, &problem.value, &m.additional_keys,
                                   &m.additional_values, &m.key_weights, &m.bias}) {
      tensors.emplace_back(*view);
    }
    reference_backward(problem, random.backward_inputs(),
                       {tensors[0].view, tensors[1].view, tensors[2].view, tensors[3].view, tensors[4].view,
                        tensors[5].view, tensors[6].view});
  }
};

TEST(ReferenceBackward, MatchesAutomaticDifferentiation) {
  for (uint64_t seed = 0; seed < 700; ++seed) {
    RandomProblem random(seed, tiny_problems(30000));
    const ReferenceGradients reference(random);
    Numbers brute = brute_gradients(random.problem(), random.backward_inputs(), load_numbers(random.problem()));
    for (size_t t = 0; t < reference.tensors.size(); ++t) {
      const std::vector<double>& actual = reference.tensors[t].values;
      const std::vector<long double>& expected = *brute.list()[t];
      ASSERT_EQ(actual.size(), expected.size()) << kNames[t] << " of " << random.describe();
      long double largest = 1;
      for (long double x : expected) largest = std::max(largest, std::fabs(x));
      for (size_t n = 0; n < actual.size(); ++n) {
        ASSERT_LE(std::fabs(actual[n] - expected[n]), 1e-13 * largest)
            << "gradient of " << kNames[t] << ", element " << n << ": " << actual[n] << " instead of " << expected[n]
            << "\n"
            << random.describe();
      }
    }
  }
}

// At a weight of 0 a query without other keys is not differentiable: its gradient is 0 by definition.
bool is_not_differentiable(const BruteForward& forward, size_t tensor, long double value) {
  const bool has_empty_row = std::any_of(forward.logsumexp.begin(), forward.logsumexp.end(),
                                         [](long double logsumexp) { return std::isinf(logsumexp); });
  return tensor == 5 && value == 0 && has_empty_row;
}

// Of weights, at most 1.
long double smallest_positive(const std::vector<long double>& values) {
  long double smallest = 1;
  for (const long double value : values)
    if (value > 0) smallest = std::min(smallest, value);
  return smallest;
}

TEST(ReferenceBackward, MatchesFiniteDifferences) {
  // Central differences in long double: truncation about step^2, rounding about 1e-19 * |loss| / step. A weight w comes
  // as w / (w + others), whose truncation is (step / (w + others))^2: there a step is a part of the smallest weight.
  const long double unit = 1e-6L;
  for (uint64_t seed = 10000; seed < 10800; ++seed) {
    RandomProblem random(seed, tiny_problems(8000));
    const ReferenceGradients reference(random);
    Numbers numbers = load_numbers(random.problem());
    const BruteForward forward = brute_forward(random.problem(), numbers);
    Random draw(seed);
    for (size_t t = 0; t < reference.tensors.size(); ++t) {
      std::vector<long double>& values = *numbers.list()[t];
      for (int repeat = 0; repeat < 2 && !values.empty(); ++repeat) {
        const size_t n = static_cast<size_t>(draw.below(static_cast<int64_t>(values.size())));
        const long double value = values[n];
        if (std::isnan(value)) continue;  // of a masked token; its zero gradient is the other test's
        if (is_not_differentiable(forward, t, value)) continue;
        const long double step = t == 5 ? unit * smallest_positive(values) : unit;
        values[n] = value + step;
        const long double above = brute_loss(random.problem(), random.backward_inputs(), numbers);
        values[n] = value - step;
        const long double below = brute_loss(random.problem(), random.backward_inputs(), numbers);
        values[n] = value;
        const double expected = static_cast<double>((above - below) / (2 * step));
        ASSERT_LE(std::fabs(reference.tensors[t].values[n] - expected), 1e-8 * (1 + std::fabs(expected)))
            << "gradient of " << kNames[t] << ", element " << n << "\n"
            << random.describe();
      }
    }
  }
}

// Any subset, dtype and strides: each element is the float64 gradient rounded once; nothing else is written; the
// stored out and logsumexp are not read.
TEST(ReferenceBackward, RoundsOnceAndWritesOnlyElements) {
  for (uint64_t seed = 20000; seed < 20500; ++seed) {
    RandomProblem random(seed, tiny_problems(30000));
    const BackwardInputs& inputs = random.backward_inputs();
    const Gradients& gradients = random.gradients();
    const ExpectedGradients expected(random.problem(), inputs, gradients);
    random.poison();
    reference_backward(random.problem(), {{}, {}, inputs.dout, inputs.dlogsumexp}, gradients);
    ASSERT_EQ(random.damage(), "") << random.describe();
    ASSERT_EQ(expected.compare(gradients).failure, "") << random.describe();
  }
}

}  // namespace
}  // namespace nearfield::test
