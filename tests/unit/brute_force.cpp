#include "brute_force.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "tape.h"

namespace nearfield::test {
namespace {

using core::NeighborhoodAxis;
using core::Problem;
using core::TensorView;

// The queries of one group share a leader: its middle member, or its last if causal or if the group is cut short.
int64_t leader_of(const NeighborhoodAxis& axis, int64_t n, int64_t x) {
  std::vector<int64_t> group;
  for (int64_t other = 0; other < n; ++other) {
    if (other / axis.stride == x / axis.stride) group.push_back(other);
  }
  const size_t middle = static_cast<size_t>(axis.stride / 2);
  return !axis.is_causal && middle < group.size() ? group[middle] : group.back();
}

// The window [c-l, c+r] moved by the least distance that brings all of it into [0, n); k <= n.
bool clamped_window_has(int64_t n, int64_t first, int64_t k, int64_t y) {
  for (int64_t distance = 0;; ++distance) {
    for (int64_t shift : {distance, -distance}) {
      const int64_t moved = first + shift;
      if (moved >= 0 && moved + k <= n) return moved <= y && y < moved + k;
    }
  }
}

// Offset y - x if coordinate x of a class of n sees coordinate y; across a seam the offset within the window.
std::optional<int64_t> sees(const NeighborhoodAxis& axis, int64_t n, int64_t x, int64_t leader, int64_t y) {
  const int64_t k = axis.kernel_size, left = k / 2, right = k - 1 - k / 2;
  bool is_seen = false;
  if (axis.is_causal) {
    is_seen = y <= x && leader - y < k;
  } else if (axis.boundary == core::Boundary::cut) {
    is_seen = leader - left <= y && y <= leader + right;
  } else if (axis.boundary == core::Boundary::clamp) {
    is_seen = k >= n || clamped_window_has(n, leader - left, k, y);
  } else if (k >= n) {
    int64_t offset = y - x;  // reduced to (-n/2, n/2]
    while (2 * offset <= -n) offset += n;
    while (2 * offset > n) offset -= n;
    return offset;
  } else {
    for (int64_t key = leader - left; key <= leader + right; ++key) {
      if ((key + n * k) % n == y) return key - x;
    }
  }
  if (!is_seen) return {};
  return y - x;
}

std::vector<long double> load(const TensorView& view) {
  std::vector<long double> values;
  if (!view) return values;
  int64_t count = 1;
  for (int a = 0; a < view.rank; ++a) count *= view.sizes[a];
  for (int64_t n = 0; n < count; ++n) {
    int64_t element = 0, rest = n;
    for (int a = view.rank - 1; a >= 0; --a) {
      element += rest % view.sizes[a] * view.strides[a];
      rest /= view.sizes[a];
    }
    values.push_back(core::load_double(view.at(element), view.dtype));
  }
  return values;
}

// The dense problem: numbers are long double or variables on a tape.
template <class Real>
class Dense {
 public:
  Dense(const Problem& problem, const Tensors<Real>& tensors)
      : problem_(problem), shape_(problem.shape), tensors_(tensors), mask_(load(problem.modifiers.key_mask)) {
    if (problem.pattern.sphere) {
      measure_sphere();
      return;
    }
    for (int a = 0; a < problem.pattern.rank; ++a) {
      const auto take = [&](const auto& axis) {
        extents_[a] = axis.kernel_size;
        for (int64_t i = 0; i < axis.queries; ++i) {
          for (const auto& offset : seen_from(axis, i)) offsets_[a].push_back(offset);
        }
      };
      if (const auto* runs = std::get_if<core::RunsAxis>(&problem.pattern.axes[a])) {
        take(*runs);
      } else {
        take(std::get<NeighborhoodAxis>(problem.pattern.axes[a]));
      }
    }
    if (problem.pattern.order) measure_extents();
  }

