// Modifiers in the form that the kernels want, prepared once for a call and shared by its threads: logits are in units
// of log2, so bias and log-weights are too; a key mask is a log-weight that hides.
#pragma once

#include <cstdint>

#include "engine/cpu/driver.h"
#include "engine/cpu/kernels.h"
#include "engine/problem.h"

namespace nearfield::core {

template <class T>
struct SharedModifiers {
  // [heads][2e-1 per axis], contiguous: the entry of offset o (key - query) on an axis is o + center.
  T* bias = nullptr;
  int64_t bias_head = 0;  // elements of one head's table
  int64_t bias_strides[kMaxGridRank] = {}, bias_center[kMaxGridRank] = {};
  // Along an order, where a bias is given: the pair's entry is cells[key] - cells[query] + bias_middle, by positions.
  int32_t* cells = nullptr;
  int64_t bias_middle = 0;
  // [batch or 1][tokens]: log2(weight), kMaskedScore where the key is masked; nullptr if there is neither. On the
  // sphere the quadrature's weights are in them too.
  T* log_weights = nullptr;
  int64_t log_weights_batch = 0;  // 0: the same for every image
  Placement tokens;               // in row-major numbers
  T softcap = 0;                  // log2 units
  // On the sphere [key latitudes]: log2(quadrature weight).
  T* line_weights = nullptr;
  // Backward, where the gradient of key_weights is wanted: keys of weight 0 have log_weights 0 and are told apart by 1
  // here. nullptr: not wanted, or there is no such key.
  T* weightless = nullptr;

  // Lays the tables out in `arena`. wants_weights: the gradient of key_weights is computed.
  SharedModifiers(Arena& arena, const Problem& problem, bool wants_weights);
  // Fills them; the problem's memory is read.
  void fill(const Problem& problem);

  // Log-weights of image `batch`, by token.
  const T* log_weights_of(int64_t batch) const { return log_weights + batch * log_weights_batch; }
  const T* weightless_of(int64_t batch) const { return weightless + batch * log_weights_batch; }

 private:
  void fill_cells(const TokenOrder& order);
  void add_latitudes(const Problem& problem);
};

// The element of a tensor (first, ...) at row-major `index` of its dimensions below the first.
int64_t element_of(const TensorView& tensor, int64_t first, int64_t index);

// Views have a rank where they are given, even if their memory is not known (explain).
inline bool is_given(const TensorView& view) { return view.rank > 0; }
// Of single keys, by a mask or by weights.
inline bool has_key_weights(const Problem& problem) {
  return is_given(problem.modifiers.key_mask) || is_given(problem.modifiers.key_weights);
}

}  // namespace nearfield::core
