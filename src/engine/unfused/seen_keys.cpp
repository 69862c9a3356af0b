#include "engine/unfused/seen_keys.h"

namespace nearfield::core {
namespace {

// The tokens of the pattern's rules at a row-major token of the grid: calls changed(axis, token) where it is another.
template <class Changed>
void move(const UnfusedProblem& problem, int64_t token, int64_t (&at)[kMaxGridRank], Changed changed) {
  const Pattern& pattern = problem.pattern;
  if (pattern.order) token = pattern.order->position_of(token);
  for (int a = pattern.rank - 1; a >= 0; --a) {
    const int64_t length = pattern.order ? problem.shape.tokens() : problem.shape.grid[a];
    const int64_t on_axis = token % length;
    token /= length;
    if (at[a] == on_axis) continue;
    at[a] = on_axis;
    changed(a, on_axis);
  }
}

}  // namespace

template <class Visit>
void SeenKeys::for_each(Visit visit) const {
  for (const SlotKey& k0 : axes_[0])
    for (const SlotKey& k1 : axes_[1])
      for (const SlotKey& k2 : axes_[2]) visit(k0, k1, k2);
}

void SeenKeys::move_to(int64_t token) {
  query_ = token;
  move(problem_, token, at_, [&](int a, int64_t on_axis) { keys_seen(problem_.pattern.axes[a], on_axis, axes_[a]); });
  slots_.clear();
  const int64_t* slots = problem_.slots;
  for_each([&](const SlotKey& k0, const SlotKey& k1, const SlotKey& k2) {
    slots_.push_back((k0.slot * slots[1] + k1.slot) * slots[2] + k2.slot);
  });
}

void SeenKeys::locate(const Placement& tensor, std::vector<int64_t>& offsets) const {
  offsets.clear();
  if (tensor.has_order()) {
    for (const SlotKey& key : axes_[0]) offsets.push_back(tensor.along(key.key));
    return;
  }
  const int rank = problem_.pattern.rank;
  const int64_t s0 = tensor.stride(0), s1 = rank > 1 ? tensor.stride(1) : 0, s2 = rank > 2 ? tensor.stride(2) : 0;
  for_each([&](const SlotKey& k0, const SlotKey& k1, const SlotKey& k2) {
    offsets.push_back(k0.key * s0 + k1.key * s1 + k2.key * s2);
  });
}

void SeenKeys::find_bias(const TensorView& bias, std::vector<int64_t>& entries) {
  entries.clear();
  const Pattern& pattern = problem_.pattern;
  int64_t strides[kMaxGridRank] = {}, middle = 0, entry = 1;
  for (int a = problem_.shape.rank - 1; a >= 0; --a) {
    strides[a] = entry;
    middle += bias.sizes[a + 1] / 2 * entry;
    entry *= bias.sizes[a + 1];
  }
  if (!pattern.order) {
    for_each([&](const SlotKey& k0, const SlotKey& k1, const SlotKey& k2) {
      entries.push_back(k0.bias * strides[0] + k1.bias * strides[1] + k2.bias * strides[2]);
    });
    return;
  }
  if (cells_.empty()) {
    int64_t coordinates[kMaxGridRank];
    for (int64_t token = 0; token < problem_.shape.tokens(); ++token) {
      pattern.order->coordinates_of(token, coordinates);
      cells_.push_back(coordinates[0] * strides[0] + coordinates[1] * strides[1] + coordinates[2] * strides[2]);
    }
  }
  const auto cell = [&](int64_t token) { return cells_[static_cast<size_t>(token)]; };
  for (const SlotKey& key : axes_[0]) entries.push_back(cell(pattern.order->token_at(key.key)) - cell(query_) + middle);
}

void Seers::move_to(int64_t token) {
  move(problem_, token, at_,
       [&](int a, int64_t on_axis) { queries_that_see(problem_.pattern.axes[a], on_axis, axes_[a]); });
}

int64_t element_of_token(const UnfusedProblem& problem, const TensorView& tensor, int64_t token) {
  int64_t element = 0;
  for (int a = problem.shape.rank - 1; a >= 0; --a) {
    element += token % problem.shape.grid[a] * tensor.strides[1 + a];
    token /= problem.shape.grid[a];
  }
  return element;
}

}  // namespace nearfield::core