  // Calls row(first element of out, element of logsumexp, sum of weights, sums of weighted values) per query.
  template <class Row>
  void for_each_query(Row&& row) const {
    for (int64_t b = 0; b < shape_.batch; ++b) {
      for (int64_t i = 0; i < shape_.tokens(); ++i) {
        for (int64_t h = 0; h < shape_.heads; ++h) {
          const int64_t element = (b * shape_.tokens() + i) * shape_.heads + h;
          Real total = 0;
          std::vector<Real> sums(static_cast<size_t>(shape_.head_dim_v), Real(0));
          add_keys(b, i, h, total, sums);
          row(element * shape_.head_dim_v, element, total, sums);
        }
      }
    }
  }

 private:
  void add_keys(int64_t b, int64_t i, int64_t h, Real& total, std::vector<Real>& sums) const {
    const int64_t kv = h / (shape_.heads / shape_.heads_kv);
    const int64_t query = ((b * shape_.tokens() + i) * shape_.heads + h) * shape_.head_dim;
    const int64_t keys = problem_.key_tokens();
    for (int64_t j = 0; j < keys; ++j) {
      const std::optional<int64_t> bias = bias_index(i, j);
      const int64_t token = b * keys + j;
      if (!bias || (!mask_.empty() && mask_[at(token)] == 0)) continue;
      Real weight = 1;
      if (!tensors_.key_weights.empty()) weight = tensors_.key_weights[at(token)];
      if (leave_out(weight)) continue;
      const int64_t vector = token * shape_.heads_kv + kv;
      Real score = capped(dot(query, tensors_.key, vector * shape_.head_dim));
      if (!tensors_.bias.empty()) score = score + tensors_.bias[at(h * bias_entries() + *bias)];
      if (!area_.empty()) weight = weight * Real(area_[at(j / problem_.key.sizes[2])]);
      add(weight * exp(score), tensors_.value, vector * shape_.head_dim_v, total, sums);
    }
    for (int64_t m = 0; m < shape_.additional; ++m) {
      const int64_t vector = (b * shape_.additional + m) * shape_.heads_kv + kv;
      add(exp(capped(dot(query, tensors_.additional_keys, vector * shape_.head_dim))), tensors_.additional_values,
          vector * shape_.head_dim_v, total, sums);
    }
  }

  // A weight of 0 takes part only where derivatives by it are wanted.
  static bool leave_out(long double weight) { return weight == 0; }
  static bool leave_out(const Variable&) { return false; }

  static size_t at(int64_t index) { return static_cast<size_t>(index); }

  void add(const Real& weight, const std::vector<Real>& values, int64_t first, Real& total,
           std::vector<Real>& sums) const {
    total = total + weight;
    for (size_t c = 0; c < sums.size(); ++c) sums[c] = sums[c] + weight * values[at(first) + c];
  }

  Real dot(int64_t query, const std::vector<Real>& keys, int64_t key) const {
    Real sum = 0;
    for (int64_t c = 0; c < shape_.head_dim; ++c) sum = sum + tensors_.query[at(query + c)] * keys[at(key + c)];
    return sum;
  }

  Real capped(const Real& product) const {
    const Real logit = product * Real(problem_.scale);
    const long double cap = problem_.modifiers.softcap;
    return cap == 0 ? logit : Real(cap) * tanh(logit * Real(1 / cap));
  }

  int64_t bias_entries() const {
    int64_t entries = 1;
    for (int a = 0; a < shape_.rank; ++a) entries *= 2 * extents_[a] - 1;
    return entries;
  }

