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
  // Elements from (batch 0, head 0) of a tensor of queries to each seer; with_slot: of weights, to its slot.
  void locate(const Placement& tensor, bool with_slot, std::vector<int64_t>& offsets) const;

 private:
  const UnfusedProblem& problem_;
  int64_t at_[kMaxGridRank] = {-1, -1, -1};
  std::vector<SlotQuery> axes_[kMaxGridRank] = {{{}}, {{}}, {{}}};
};

// Placement of (batch, *grid, ...).
inline Placement placement_of(const UnfusedProblem& problem, const TensorView& tensor) {
  return Placement(problem.pattern, tensor.strides + 1);
}
// Elements from (batch 0, head 0) to row-major token `token`.
int64_t element_of_token(const UnfusedProblem& problem, const TensorView& tensor, int64_t token);

}  // namespace nearfield::core
