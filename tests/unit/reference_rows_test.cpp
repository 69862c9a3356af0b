// Single rows of the reference against the whole of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "check/compare.h"
#include "check/random_problem.h"
#include "engine/reference/reference.h"
#include "engine/reference/row.h"
#include "engine/reference/rows.h"

namespace nearfield::core {
namespace {

constexpr int kCases = 150;

RandomProblemOptions float64_problems(bool modifiers) {
  RandomProblemOptions options;
  options.dtypes = {DType::float64};
  options.gradients = options.all_gradients = true;
  options.additional_keys = options.key_mask = options.key_weights = options.bias = modifiers;
  options.max_pairs = 2000;
  options.max_multiplies = 40000;
  return options;
}

// The largest error of `row` against the vector of one token and head.
double error_of(const std::vector<double>& row, const TensorView& tensor, int rank, int64_t batch,
                const GridIndex& token, int64_t head) {
  const int64_t first = grid_element(tensor, rank, batch, token, head);
  double error = 0;
  for (size_t c = 0; c < row.size(); ++c) {
    const double expected = load_double(tensor.at(first + static_cast<int64_t>(c)), tensor.dtype);
    const double difference = std::fabs(row[c] - expected) / (1 + std::fabs(expected));
    error = std::isnan(difference) ? difference : std::fmax(error, difference);
    if (std::isnan(error)) return error;
  }
  return error;
}

template <class Body>
void for_rows(const Shape& shape, int64_t heads, Body body) {
  for (int64_t batch = 0; batch < shape.batch; ++batch)
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t token = 0; token < shape.tokens(); ++token) body(batch, head, token, token_at(shape, token));
}

TEST(ReferenceRows, ForwardAndDqueryAreThoseOfTheWhole) {
  for (uint64_t seed = 0; seed < kCases; ++seed) {
    RandomProblem random(seed, float64_problems(true));
    const Problem& problem = random.problem();
    const ExpectedForward whole(problem);
    DenseTensor dquery(problem.query);
    reference_backward(problem, random.backward_inputs(), {dquery.view, {}, {}, {}, {}, {}, {}});
    for_rows(problem.shape, problem.shape.heads, [&](int64_t batch, int64_t head, int64_t number, GridIndex token) {
      const int rank = problem.shape.rank;
      const ForwardRow row = reference_forward_row(problem, batch, head, number);
      EXPECT_TRUE(error_of(row.out, whole.out().view, rank, batch, token, head) <= 1e-14) << random.describe();
      const TensorView& logsumexp = whole.logsumexp().view;
      const double expected =
          load_double(logsumexp.at(grid_element(logsumexp, rank, batch, token, head)), DType::float64);
      EXPECT_TRUE(row.logsumexp == expected || std::fabs(row.logsumexp - expected) <= 1e-14 * (1 + std::fabs(expected)))
          << random.describe();
      const std::vector<double> gradient = reference_dquery_row(problem, random.backward_inputs(), batch, head, number);
      EXPECT_TRUE(error_of(gradient, dquery.view, rank, batch, token, head) <= 1e-13) << random.describe();
    });
  }
}

TEST(ReferenceRows, DkeyAndDvalueAreThoseOfTheWhole) {
  for (uint64_t seed = 0; seed < kCases; ++seed) {
    RandomProblem random(seed, float64_problems(false));
    const Problem& problem = random.problem();
    DenseTensor dkey(problem.key), dvalue(problem.value);
    reference_backward(problem, random.backward_inputs(), {{}, dkey.view, dvalue.view, {}, {}, {}, {}});
    Shape keys = problem.shape;
    std::copy_n(problem.key.sizes + 1, keys.rank, keys.grid);
    for_rows(keys, keys.heads_kv, [&](int64_t batch, int64_t head, int64_t number, GridIndex token) {
      const int rank = problem.shape.rank;
      const KeyGradientRow row = reference_key_gradient_row(problem, random.backward_inputs(), batch, head, number);
      EXPECT_TRUE(error_of(row.dkey, dkey.view, rank, batch, token, head) <= 1e-11) << random.describe();
      EXPECT_TRUE(error_of(row.dvalue, dvalue.view, rank, batch, token, head) <= 1e-11) << random.describe();
    });
  }
}

TEST(ReferenceRows, KeyRowsRefuseModifiersThatTheyDoNotKnow) {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    RandomProblem random(seed, float64_problems(true));
    if (!random.problem().modifiers.bias || random.problem().shape.tokens() == 0) continue;
    EXPECT_THROW(reference_key_gradient_row(random.problem(), random.backward_inputs(), 0, 0, 0), Error);
    return;
  }
  FAIL() << "no problem with a bias was drawn";
}

}  // namespace
}  // namespace nearfield::core