  // Row-major index of the pair's bias in a head's table; nothing if i does not see j on every axis.
  std::optional<int64_t> bias_index(int64_t i, int64_t j) const {
    int64_t index = 0, factor = 1;
    if (problem_.pattern.sphere)
      return on_sphere_[at(i * problem_.key_tokens() + j)] ? std::optional<int64_t>(0) : std::nullopt;
    if (problem_.pattern.order) {
      if (!seen_along_order(i, j)) return {};
      for (int a = shape_.rank - 1; a >= 0; --a) {
        const int64_t length = shape_.grid[a];
        index += (j % length - i % length + extents_[a] - 1) * factor;
        factor *= 2 * extents_[a] - 1;
        i /= length;
        j /= length;
      }
      return index;
    }
    for (int a = shape_.rank - 1; a >= 0; --a) {
      const int64_t length = shape_.grid[a];
      const std::optional<int64_t> offset = offsets_[a][at(i % length * length + j % length)];
      if (!offset) return {};
      index += (*offset + extents_[a] - 1) * factor;
      factor *= 2 * extents_[a] - 1;
      i /= length;
      j /= length;
    }
    return index;
  }

  bool seen_along_order(int64_t i, int64_t j) const {
    const core::TokenOrder& order = *problem_.pattern.order;
    return offsets_[0][at(order.position_of(i) * order.size() + order.position_of(j))].has_value();
  }

  // "great-circle distance <= (1 + tolerance) theta_cutoff", by the chord between two points.
  void measure_sphere() {
    using core::SphereGrid;
    const core::SphereGrids& grids = problem_.pattern.sphere->key.grids;
    const auto points = [](const SphereGrid& grid) {
      std::vector<std::array<long double, 3>> all;
      for (const double theta : core::sphere_latitudes(grid.kind, grid.nlat).theta)
        for (int64_t j = 0; j < grid.nlon; ++j) {
          const long double phi =
              2 * std::numbers::pi_v<long double> * static_cast<long double>(j) / static_cast<long double>(grid.nlon);
          const long double t = theta;
          all.push_back({std::sin(t) * std::cos(phi), std::sin(t) * std::sin(phi), std::cos(t)});
        }
      return all;
    };
    const long double limit = (1 + static_cast<long double>(grids.tolerance)) * grids.cutoff;
    for (const auto& q : points(grids.query))
      for (const auto& k : points(grids.key)) {
        const long double chord = std::hypot(q[0] - k[0], q[1] - k[1], q[2] - k[2]);
        const long double distance = 2 * std::asin(std::min(chord / 2, 1.0L));
        on_sphere_.push_back(problem_.pattern.sphere->key.is_global || distance <= limit + 1e-13L);
      }
    const core::Latitudes rows = core::sphere_latitudes(grids.key.kind, grids.key.nlat);
    for (const double weight : rows.weights)
      area_.push_back(2 * std::numbers::pi_v<long double> * weight / static_cast<long double>(grids.key.nlon));
  }

  // "a table over true grid offsets, e = the pattern's largest extent"
  void measure_extents() {
    std::fill_n(extents_, core::kMaxGridRank, 1);
    for (int64_t i = 0; i < shape_.tokens(); ++i) {
      for (int64_t j = 0; j < shape_.tokens(); ++j) {
        if (!seen_along_order(i, j)) continue;
        int64_t query = i, key = j;
        for (int a = shape_.rank - 1; a >= 0; --a) {
          const int64_t distance = key % shape_.grid[a] - query % shape_.grid[a];
          extents_[a] = std::max(extents_[a], 1 + (distance < 0 ? -distance : distance));
          query /= shape_.grid[a];
          key /= shape_.grid[a];
        }
      }
    }
  }

