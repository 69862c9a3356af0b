// Where the tokens that a plan counts lie in a tensor: along the grid's axes; or, for a pattern along an order, where
// the order says, so that nobody has to reorder the tensor.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/problem.h"

namespace nearfield::core {

class Placement {
 public:
  // `strides` of the grid's axes, in elements.
  Placement(const Pattern& pattern, const int64_t* strides) : rank_(pattern.rank), order_(pattern.order.get()) {
    std::copy_n(strides, pattern.grid_rank(), strides_);
    if (order_ == nullptr) return;
    // Mostly a token's place is a multiple of its row-major number.
    for (int a = order_->key.rank - 1; a >= 0; --a) {
      if (order_->key.grid[a] <= 1) continue;
      if (tokens_so_far_ == 1) step_ = strides_[a];
      is_even_ = is_even_ && strides_[a] == step_ * tokens_so_far_;
      tokens_so_far_ *= order_->key.grid[a];
    }
  }

  bool has_order() const { return order_ != nullptr; }
  // Elements per token of one of the plan's axes, where there is no order.
  int64_t stride(int axis) const { return strides_[axis]; }
  // Elements to a token of the plan's last axis.
  int64_t along(int64_t token) const {
    if (order_ == nullptr) return token * strides_[rank_ - 1];
    const int64_t at = order_->token_at(token);
    return is_even_ ? at * step_ : scattered(at);
  }

 private:
  int64_t scattered(int64_t token) const {
    int64_t coordinates[kMaxGridRank], element = 0;
    order_->coordinates_of(token, coordinates);
    for (int a = 0; a < order_->key.rank; ++a) element += coordinates[a] * strides_[a];
    return element;
  }

  int rank_;
  const TokenOrder* order_;
  int64_t strides_[kMaxGridRank] = {};
  bool is_even_ = true;
  int64_t step_ = 0, tokens_so_far_ = 1;
};

}  // namespace nearfield::core
