#include "engine/reference/rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <variant>

#include "base/error.h"

namespace nearfield::core {
namespace {

// Tokens of one axis that query token i sees, from the definition alone.
std::vector<int64_t> axis_keys(const AxisRule& rule, int64_t i) {
  return std::visit(
      [&](const auto& axis) {
        const int64_t residue = i % axis.dilation;
        const int64_t n = ceil_div(axis.keys - residue, axis.dilation);
        const Interval seen = axis.keys_of(n, i / axis.dilation);
        std::vector<int64_t> tokens;
        for (int64_t x = seen.start; x < seen.end(); ++x) tokens.push_back(floor_mod(x, n) * axis.dilation + residue);
        return tokens;
      },
      rule);
}

bool axis_sees(const AxisRule& rule, int64_t i, int64_t j) {
  return std::visit(
      [&](const auto& axis) {
        const int64_t residue = i % axis.dilation;
        if (j % axis.dilation != residue) return false;
        const int64_t n = ceil_div(axis.keys - residue, axis.dilation);
        const Interval seen = axis.keys_of(n, i / axis.dilation);
        return floor_mod(j / axis.dilation - seen.start, n) < seen.length;
      },
      rule);
}

// Tokens of one axis whose queries see key token j: every query is asked.
std::vector<int64_t> axis_queries(const AxisRule& rule, int64_t j) {
  const int64_t queries = std::visit([](const auto& axis) { return axis.queries; }, rule);
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < queries; ++i)
    if (axis_sees(rule, i, j)) tokens.push_back(i);
  return tokens;
}

// Row-major tokens of the product of the axes' lists.
std::vector<int64_t> product(const Shape& shape, const std::vector<int64_t> (&lists)[kMaxGridRank]) {
  std::vector<int64_t> tokens = {0};
  for (int a = 0; a < shape.rank; ++a) {
    std::vector<int64_t> longer;
    longer.reserve(tokens.size() * lists[a].size());
    for (int64_t token : tokens)
      for (int64_t x : lists[a]) longer.push_back(token * shape.grid[a] + x);
    tokens = std::move(longer);
  }
  return tokens;
}

template <class AxisList>
std::vector<int64_t> neighbors(const Problem& problem, int64_t token, AxisList axis_list) {
  std::vector<int64_t> lists[kMaxGridRank];
  for (int a = problem.shape.rank - 1; a >= 0; --a) {
    lists[a] = axis_list(problem.pattern.axes[a], token % problem.shape.grid[a]);
    token /= problem.shape.grid[a];
  }
  return product(problem.shape, lists);
}

// Address of channel 0 of (batch, token, head); a logsumexp view has no channels but the same leading dimensions.
const std::byte* row_of(const TensorView& view, const Shape& shape, int64_t batch, int64_t token, int64_t head) {
  int64_t element = batch * view.strides[0] + head * view.strides[shape.rank + 1];
  for (int a = shape.rank - 1; a >= 0; --a) {
    element += token % shape.grid[a] * view.strides[a + 1];
    token /= shape.grid[a];
  }
  return view.at(element);
}

std::vector<double> load_row(const TensorView& view, const Shape& shape, int64_t batch, int64_t token, int64_t head,
                             int64_t channels) {
  const std::byte* row = row_of(view, shape, batch, token, head);
  std::vector<double> values(static_cast<size_t>(channels));
  for (int64_t c = 0; c < channels; ++c)
    values[static_cast<size_t>(c)] = load_double(row + c * size_of(view.dtype), view.dtype);
  return values;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
  return sum;
}

void add_scaled(std::vector<double>& sum, double factor, const std::vector<double>& row) {
  for (size_t c = 0; c < sum.size(); ++c) sum[c] += factor * row[c];
}

double logit_of(const Problem& problem, const std::vector<double>& query, const std::vector<double>& key) {
  const double logit = problem.scale * dot(query, key), cap = problem.modifiers.softcap;
  return cap == 0 ? logit : cap * std::tanh(logit / cap);
}

// d logit / d (scale * q.k).
double softcap_slope(const Problem& problem, double logit) {
  const double cap = problem.modifiers.softcap;
  return cap == 0 ? 1.0 : 1.0 - (logit / cap) * (logit / cap);
}

void refuse_modifiers(const Problem& problem) {
  Modifiers rest = problem.modifiers;
  rest.softcap = 0;
  if (rest.any()) unsupported("modifiers: the row oracle has softcap only; use engine reference");
}

// A query as the gradients need it: everything that does not depend on the key.
struct QuerySide {
  std::vector<double> query, dout;
  double logsumexp = 0, delta = 0;  // delta: D_i
};

QuerySide load_query_side(const Problem& problem, const BackwardInputs& inputs, int64_t batch, int64_t head,
                          int64_t token) {
  const Shape& shape = problem.shape;
  QuerySide side;
  side.query = load_row(problem.query, shape, batch, token, head, shape.head_dim);
  side.dout = load_row(inputs.dout, shape, batch, token, head, shape.head_dim_v);
  side.logsumexp = load_row(inputs.logsumexp, shape, batch, token, head, 1)[0];
  side.delta = dot(side.dout, load_row(inputs.out, shape, batch, token, head, shape.head_dim_v));
  if (inputs.dlogsumexp) side.delta -= load_row(inputs.dlogsumexp, shape, batch, token, head, 1)[0];
  return side;
}

struct PairGradient {
  double probability = 0, u = 0;
};

PairGradient pair_gradient(const Problem& problem, const QuerySide& side, const std::vector<double>& key,
                           const std::vector<double>& value) {
  const double logit = logit_of(problem, side.query, key);
  const double p = std::exp(logit - side.logsumexp);
  return {p, p * (dot(side.dout, value) - side.delta) * softcap_slope(problem, logit)};
}

}  // namespace

