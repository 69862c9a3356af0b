// Gradients of  sum_i dout_i.out_i + dlogsumexp_i logsumexp_i,  with SEMANTICS' names:
//   D_i     = dout_i.out_i - dlogsumexp_i
//   dV_j    = sum_i P_ij dout_i
//   dS_ij   = P_ij (dout_i.v_j - D_i)
//   u_ij    = dS_ij (1 - t_ij^2)                     t_ij = tanh(scale q_i.k_j / c); u = dS without softcap
//   dQ_i    = scale sum_j u_ij k_j
//   dK_j    = scale sum_i u_ij q_i
//   dbias   = sum of dS_ij over the pairs that share an entry
//   dw_j    = sum_i (P_ij / w_j) (dout_i.v_j - D_i)
//
// P_ij / w_j = exp(score_ij) / l_i holds no w_j but in l_i, so dw_j is the true derivative at w_j = 0 too, where the
// key takes no part in anything else. It needs another key in the row: at w_j = 0 a query without any is not
// differentiable (out jumps from 0 to v_j, logsumexp from -inf), and such a query gives zero gradients by definition.
//
// Sums are float64, in one fixed order (batch, head, query, key), and rounded once when they are stored.
#include <cmath>

#include "engine/reference/reference.h"
#include "engine/reference/row.h"

namespace nearfield::core {
namespace {

// How terms are combined: as they are, or by absolute value.
struct Signed {
  static double term(double x) { return x; }
  static double minus(double a, double b) { return a - b; }
};
struct Magnitude {
  static double term(double x) { return std::fabs(x); }
  static double minus(double a, double b) { return std::fabs(a) + std::fabs(b); }
};

// Float64 sums, dense in the shape of the gradient that they will be rounded to.
struct Sums {
  TensorView target;  // null: not asked for
  TensorView dense;   // strides into `values`
  std::vector<double> values;

  Sums() = default;
  explicit Sums(const TensorView& gradient) : target(gradient), dense(gradient) {
    if (!target) return;
    int64_t count = 1;
    for (int a = target.rank - 1; a >= 0; --a) {
      dense.strides[a] = count;
      count *= target.sizes[a];
    }
    values.assign(static_cast<size_t>(count), 0.0);
  }
  explicit operator bool() const { return static_cast<bool>(target); }

  double& at(int64_t element) { return values[static_cast<size_t>(element)]; }
  void add_vector(int64_t element, double factor, const std::vector<double>& vector) {
    for (size_t c = 0; c < vector.size(); ++c) at(element + static_cast<int64_t>(c)) += factor * vector[c];
  }
  void store() const {
    for (size_t index = 0; index < values.size(); ++index) {
      int64_t element = 0, rest = static_cast<int64_t>(index);
      for (int a = target.rank - 1; a >= 0; --a) {
        element += rest % target.sizes[a] * target.strides[a];
        rest /= target.sizes[a];
      }
      store_double(target.at(element), target.dtype, values[index]);
    }
  }
};

// Key weights given as (*grid) arrive with batch stride 0, and so does their gradient: one sum over the batch, written
// (as zeros) even if the batch is empty.
TensorView without_shared_batch(TensorView gradient) {
  if (gradient && gradient.strides[0] == 0) gradient.sizes[0] = 1;
  return gradient;
}

template <class Terms>
class Backward {
 public:
  Backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients)
      : problem_(problem),
        inputs_(inputs),
        shape_(problem.shape),
        query_(gradients.query),
        key_(gradients.key),
        value_(gradients.value),
        additional_keys_(gradients.additional_keys),
        additional_values_(gradients.additional_values),
        key_weights_(without_shared_batch(gradients.key_weights)),
        bias_(gradients.bias) {}

  void run() {
    for (int64_t batch = 0; batch < shape_.batch; ++batch) {
      for (int64_t head = 0; head < shape_.heads; ++head) {
        for (int64_t i = 0; i < shape_.tokens(); ++i) backward_query(batch, head, token_at(shape_, i));
      }
    }
    for (Sums* sums : {&query_, &key_, &value_, &additional_keys_, &additional_values_, &key_weights_, &bias_}) {
      if (*sums) sums->store();
    }
  }

 private:
  // What all keys of a query share.
  struct QueryTerms {
    int64_t batch = 0, head = 0;
    GridIndex token{};
    std::vector<double> query, dout;  // absolute values where Terms says so
    double D = 0;
  };

