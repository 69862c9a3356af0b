#include "check/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "check/guarded_buffer.h"
#include "engine/reference/reference.h"
#include "engine/reference/row.h"

namespace nearfield::core {
namespace {

struct Norms {
  double l2 = 0, max = 0;
};

// Of finite elements.
Norms norms_of(const DenseTensor& tensor) {
  Norms norms;
  for (double x : tensor.values) {
    if (!std::isfinite(x)) continue;
    norms.l2 += x * x;
    norms.max = std::max(norms.max, std::fabs(x));
  }
  norms.l2 = std::sqrt(norms.l2);
  return norms;
}

// Finite numbers close enough, or the same infinity, or both NaN.
bool matches(double actual, double expected, double allowed) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (!std::isfinite(expected)) return actual == expected;
  return std::fabs(actual - expected) <= allowed;
}

std::string describe_element(const std::string& name, const TensorView& view, const ElementIndex& index) {
  std::string text = name + "[";
  for (int a = 0; a < view.rank; ++a) text += concat(a == 0 ? "" : ", ", index[static_cast<size_t>(a)]);
  text += "] of (";
  for (int a = 0; a < view.rank; ++a) text += concat(a == 0 ? "" : ", ", view.sizes[a]);
  return text + ")";
}

// Keeps the first failure and the largest errors.
void merge(Comparison& total, const Comparison& part) {
  if (total.failure.empty()) total.failure = part.failure;
  total.max_error = std::max(total.max_error, part.max_error);
  total.relative_l2 = std::max(total.relative_l2, part.relative_l2);
}

std::vector<const TensorView*> list(const Gradients& g) {
  return {&g.query, &g.key, &g.value, &g.additional_keys, &g.additional_values, &g.key_weights, &g.bias};
}
Gradients gradients_from(const std::vector<DenseTensor>& tensors) {
  return {tensors[0].view, tensors[1].view, tensors[2].view, tensors[3].view,
          tensors[4].view, tensors[5].view, tensors[6].view};
}
// One gradient of key weights given as (*grid) serves all batches.
bool has_shared_batch(const Gradients& gradients, const TensorView* view) {
  return view == &gradients.key_weights && view->strides[0] == 0;
}
constexpr const char* kGradientNames[] = {"gradient of query",
                                          "gradient of key",
                                          "gradient of value",
                                          "gradient of additional_keys",
                                          "gradient of additional_values",
                                          "gradient of key_weights",
                                          "gradient of bias"};

double growth(double logit) { return std::max(1.0, logit / 16); }

Tolerance gradient_tolerance(const Promise& promise, double grown, const DenseTensor& expected,
                             const DenseTensor* magnitudes) {
  const Norms norms = norms_of(expected);
  const Norms scale = magnitudes ? norms_of(*magnitudes) : Norms{};
  const double count = static_cast<double>(expected.values.size());
  Tolerance tolerance;
  tolerance.relative_l2 = promise.gradient_l2 * grown;
  tolerance.l2_floor = 1e-2 * scale.l2;
  tolerance.l2_slack = std::sqrt(count) * promise.smallest;
  tolerance.max_error = 4 * tolerance.relative_l2 * std::max(norms.max, 1e-2 * scale.max) + promise.smallest;
  return tolerance;
}

}  // namespace

Promise promise_of(DType dtype) {
  switch (dtype) {
    case DType::float64: return {1e-12, 1e-12, 1e-12, 1e-11, 1e-300};
    case DType::float32: return {2e-5, 2e-5, 2e-5, 1e-5, 1e-37};
    case DType::bfloat16: return {2e-2, 4e-3, 1e-3, 1e-2, 1e-37};
    case DType::float16: return {3e-3, 1e-3, 1e-3, 3e-3, 6e-8};
    case DType::boolean: break;
  }
  throw Error(Status::internal_error, "boolean tensors have no tolerance");
}

DenseTensor::DenseTensor(const TensorView& like, bool shared_batch) {
  if (!like) return;
  view = like;
  view.dtype = DType::float64;
  int64_t count = 1;
  for (int a = view.rank - 1; a >= 0; --a) {
    const bool shared = a == 0 && shared_batch;
    view.strides[a] = shared ? 0 : count;
    if (!shared) count *= view.sizes[a];
  }
  values.assign(static_cast<size_t>(count), std::numeric_limits<double>::quiet_NaN());
  values.reserve(1);  // so that an empty tensor is not null
  view.data = reinterpret_cast<std::byte*>(values.data());
}

namespace {

double rounded(double x, DType dtype) {
  std::byte element[8];
  store_double(element, dtype, x);
  return load_double(element, dtype);
}

}  // namespace