ForwardRow reference_forward_row(const Problem& problem, int64_t batch, int64_t head, int64_t query_token) {
  refuse_modifiers(problem);
  const Shape& shape = problem.shape;
  const int64_t kv = shape.kv_head(head);
  const std::vector<int64_t> keys = neighbors(problem, query_token, axis_keys);
  ForwardRow row = {std::vector<double>(static_cast<size_t>(shape.head_dim_v)),
                    -std::numeric_limits<double>::infinity()};
  if (keys.empty()) return row;
  const std::vector<double> query = load_row(problem.query, shape, batch, query_token, head, shape.head_dim);
  std::vector<double> logits;
  for (int64_t key : keys)
    logits.push_back(logit_of(problem, query, load_row(problem.key, shape, batch, key, kv, shape.head_dim)));
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double logit : logits) sum += std::exp(logit - highest);
  row.logsumexp = highest + std::log(sum);
  for (size_t j = 0; j < keys.size(); ++j)
    add_scaled(row.out, std::exp(logits[j] - highest) / sum,
               load_row(problem.value, shape, batch, keys[j], kv, shape.head_dim_v));
  return row;
}

std::vector<double> reference_dquery_row(const Problem& problem, const BackwardInputs& inputs, int64_t batch,
                                         int64_t head, int64_t query_token) {
  refuse_modifiers(problem);
  const Shape& shape = problem.shape;
  const int64_t kv = shape.kv_head(head);
  const QuerySide side = load_query_side(problem, inputs, batch, head, query_token);
  std::vector<double> dquery(static_cast<size_t>(shape.head_dim));
  for (int64_t token : neighbors(problem, query_token, axis_keys)) {
    const std::vector<double> key = load_row(problem.key, shape, batch, token, kv, shape.head_dim);
    const std::vector<double> value = load_row(problem.value, shape, batch, token, kv, shape.head_dim_v);
    add_scaled(dquery, problem.scale * pair_gradient(problem, side, key, value).u, key);
  }
  return dquery;
}

KeyGradientRow reference_key_gradient_row(const Problem& problem, const BackwardInputs& inputs, int64_t batch,
                                          int64_t kv_head, int64_t key_token) {
  refuse_modifiers(problem);
  const Shape& shape = problem.shape;
  const std::vector<double> key = load_row(problem.key, shape, batch, key_token, kv_head, shape.head_dim);
  const std::vector<double> value = load_row(problem.value, shape, batch, key_token, kv_head, shape.head_dim_v);
  KeyGradientRow row = {std::vector<double>(key.size()), std::vector<double>(value.size())};
  const std::vector<int64_t> queries = neighbors(problem, key_token, axis_queries);
  for (int64_t head = 0; head < shape.heads; ++head) {
    if (shape.kv_head(head) != kv_head) continue;
    for (int64_t token : queries) {
      const QuerySide side = load_query_side(problem, inputs, batch, head, token);
      const PairGradient pair = pair_gradient(problem, side, key, value);
      add_scaled(row.dkey, problem.scale * pair.u, side.query);
      add_scaled(row.dvalue, pair.probability, side.dout);
    }
  }
  return row;
}

}  // namespace nearfield::core
