#include "engine/reference/row.h"

#include <cmath>
#include <limits>
#include <variant>

namespace nearfield::core {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct AxisKey {
  int64_t token = 0, offset = 0;
};

// What token i of an axis sees on it, in the order of the window. "Dilation": residue class g = i mod d, in-class
// coordinate x = floor(i / d), class length N = ceil((L - g) / d), original index y*d + g.
std::vector<AxisKey> keys_on_axis(const AxisRule& rule, int64_t i) {
  return std::visit(
      [i](const auto& axis) {
        const int64_t g = i % axis.dilation, x = i / axis.dilation;
        const int64_t n = ceil_div(axis.keys - g, axis.dilation);
        const Interval window = axis.keys_of(n, x);
        std::vector<AxisKey> keys;
        for (int64_t y = window.start; y < window.end(); ++y) {
          keys.push_back({floor_mod(y, n) * axis.dilation + g, y - x});
        }
        return keys;
      },
      rule);
}

// "A pattern on the curve is a 1-D pattern over curve positions"; its bias goes by true grid offsets.
std::vector<SeenKey> keys_along_order(const Problem& problem, const GridIndex& token) {
  const TokenOrder& order = *problem.pattern.order;
  const Shape& shape = problem.shape;
  const int64_t query = (token[0] * shape.grid[1] + token[1]) * shape.grid[2] + token[2];
  std::vector<SeenKey> keys;
  for (const AxisKey& key : keys_on_axis(problem.pattern.axes[0], order.position_of(query))) {
    SeenKey seen;
    seen.token = token_at(shape, order.token_at(key.token));
    for (size_t a = 0; a < seen.offset.size(); ++a) seen.offset[a] = seen.token[a] - token[a];
    keys.push_back(seen);
  }
  return keys;
}

// "D(i) met with one latitude circle is ONE symmetric longitude arc", for each circle that is within reach.
std::vector<SeenKey> keys_on_arcs(const Sphere& sphere, const GridIndex& token) {
  std::vector<SeenKey> keys;
  const Interval circles = sphere.reach.keys_of(token[0]);
  for (int64_t latitude = circles.start; latitude < circles.end(); ++latitude) {
    const Interval arc = sphere.reach.arc().keys_of(sphere.reach.half_width(token[0], latitude), token[1]);
    for (int64_t y = arc.start; y < arc.end(); ++y) {
      SeenKey key;
      key.token = {latitude, floor_mod(y, sphere.reach.arc().keys), 0};
      keys.push_back(key);
    }
  }
  return keys;
}

// "N(i) is the Cartesian product over the axes."
std::vector<SeenKey> keys_on_grid(const Problem& problem, const GridIndex& token) {
  if (problem.pattern.order) return keys_along_order(problem, token);
  if (problem.pattern.has_arcs()) return keys_on_arcs(*problem.pattern.sphere, token);
  std::vector<AxisKey> axes[kMaxGridRank];
  for (int a = 0; a < kMaxGridRank; ++a) {
    if (a < problem.shape.rank) {
      axes[a] = keys_on_axis(problem.pattern.axes[a], token[a]);
    } else {
      axes[a] = {AxisKey{}};
    }
  }
  std::vector<SeenKey> keys;
  for (const AxisKey& key0 : axes[0]) {
    for (const AxisKey& key1 : axes[1]) {
      for (const AxisKey& key2 : axes[2]) {
        SeenKey key;
        key.token = {key0.token, key1.token, key2.token};
        key.offset = {key0.offset, key1.offset, key2.offset};
        keys.push_back(key);
      }
    }
  }
  return keys;
}

bool is_masked(const Problem& problem, int64_t batch, const SeenKey& key) {
  const TensorView& mask = problem.modifiers.key_mask;
  return mask && load_double(mask.at(grid_element(mask, problem.shape.rank, batch, key.token, 0)), mask.dtype) == 0;
}

// The keys of the pattern that are not masked, then the additional ones, which nothing masks.
std::vector<SeenKey> seen_keys(const Problem& problem, int64_t batch, const GridIndex& token) {
  const TensorView& weights = problem.modifiers.key_weights;
  std::vector<SeenKey> keys;
  for (SeenKey& key : keys_on_grid(problem, token)) {
    if (is_masked(problem, batch, key)) continue;
    if (const auto& sphere = problem.pattern.sphere)
      key.log_density = sphere->log_weights[static_cast<size_t>(key.token[0])];
    if (weights) {
      key.weight =
          load_double(weights.at(grid_element(weights, problem.shape.rank, batch, key.token, 0)), weights.dtype);
    }
    keys.push_back(key);
  }
  for (int64_t m = 0; m < problem.shape.additional; ++m) {
    SeenKey key;
    key.is_additional = true;
    key.token[0] = m;
    keys.push_back(key);
  }
  return keys;
}

// `k` is scratch for the key's vector.
void score(const Problem& problem, int64_t batch, int64_t head, const std::vector<double>& query,
           std::vector<double>& k, SeenKey& key) {
  const Shape& shape = problem.shape;
  const Modifiers& modifiers = problem.modifiers;
  load_seen(problem.key, modifiers.additional_keys, shape.rank, batch, shape.kv_head(head), key, k);
  key.score = problem.scale * dot(query, k);
  if (modifiers.softcap != 0) {
    // "softcap c: c tanh(scale q.k / c), applied before bias, log-weights and masks are added"
    const double t = std::tanh(key.score / modifiers.softcap);
    key.score = modifiers.softcap * t;
    key.cap_slope = 1 - t * t;
  }
  if (modifiers.bias && !key.is_additional) {
    key.score += load_double(modifiers.bias.at(bias_element(modifiers.bias, shape.rank, head, key.offset)),
                             modifiers.bias.dtype);
  }
}

// logit_ij = score_ij + ln w_j; P_ij = exp(logit_ij) / sum of exp(logit_ij), with the maximum taken out of both.
// A key of weight 0 has logit -inf and P_ij = 0 whatever its score, NaN included. A row whose logits are all -inf
// counts as empty. A logit of NaN or +inf makes the row NaN.
void softmax(AttentionRow& row) {
  double maximum = -kInfinity;
  row.is_empty = true;
  for (const SeenKey& key : row.keys) {
    if (key.weight == 0) continue;
    const double logit = key.score + key.log_density + std::log(key.weight);
    maximum = std::fmax(maximum, logit);
    if (logit != -kInfinity) row.is_empty = false;
  }
  row.logsumexp = -kInfinity;
  if (row.is_empty) return;

  double sum = 0;
  for (const SeenKey& key : row.keys) {
    if (key.weight != 0) sum += std::exp(key.score + key.log_density + std::log(key.weight) - maximum);
  }
  row.logsumexp = maximum + std::log(sum);
  for (SeenKey& key : row.keys) {
    key.probability_per_weight = std::exp(key.score + key.log_density - maximum) / sum;
    if (key.weight != 0) key.probability = std::exp(key.score + key.log_density + std::log(key.weight) - maximum) / sum;
  }
}

}  // namespace

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
  return sum;
}

