#include "engine/reference/rows.h"

#include <cmath>
#include <variant>

#include "base/error.h"

namespace nearfield::core {
namespace {

std::vector<double> load(const Problem& problem, const TensorView& tensor, int64_t batch, const GridIndex& token,
                         int64_t head, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count));
  load_vector(tensor, grid_element(tensor, problem.shape.rank, batch, token, head), values);
  return values;
}

double load_scalar(const Problem& problem, const TensorView& tensor, int64_t batch, const GridIndex& token,
                   int64_t head) {
  return load_double(tensor.at(grid_element(tensor, problem.shape.rank, batch, token, head)), tensor.dtype);
}

std::vector<double> load_value(const Problem& problem, int64_t batch, int64_t head, const SeenKey& key) {
  std::vector<double> values(static_cast<size_t>(problem.shape.head_dim_v));
  load_seen(problem.value, problem.modifiers.additional_values, problem.shape.rank, batch, problem.shape.kv_head(head),
            key, values);
  return values;
}

std::vector<double> load_key(const Problem& problem, int64_t batch, int64_t head, const SeenKey& key) {
  std::vector<double> values(static_cast<size_t>(problem.shape.head_dim));
  load_seen(problem.key, problem.modifiers.additional_keys, problem.shape.rank, batch, problem.shape.kv_head(head), key,
            values);
  return values;
}

void add_scaled(std::vector<double>& sum, double factor, const std::vector<double>& vector) {
  for (size_t c = 0; c < sum.size(); ++c) sum[c] += factor * vector[c];
}

std::vector<double> weighted_values(const Problem& problem, int64_t batch, int64_t head, const AttentionRow& row) {
  std::vector<double> out(static_cast<size_t>(problem.shape.head_dim_v), 0.0);
  if (row.is_empty) return out;
  for (const SeenKey& key : row.keys)
    if (key.weight != 0) add_scaled(out, key.probability, load_value(problem, batch, head, key));
  return out;
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

// What one query adds to the gradients of one key that it sees.
struct KeyTerms {
  double probability = 0;  // P_ij
  double u = 0;            // P_ij (dout_i.v_j - D_i) (1 - t_ij^2)
};

KeyTerms key_terms(const Problem& problem, const std::vector<double>& query, const std::vector<double>& dout, double D,
                   double logsumexp, const std::vector<double>& key, const std::vector<double>& value,
                   double log_density) {
  double score = problem.scale * dot(query, key), cap_slope = 1;
  if (const double cap = problem.modifiers.softcap; cap != 0) {
    const double t = std::tanh(score / cap);
    score = cap * t;
    cap_slope = 1 - t * t;
  }
  const double probability = std::exp(score + log_density - logsumexp);
  return {probability, probability * (dot(dout, value) - D) * cap_slope};
}

}  // namespace

std::vector<GridIndex> queries_that_see(const Problem& problem, const GridIndex& key) {
  const Shape& shape = problem.shape;
  if (const auto& order = problem.pattern.order) {
    const int64_t y = order->position_of((key[0] * shape.grid[1] + key[1]) * shape.grid[2] + key[2]);
    std::vector<GridIndex> seeing;
    for (int64_t x = 0; x < order->size(); ++x)
      if (axis_sees(problem.pattern.axes[0], x, y)) seeing.push_back(token_at(shape, order->token_at(x)));
    return seeing;
  }
  if (problem.pattern.has_arcs()) {
    const SphereReach& reach = problem.pattern.sphere->reach;
    std::vector<GridIndex> seeing;
    for (int64_t i = 0; i < shape.tokens(); ++i) {
      const GridIndex query = token_at(shape, i);
      const Interval arc = reach.arc().keys_of(reach.half_width(query[0], key[0]), query[1]);
      if (floor_mod(key[1] - arc.start, reach.arc().keys) < arc.length) seeing.push_back(query);
    }
    return seeing;
  }
  std::vector<GridIndex> queries = {GridIndex{}};
  for (int a = 0; a < problem.shape.rank; ++a) {
    std::vector<GridIndex> longer;
    for (int64_t i = 0; i < problem.shape.grid[a]; ++i) {
      if (!axis_sees(problem.pattern.axes[a], i, key[static_cast<size_t>(a)])) continue;
      for (GridIndex query : queries) {
        query[static_cast<size_t>(a)] = i;
        longer.push_back(query);
      }
    }
    queries = std::move(longer);
  }
  return queries;
}

