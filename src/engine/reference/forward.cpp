// out_i = sum over j in N(i) of P_ij v_j and logsumexp_i = ln(sum over j of exp(logit_ij)), one query at a time.
//   out        (batch, *grid, heads, head_dim_v)
//   logsumexp  (batch, *grid, heads)
// Everything is float64; a result is rounded once, when it is stored.
#include <cmath>

#include "engine/reference/reference.h"
#include "engine/reference/row.h"

namespace nearfield::core {
namespace {

// Value is what becomes of each v_j: itself, or its absolute value.
template <class Value>
void forward_query(const Problem& problem, const ForwardOutputs& outputs, int64_t batch, int64_t head,
                   const GridIndex& token, Value value) {
  const Shape& shape = problem.shape;
  std::vector<double> query(static_cast<size_t>(shape.head_dim));
  load_vector(problem.query, grid_element(problem.query, shape.rank, batch, token, head), query);
  const AttentionRow row = attention_row(problem, batch, head, token, query);

  std::vector<double> v(static_cast<size_t>(shape.head_dim_v));
  std::vector<double> out(v.size(), 0.0);  // an empty N(i) leaves it 0
  for (const SeenKey& key : row.keys) {
    if (row.is_empty || key.weight == 0) continue;
    load_seen(problem.value, problem.modifiers.additional_values, shape.rank, batch, shape.kv_head(head), key, v);
    for (size_t c = 0; c < out.size(); ++c) out[c] += key.probability * value(v[c]);
  }

  const TensorView& target = outputs.out;
  const int64_t first = grid_element(target, shape.rank, batch, token, head);
  for (size_t c = 0; c < out.size(); ++c) {
    const int64_t channel = static_cast<int64_t>(c) * target.strides[target.rank - 1];
    store_double(target.at(first + channel), target.dtype, out[c]);
  }
  if (outputs.logsumexp) {
    const TensorView& logsumexp = outputs.logsumexp;
    store_double(logsumexp.at(grid_element(logsumexp, shape.rank, batch, token, head)), logsumexp.dtype, row.logsumexp);
  }
}

template <class Value>
void forward(const Problem& problem, const ForwardOutputs& outputs, Value value) {
  const Shape& shape = problem.shape;
  const int64_t tokens = shape.tokens();
  parallel_for(problem.threading, shape.batch * shape.heads * tokens, [&](int64_t index) {
    const int64_t batch = index / tokens / shape.heads, head = index / tokens % shape.heads;
    forward_query(problem, outputs, batch, head, token_at(shape, index % tokens), value);
  });
}

}  // namespace

void reference_forward(const Problem& problem, const ForwardOutputs& outputs) {
  forward(problem, outputs, [](double v) { return v; });
}

void reference_forward_magnitudes(const Problem& problem, const ForwardOutputs& outputs) {
  forward(problem, outputs, [](double v) { return std::fabs(v); });
}

}  // namespace nearfield::core