  void backward_query(int64_t batch, int64_t head, const GridIndex& token) {
    QueryTerms q{batch, head, token, load(problem_.query, batch, token, head, shape_.head_dim),
                 load(inputs_.dout, batch, token, head, shape_.head_dim_v)};
    const AttentionRow row = attention_row(problem_, batch, head, token, q.query);
    if (row.is_empty) return;

    take_terms(q.query);
    take_terms(q.dout);
    std::vector<std::vector<double>> v(row.keys.size());
    for (size_t j = 0; j < v.size(); ++j) {
      const SeenKey& key = row.keys[j];
      // A key of weight 0 is read only if its own gradient asks for it.
      if (key.weight == 0 && !key_weights_) continue;
      v[j].resize(static_cast<size_t>(shape_.head_dim_v));
      load_seen(problem_.value, problem_.modifiers.additional_values, shape_.rank, batch, shape_.kv_head(head), key,
                v[j]);
      take_terms(v[j]);
    }
    // D_i = dout_i.out_i - dlogsumexp_i, with this engine's own out_i = sum_j P_ij v_j.
    std::vector<double> out(static_cast<size_t>(shape_.head_dim_v), 0.0);
    for (size_t j = 0; j < v.size(); ++j) {
      if (row.keys[j].weight == 0) continue;
      for (size_t c = 0; c < out.size(); ++c) out[c] += row.keys[j].probability * v[j][c];
    }
    q.D = Terms::minus(dot(q.dout, out), dlogsumexp(batch, head, token));

    for (size_t j = 0; j < v.size(); ++j) {
      const SeenKey& key = row.keys[j];
      if (key.weight != 0) backward_pair(q, key, v[j]);
      if (key_weights_ && !key.is_additional) {
        // dw_j = sum_i (P_ij / w_j) (dout_i.v_j - D_i)
        const int64_t own_batch = key_weights_.target.strides[0] == 0 ? 0 : batch;
        key_weights_.at(grid_element(key_weights_.dense, shape_.rank, own_batch, key.token, 0)) +=
            key.probability_per_weight * Terms::minus(dot(q.dout, v[j]), q.D);
      }
    }
  }

  void backward_pair(const QueryTerms& q, const SeenKey& key, const std::vector<double>& v) {
    const int64_t head_kv = shape_.kv_head(q.head);
    const double dS = key.probability * Terms::minus(dot(q.dout, v), q.D);
    const double u = dS * key.cap_slope;
    const double scaled_u = Terms::term(problem_.scale) * u;

    // dV_j += P_ij dout_i
    Sums& value = key.is_additional ? additional_values_ : value_;
    if (value) value.add_vector(seen_element(value, q.batch, head_kv, key), key.probability, q.dout);
    // dK_j += scale u_ij q_i
    Sums& keys = key.is_additional ? additional_keys_ : key_;
    if (keys) keys.add_vector(seen_element(keys, q.batch, head_kv, key), scaled_u, q.query);
    // dQ_i += scale u_ij k_j
    if (query_) {
      std::vector<double> k(static_cast<size_t>(shape_.head_dim));
      load_seen(problem_.key, problem_.modifiers.additional_keys, shape_.rank, q.batch, head_kv, key, k);
      take_terms(k);
      query_.add_vector(grid_element(query_.dense, shape_.rank, q.batch, q.token, q.head), scaled_u, k);
    }
    // dbias += dS_ij
    if (bias_ && !key.is_additional) bias_.at(bias_element(bias_.dense, shape_.rank, q.head, key.offset)) += dS;
  }

  static void take_terms(std::vector<double>& values) {
    for (double& x : values) x = Terms::term(x);
  }

  std::vector<double> load(const TensorView& tensor, int64_t batch, const GridIndex& token, int64_t head,
                           int64_t count) const {
    std::vector<double> values(static_cast<size_t>(count));
    load_vector(tensor, grid_element(tensor, shape_.rank, batch, token, head), values);
    return values;
  }

  double dlogsumexp(int64_t batch, int64_t head, const GridIndex& token) const {
    const TensorView& tensor = inputs_.dlogsumexp;
    if (!tensor) return 0;
    return load_double(tensor.at(grid_element(tensor, shape_.rank, batch, token, head)), tensor.dtype);
  }

  int64_t seen_element(const Sums& sums, int64_t batch, int64_t head_kv, const SeenKey& key) const {
    return key.is_additional ? additional_element(sums.dense, batch, key.token[0], head_kv)
                             : grid_element(sums.dense, shape_.rank, batch, key.token, head_kv);
  }

  const Problem& problem_;
  const BackwardInputs& inputs_;
  const Shape& shape_;
  Sums query_, key_, value_, additional_keys_, additional_values_, key_weights_, bias_;
};

}  // namespace

void reference_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients) {
  Backward<Signed>(problem, inputs, gradients).run();
}

void reference_backward_magnitudes(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients) {
  Backward<Magnitude>(problem, inputs, gradients).run();
}

}  // namespace nearfield::core