AttentionRow attention_row(const Problem& problem, int64_t batch, int64_t head, const GridIndex& token,
                           const std::vector<double>& query) {
  AttentionRow row;
  row.keys = seen_keys(problem, batch, token);
  std::vector<double> k(query.size());
  for (SeenKey& key : row.keys) score(problem, batch, head, query, k, key);
  softmax(row);
  return row;
}

GridIndex token_at(const Shape& shape, int64_t index) {
  GridIndex token{};
  for (int a = kMaxGridRank - 1; a >= 0; --a) {
    token[a] = index % shape.grid[a];
    index /= shape.grid[a];
  }
  return token;
}

GridIndex key_at(const Problem& problem, int64_t index) {
  GridIndex token{};
  for (int a = problem.shape.rank - 1; a >= 0; --a) {
    token[static_cast<size_t>(a)] = index % problem.key.sizes[a + 1];
    index /= problem.key.sizes[a + 1];
  }
  return token;
}

int64_t grid_element(const TensorView& tensor, int grid_rank, int64_t batch, const GridIndex& token, int64_t head) {
  int64_t element = batch * tensor.strides[0];
  for (int a = 0; a < grid_rank; ++a) element += token[a] * tensor.strides[1 + a];
  return element + head * tensor.strides[1 + grid_rank];
}

int64_t additional_element(const TensorView& tensor, int64_t batch, int64_t number, int64_t head) {
  return batch * tensor.strides[0] + number * tensor.strides[1] + head * tensor.strides[2];
}

// "index per axis = in-class (key - query) + k - 1", in a table of 2k-1.
int64_t bias_element(const TensorView& bias, int grid_rank, int64_t head, const GridIndex& offset) {
  int64_t element = head * bias.strides[0];
  for (int a = 0; a < grid_rank; ++a) {
    const int64_t kernel_size = (bias.sizes[1 + a] + 1) / 2;
    element += (offset[a] + kernel_size - 1) * bias.strides[1 + a];
  }
  return element;
}

void load_vector(const TensorView& tensor, int64_t element, std::vector<double>& values) {
  for (double& value : values) {
    value = load_double(tensor.at(element), tensor.dtype);
    element += tensor.strides[tensor.rank - 1];
  }
}

void load_seen(const TensorView& grid, const TensorView& additional, int grid_rank, int64_t batch, int64_t head_kv,
               const SeenKey& key, std::vector<double>& values) {
  if (key.is_additional) {
    load_vector(additional, additional_element(additional, batch, key.token[0], head_kv), values);
  } else {
    load_vector(grid, grid_element(grid, grid_rank, batch, key.token, head_kv), values);
  }
}

}  // namespace nearfield::core
