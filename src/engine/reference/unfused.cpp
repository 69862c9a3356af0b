#include "engine/reference/unfused.h"

#include <cmath>
#include <vector>

#include "engine/reference/row.h"
#include "engine/unfused/operators.h"
#include "pattern/windows.h"

namespace nearfield::core {
namespace {

// One query of one head, with its slots.
struct Row {
  int64_t batch = 0, head = 0, kv_head = 0;
  GridIndex token{};
  const std::vector<int64_t>& keys;  // row-major tokens, -1 where hidden
  const std::vector<int64_t>& bias;
};

// Calls visit(row) for every query of every head, in one order.
template <class Visit>
void for_each_row(const UnfusedProblem& problem, bool with_bias, Visit visit) {
  const Shape& shape = problem.shape;
  std::vector<int64_t> keys(static_cast<size_t>(problem.volume())), bias(with_bias ? keys.size() : 0);
  for (int64_t batch = 0; batch < shape.batch; ++batch)
    for (int64_t token = 0; token < shape.tokens(); ++token) {
      write_windows(problem.pattern, problem.slots, token, 1, keys.data(), with_bias ? bias.data() : nullptr);
      if (const TensorView& mask = problem.key_mask)
        for (int64_t& key : keys)
          if (key >= 0 &&
              load_double(mask.at(grid_element(mask, shape.rank, batch, token_at(shape, key), 0)), mask.dtype) == 0)
            key = -1;
      for (int64_t head = 0; head < shape.heads; ++head)
        visit(Row{batch, head, shape.kv_head(head), token_at(shape, token), keys, bias});
    }
}

// Calls visit(column, is_additional, number) for what a row sees: number is the token or that of the additional key.
template <class Visit>
void for_each_seen(const UnfusedProblem& problem, const Row& row, Visit visit) {
  for (size_t s = 0; s < row.keys.size(); ++s)
    if (row.keys[s] >= 0) visit(static_cast<int64_t>(s), false, row.keys[s]);
  for (int64_t m = 0; m < problem.shape.additional; ++m) visit(problem.volume() + m, true, m);
}

int64_t far_element(const UnfusedProblem& problem, const TensorView& far, const TensorView& additional, const Row& row,
                    bool is_additional, int64_t number) {
  if (is_additional) return additional_element(additional, row.batch, number, row.kv_head);
  return grid_element(far, problem.shape.rank, row.batch, token_at(problem.shape, number), row.kv_head);
}

std::vector<double> load(const TensorView& tensor, int64_t element) {
  std::vector<double> values(static_cast<size_t>(tensor.sizes[tensor.rank - 1]));
  load_vector(tensor, element, values);
  return values;
}

int64_t row_element(const UnfusedProblem& problem, const TensorView& tensor, const Row& row) {
  return grid_element(tensor, problem.shape.rank, row.batch, row.token, row.head);
}

double weight_at(const TensorView& weights, int64_t first, int64_t column) {
  return load_double(weights.at(first + column * weights.strides[weights.rank - 1]), weights.dtype);
}

// Element of a table (heads, 2e-1 per axis) at a row-major entry of one head.
int64_t table_element(const TensorView& bias, int64_t head, int64_t entry) {
  int64_t element = head * bias.strides[0];
  for (int d = bias.rank - 1; d > 0; --d) {
    element += entry % bias.sizes[d] * bias.strides[d];
    entry /= bias.sizes[d];
  }
  return element;
}

struct Signed {
  static double term(double x) { return x; }
};
struct Magnitude {
  static double term(double x) { return std::fabs(x); }
};

// Float64 sums with the elements of a tensor.
class Sums {
 public:
  explicit Sums(const TensorView& target) : target_(target), dense_(target) {
    if (!target) return;
    int64_t count = 1;
    for (int d = target.rank - 1; d >= 0; --d) {
      dense_.strides[d] = count;
      count *= target.sizes[d];
    }
    values_.assign(static_cast<size_t>(count), 0.0);
  }
  const TensorView& dense() const { return dense_; }
  double& at(int64_t element) { return values_[static_cast<size_t>(element)]; }
  void store() const {
    for (size_t i = 0; i < values_.size(); ++i) {
      auto rest = static_cast<int64_t>(i), element = int64_t{0};
      for (int d = target_.rank - 1; d >= 0; rest /= target_.sizes[d--])
        element += rest % target_.sizes[d] * target_.strides[d];
      store_double(target_.at(element), target_.dtype, values_[i]);
    }
  }