Comparison compare_tensors(const std::string& name, const TensorView& actual, const TensorView& expected,
                           const Tolerance& tolerance) {
  Comparison result;
  double error_squares = 0, expected_squares = 0;
  for_each_element(expected, [&](const ElementIndex& index, int64_t element) {
    int64_t actual_element = 0;
    for (int a = 0; a < actual.rank; ++a) actual_element += index[static_cast<size_t>(a)] * actual.strides[a];
    const double reference = load_double(expected.at(element), expected.dtype);
    const double value = load_double(actual.at(actual_element), actual.dtype);
    const double allowed = tolerance.max_error + tolerance.max_error_growth * std::fabs(reference);
    // What a small dtype cannot hold is infinite in it.
    const bool overflows = std::isinf(value) && rounded(reference, actual.dtype) == value;
    if (result.failure.empty() && !overflows && !matches(value, reference, allowed)) {
      result.failure = concat(describe_element(name, expected, index), " is ", value, ", the reference says ",
                              reference, " (error ", std::fabs(value - reference), ", allowed ", allowed, ")");
    }
    if (!std::isfinite(reference) || !std::isfinite(value)) return;
    const double error = std::fabs(value - reference);
    result.max_error = std::max(result.max_error, error);
    error_squares += error * error;
    expected_squares += reference * reference;
  });
  const double norm = std::max(std::sqrt(expected_squares), tolerance.l2_floor), error = std::sqrt(error_squares);
  result.relative_l2 = error == 0 ? 0 : error / std::max(norm, std::numeric_limits<double>::min());
  const double allowed = tolerance.relative_l2 * norm + tolerance.l2_slack;
  if (result.failure.empty() && tolerance.relative_l2 > 0 && !(error <= allowed)) {
    result.failure = concat(name, " has an error of L2 norm ", error, ", allowed ", allowed, " (relative ",
                            result.relative_l2, ", allowed ", tolerance.relative_l2, ")");
  }
  return result;
}

double largest_logit(const Problem& problem) {
  const Shape& shape = problem.shape;
  double largest = 0;
  std::vector<double> query(static_cast<size_t>(shape.head_dim));
  for (int64_t n = 0; n < shape.batch * shape.heads * shape.tokens(); ++n) {
    const int64_t batch = n / shape.tokens() / shape.heads, head = n / shape.tokens() % shape.heads;
    const GridIndex token = token_at(shape, n % shape.tokens());
    load_vector(problem.query, grid_element(problem.query, shape.rank, batch, token, head), query);
    for (const SeenKey& key : attention_row(problem, batch, head, token, query).keys) {
      if (key.weight != 0 && std::isfinite(key.score)) largest = std::max(largest, std::fabs(key.score));
    }
  }
  return largest;
}

ExpectedForward::ExpectedForward(const Problem& problem) : problem_(problem) {
  const Shape& shape = problem.shape;
  TensorView like = problem.query;
  like.sizes[shape.rank + 2] = shape.head_dim_v;
  out_ = DenseTensor(like);
  like.rank = shape.rank + 2;
  logsumexp_ = DenseTensor(like);
  reference_forward(problem, {out_.view, logsumexp_.view});
}

Comparison ExpectedForward::compare(const ForwardOutputs& actual) const {
  const Promise promise = promise_of(problem_.query.dtype);
  const auto with = [&](double grown, double floor) {
    Comparison result =
        compare_tensors("out", actual.out, out_.view, {promise.out_max * grown, 0, promise.out_l2 * grown, floor, 0});
    if (actual.logsumexp) {
      const double allowed = promise.logsumexp * grown;
      merge(result, compare_tensors("logsumexp", actual.logsumexp, logsumexp_.view, {allowed, allowed, 0, 0, 0}));
    }
    return result;
  };
  // Most results agree without the two allowances, which cost as much as the reference itself.
  const Comparison strict = with(1, 0);
  if (strict.agrees()) return strict;
  DenseTensor magnitudes(out_.view);
  reference_forward_magnitudes(problem_, {magnitudes.view, {}});
  return with(growth(largest_logit(problem_)), 1e-2 * norms_of(magnitudes).l2);
}

ExpectedGradients::ExpectedGradients(const Problem& problem, const BackwardInputs& inputs, const Gradients& wanted)
    : problem_(problem), inputs_(inputs) {
  for (const TensorView* view : list(wanted)) gradients_.emplace_back(*view, has_shared_batch(wanted, view));
  reference_backward(problem, inputs, gradients_from(gradients_));
}

Comparison ExpectedGradients::compare(const Gradients& actual) const {
  const Promise promise = promise_of(problem_.query.dtype);
  const std::vector<const TensorView*> views = list(actual);
  const auto with = [&](double grown, const std::vector<DenseTensor>* magnitudes) {
    Comparison result;
    for (size_t g = 0; g < views.size(); ++g) {
      if (!*views[g]) continue;
      const DenseTensor* magnitude = magnitudes ? &(*magnitudes)[g] : nullptr;
      merge(result, compare_tensors(kGradientNames[g], *views[g], gradients_[g].view,
                                    gradient_tolerance(promise, grown, gradients_[g], magnitude)));
    }
    return result;
  };
  const Comparison strict = with(1, nullptr);
  if (strict.agrees()) return strict;
  std::vector<DenseTensor> magnitudes;
  for (size_t g = 0; g < views.size(); ++g) {
    magnitudes.emplace_back(gradients_[g].view, has_shared_batch(actual, views[g]));
  }
  reference_backward_magnitudes(problem_, inputs_, gradients_from(magnitudes));
  return with(growth(largest_logit(problem_)), &magnitudes);
}

}  // namespace nearfield::core
