// What one query of the grid sees, slot by slot, and who sees one key: lists for engines that go token by token.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/cpu/placement.h"
#include "engine/unfused/unfused.h"
#include "plan/slots.h"

namespace nearfield::core {

class SeenKeys {
 public:
  explicit SeenKeys(const UnfusedProblem& problem) : problem_(problem) {}

  // Makes the query's lists; tokens in row-major order are cheapest.
  void move_to(int64_t token);
  int64_t count() const { return static_cast<int64_t>(slots_.size()); }
  // Ascending.
  const std::vector<int64_t>& slots() const { return slots_; }
  // Elements from (batch 0, head 0) of a tensor (batch, *grid, ...) to each key. `strides`: of its grid.
  void locate(const Placement& tensor, std::vector<int64_t>& offsets) const;
  // Each pair's entry in one head's table of (heads, 2e-1 per axis), row-major.
  void find_bias(const TensorView& bias, std::vector<int64_t>& entries);

 private:
  template <class Visit>
  void for_each(Visit visit) const;

  const UnfusedProblem& problem_;
  int64_t at_[kMaxGridRank] = {-1, -1, -1};  // the rules' tokens
  int64_t query_ = 0;
  std::vector<SlotKey> axes_[kMaxGridRank] = {{{}}, {{}}, {{}}};
  std::vector<int64_t> slots_;
  std::vector<int64_t> cells_;  // along an order, by token: where it lies in a table
};

class Seers {
 public:
  explicit Seers(const UnfusedProblem& problem) : problem_(problem) {}
  void move_to(int64_t token);
  // Calls visit(query, row, near offsets, weight offsets) for each line of seers: elements from (batch 0, head 0) of a
  // tensor of queries and of weights to the line; and lists of what is beyond, for each of its queries, of weights
  // with the slot.
  template <class Visit>
  void for_each_line(const Placement& near, const Placement& weights, Visit visit) {
    const int last = problem_.pattern.rank - 1;
    const int64_t* slots = problem_.slots;
    near_offsets_.clear();
    weight_offsets_.clear();
    for (const SlotQuery& q : axes_[last]) {
      near_offsets_.push_back(last == 0 ? near.along(q.query) : q.query * near.stride(last));
      weight_offsets_.push_back((last == 0 ? weights.along(q.query) : q.query * weights.stride(last)) + q.slot);
    }
    const auto at = [&](const Placement& tensor, int axis, int64_t query) {
      return axis < last ? query * tensor.stride(axis) : int64_t{0};
    };
    static const std::vector<SlotQuery> kOne{{}};
    const auto& outer = last > 0 ? axes_[0] : kOne;
    const auto& middle = last > 1 ? axes_[1] : kOne;
    for (const SlotQuery& q0 : outer)
      for (const SlotQuery& q1 : middle) {
        const int64_t slot = last == 0 ? 0 : last == 1 ? q0.slot * slots[1] : (q0.slot * slots[1] + q1.slot) * slots[2];
        visit(at(near, 0, q0.query) + at(near, 1, q1.query), at(weights, 0, q0.query) + at(weights, 1, q1.query) + slot,
              near_offsets_, weight_offsets_);
      }
  }

 private:
  const UnfusedProblem& problem_;
  int64_t at_[kMaxGridRank] = {-1, -1, -1};
  std::vector<SlotQuery> axes_[kMaxGridRank] = {{{}}, {{}}, {{}}};
  std::vector<int64_t> near_offsets_, weight_offsets_;
};

// Placement of (batch, *grid, ...).
inline Placement placement_of(const UnfusedProblem& problem, const TensorView& tensor) {
  return Placement(problem.pattern, tensor.strides + 1);
}
// Elements from (batch 0, head 0) to row-major token `token`.
int64_t element_of_token(const UnfusedProblem& problem, const TensorView& tensor, int64_t token);

}  // namespace nearfield::core