 private:
  TensorView target_, dense_;
  std::vector<double> values_;
};

template <class Terms>
void gather(const UnfusedProblem& problem, const GatherCall& call) {
  for_each_row(problem, false, [&](const Row& row) {
    const int64_t first = row_element(problem, call.weights, row), out = row_element(problem, call.near, row);
    std::vector<double> sum(static_cast<size_t>(call.near.sizes[call.near.rank - 1]), 0.0);
    for_each_seen(problem, row, [&](int64_t column, bool is_additional, int64_t number) {
      const double w = weight_at(call.weights, first, column) * call.factor;
      const TensorView& source = is_additional ? call.additional : call.far;
      const auto far = load(source, far_element(problem, call.far, call.additional, row, is_additional, number));
      for (size_t c = 0; c < sum.size(); ++c) sum[c] += Terms::term(w * far[c]);
    });
    for (size_t c = 0; c < sum.size(); ++c)
      store_double(call.near.at(out + static_cast<int64_t>(c)), call.near.dtype, sum[c]);
  });
}

template <class Terms>
void scatter(const UnfusedProblem& problem, const ScatterCall& call) {
  Sums far(call.far), additional(call.additional);
  for_each_row(problem, false, [&](const Row& row) {
    const int64_t first = row_element(problem, call.weights, row);
    const auto near = load(call.near, row_element(problem, call.near, row));
    for_each_seen(problem, row, [&](int64_t column, bool is_additional, int64_t number) {
      if (!(is_additional ? call.additional : call.far)) return;
      Sums& sums = is_additional ? additional : far;
      const double w = weight_at(call.weights, first, column) * call.factor;
      const int64_t element = far_element(problem, sums.dense(), sums.dense(), row, is_additional, number);
      for (size_t c = 0; c < near.size(); ++c) sums.at(element + static_cast<int64_t>(c)) += Terms::term(w * near[c]);
    });
  });
  far.store();
  additional.store();
}

template <class Terms>
void sum_bias(const UnfusedProblem& problem, const BiasCall& call) {
  Sums sums(call.bias);
  for_each_row(problem, true, [&](const Row& row) {
    const int64_t first = row_element(problem, call.weights, row);
    for_each_seen(problem, row, [&](int64_t column, bool is_additional, int64_t) {
      if (is_additional) return;
      const int64_t entry = row.bias[static_cast<size_t>(column)];
      sums.at(table_element(sums.dense(), row.head, entry)) += Terms::term(weight_at(call.weights, first, column));
    });
  });
  sums.store();
}

}  // namespace

void reference_pairs(const UnfusedProblem& problem, const PairsCall& call) {
  for_each_row(problem, static_cast<bool>(call.bias), [&](const Row& row) {
    const int64_t first = row_element(problem, call.weights, row);
    const auto near = load(call.near, row_element(problem, call.near, row));
    const auto store = [&](int64_t column, double value) {
      store_double(call.weights.at(first + column), call.weights.dtype, value);
    };
    for (int64_t s = 0; s < problem.volume(); ++s) store(s, call.hidden);
    for_each_seen(problem, row, [&](int64_t column, bool is_additional, int64_t number) {
      const TensorView& source = is_additional ? call.additional : call.far;
      const auto far = load(source, far_element(problem, call.far, call.additional, row, is_additional, number));
      double value = call.scale * dot(near, far);
      if (call.bias && !is_additional) {
        const int64_t entry = row.bias[static_cast<size_t>(column)];
        value += load_double(call.bias.at(table_element(call.bias, row.head, entry)), call.bias.dtype);
      }
      store(column, value);
    });
  });
}

void reference_gather(const UnfusedProblem& problem, const GatherCall& call) { gather<Signed>(problem, call); }
void reference_scatter(const UnfusedProblem& problem, const ScatterCall& call) { scatter<Signed>(problem, call); }
void reference_bias(const UnfusedProblem& problem, const BiasCall& call) { sum_bias<Signed>(problem, call); }
void reference_gather_magnitudes(const UnfusedProblem& problem, const GatherCall& call) {
  gather<Magnitude>(problem, call);
}
void reference_scatter_magnitudes(const UnfusedProblem& problem, const ScatterCall& call) {
  scatter<Magnitude>(problem, call);
}
void reference_bias_magnitudes(const UnfusedProblem& problem, const BiasCall& call) {
  sum_bias<Magnitude>(problem, call);
}

namespace {

// p_s = exp(w_s) / sum of exp(w), with the maximum taken out of both. A row of hidden slots becomes zeros.
void softmax(const UnfusedProblem& problem, const TensorView& weights, const TensorView& logsumexp, Isa) {
  for_each_row(problem, false, [&](const Row& row) {
    const int64_t first = row_element(problem, weights, row);
    std::vector<double> p = load(weights, first);
    double maximum = -HUGE_VAL, sum = 0;
    for (const double w : p) maximum = std::fmax(maximum, w);
    const double shift = maximum == -HUGE_VAL ? 0 : maximum;
    for (double& w : p) sum += w = std::exp(w - shift);
    for (size_t s = 0; s < p.size(); ++s)
      store_double(weights.at(first + static_cast<int64_t>(s)), weights.dtype, sum == 0 ? 0 : p[s] / sum);
    if (logsumexp)
      store_double(logsumexp.at(row_element(problem, logsumexp, row)), logsumexp.dtype, maximum + std::log(sum));
  });
}

// dw_s = p_s (d_s - sum of p d + dlogsumexp)
void softmax_gradient(const UnfusedProblem& problem, const TensorView& p, const TensorView& weights,
                      const TensorView& dlogsumexp, Isa) {
  for_each_row(problem, false, [&](const Row& row) {
    const int64_t first = row_element(problem, weights, row);
    const std::vector<double> share = load(p, row_element(problem, p, row)), d = load(weights, first);
    double mean = dot(share, d);
    if (dlogsumexp) mean -= load_double(dlogsumexp.at(row_element(problem, dlogsumexp, row)), dlogsumexp.dtype);
    for (size_t s = 0; s < d.size(); ++s)
      store_double(weights.at(first + static_cast<int64_t>(s)), weights.dtype, share[s] * (d[s] - mean));
  });
}

}  // namespace

const UnfusedOperators kReferenceOperators = {
    [](const UnfusedProblem& problem, const PairsCall& call, Isa) { reference_pairs(problem, call); },
    [](const UnfusedProblem& problem, const GatherCall& call, Isa) { reference_gather(problem, call); },
    [](const UnfusedProblem& problem, const ScatterCall& call, Isa) { reference_scatter(problem, call); },
    [](const UnfusedProblem& problem, const BiasCall& call, Isa) { reference_bias(problem, call); },
    softmax,
    softmax_gradient};

}  // namespace nearfield::core