  const Problem& problem_;
  const core::Shape& shape_;
  const Tensors<Real>& tensors_;
  std::vector<long double> mask_;
  std::vector<bool> on_sphere_;    // [query token][key token]
  std::vector<long double> area_;  // [key latitude]: of a point
  int64_t extents_[core::kMaxGridRank] = {1, 1, 1};
  // [query token][key token] of each axis; along an order there is one, of its positions.
  std::vector<std::optional<int64_t>> offsets_[core::kMaxGridRank];
};

template <class Real>
Real loss(const Problem& problem, const core::BackwardInputs& inputs, const Tensors<Real>& tensors) {
  const std::vector<long double> dout = load(inputs.dout), dlogsumexp = load(inputs.dlogsumexp);
  Real sum = 0;
  Dense<Real>(problem, tensors).for_each_query([&](int64_t out, int64_t element, const Real& total, const auto& sums) {
    if (value_of(total) == 0) return;
    for (size_t c = 0; c < sums.size(); ++c) {
      sum = sum + sums[c] / total * Real(dout[static_cast<size_t>(out) + c]);
    }
    if (!dlogsumexp.empty()) sum = sum + log(total) * Real(dlogsumexp[static_cast<size_t>(element)]);
  });
  return sum;
}

}  // namespace

std::vector<std::optional<int64_t>> seen_from(const core::RunsAxis& axis, int64_t i) {
  const auto run_of = [&](int64_t x) {  // the first run is short by the shift
    int64_t run = 0;
    for (int64_t end = axis.kernel_size - axis.phase; x >= end; end += axis.kernel_size) ++run;
    return run;
  };
  std::vector<std::optional<int64_t>> seen(static_cast<size_t>(axis.keys));
  for (int64_t j = 0; j < axis.keys; ++j) {
    const int64_t x = i / axis.dilation, y = j / axis.dilation;
    const bool same_class = j % axis.dilation == i % axis.dilation;
    if (same_class && run_of(x) == run_of(y) && !(axis.is_causal && y > x)) seen[static_cast<size_t>(j)] = y - x;
  }
  return seen;
}

std::vector<std::optional<int64_t>> seen_from(const NeighborhoodAxis& axis, int64_t i) {
  std::vector<std::optional<int64_t>> seen(static_cast<size_t>(axis.keys));
  std::vector<int64_t> members;  // tokens of i's residue class, in order
  int64_t x = 0;                 // place of i among them
  for (int64_t t = 0; t < axis.keys; ++t) {
    if (t % axis.dilation != i % axis.dilation) continue;
    if (t == i) x = static_cast<int64_t>(members.size());
    members.push_back(t);
  }
  const int64_t n = static_cast<int64_t>(members.size()), leader = leader_of(axis, n, x);
  for (int64_t y = 0; y < n; ++y)
    seen[static_cast<size_t>(members[static_cast<size_t>(y)])] = sees(axis, n, x, leader, y);
  return seen;
}

Numbers load_numbers(const Problem& problem) {
  const core::Modifiers& m = problem.modifiers;
  return {load(problem.query),       load(problem.key),   load(problem.value), load(m.additional_keys),
          load(m.additional_values), load(m.key_weights), load(m.bias)};
}

BruteForward brute_forward(const Problem& problem, const Numbers& numbers) {
  BruteForward result;
  Dense<long double>(problem, numbers)
      .for_each_query([&](int64_t, int64_t, long double total, const std::vector<long double>& sums) {
        for (long double sum : sums) result.out.push_back(total == 0 ? 0 : sum / total);
        result.logsumexp.push_back(std::log(total));
      });
  return result;
}

long double brute_loss(const Problem& problem, const core::BackwardInputs& inputs, const Numbers& numbers) {
  return loss<long double>(problem, inputs, numbers);
}

Numbers brute_gradients(const Problem& problem, const core::BackwardInputs& inputs, const Numbers& numbers) {
  Tape tape;
  Tensors<Variable> variables;
  Numbers copy = numbers, gradients;
  for (size_t t = 0; t < copy.list().size(); ++t) {
    for (long double x : *copy.list()[t]) variables.list()[t]->push_back(tape.input(x));
  }
  const std::vector<long double> adjoints = tape.adjoints(loss<Variable>(problem, inputs, variables));
  for (size_t t = 0; t < copy.list().size(); ++t) {
    for (const Variable& variable : *variables.list()[t]) {
      gradients.list()[t]->push_back(adjoints[static_cast<size_t>(variable.node)]);
    }
  }
  return gradients;
}

}  // namespace nearfield::test