ForwardRow reference_forward_row(const Problem& problem, int64_t batch, int64_t head, int64_t query_token) {
  const GridIndex token = token_at(problem.shape, query_token);
  const AttentionRow row = attention_row(problem, batch, head, token,
                                         load(problem, problem.query, batch, token, head, problem.shape.head_dim));
  return {weighted_values(problem, batch, head, row), row.logsumexp};
}

std::vector<double> reference_dquery_row(const Problem& problem, const BackwardInputs& inputs, int64_t batch,
                                         int64_t head, int64_t query_token) {
  const Shape& shape = problem.shape;
  const GridIndex token = token_at(shape, query_token);
  std::vector<double> dquery(static_cast<size_t>(shape.head_dim), 0.0);
  const AttentionRow row =
      attention_row(problem, batch, head, token, load(problem, problem.query, batch, token, head, shape.head_dim));
  if (row.is_empty) return dquery;
  const std::vector<double> dout = load(problem, inputs.dout, batch, token, head, shape.head_dim_v);
  double D = dot(dout, weighted_values(problem, batch, head, row));
  if (inputs.dlogsumexp) D -= load_scalar(problem, inputs.dlogsumexp, batch, token, head);
  for (const SeenKey& key : row.keys) {
    if (key.weight == 0) continue;
    const double dS = key.probability * (dot(dout, load_value(problem, batch, head, key)) - D);
    add_scaled(dquery, problem.scale * dS * key.cap_slope, load_key(problem, batch, head, key));
  }
  return dquery;
}

KeyGradientRow reference_key_gradient_row(const Problem& problem, const BackwardInputs& inputs, int64_t batch,
                                          int64_t kv_head, int64_t key_token) {
  Modifiers others = problem.modifiers;
  others.softcap = 0;
  if (others.any()) unsupported("modifiers: single rows of dkey and dvalue know softcap only");
  const Shape& shape = problem.shape;
  const GridIndex token = key_at(problem, key_token);
  const std::vector<double> key = load(problem, problem.key, batch, token, kv_head, shape.head_dim);
  const std::vector<double> value = load(problem, problem.value, batch, token, kv_head, shape.head_dim_v);
  KeyGradientRow row = {std::vector<double>(key.size(), 0.0), std::vector<double>(value.size(), 0.0)};
  const auto& sphere = problem.pattern.sphere;
  const double log_density = sphere ? sphere->log_weights[static_cast<size_t>(token[0])] : 0;
  const std::vector<GridIndex> queries = queries_that_see(problem, token);
  for (int64_t head = 0; head < shape.heads; ++head) {
    if (shape.kv_head(head) != kv_head) continue;
    for (const GridIndex& i : queries) {
      const std::vector<double> query = load(problem, problem.query, batch, i, head, shape.head_dim);
      const std::vector<double> dout = load(problem, inputs.dout, batch, i, head, shape.head_dim_v);
      double D = dot(dout, load(problem, inputs.out, batch, i, head, shape.head_dim_v));
      if (inputs.dlogsumexp) D -= load_scalar(problem, inputs.dlogsumexp, batch, i, head);
      const double logsumexp = load_scalar(problem, inputs.logsumexp, batch, i, head);
      const KeyTerms terms = key_terms(problem, query, dout, D, logsumexp, key, value, log_density);
      add_scaled(row.dkey, problem.scale * terms.u, query);
      add_scaled(row.dvalue, terms.probability, dout);
    }
  }
  return row;
}

}  // namespace nearfield::core
