#include "engine/cpu/modifiers.h"

#include <cmath>

namespace nearfield::core {
int64_t element_of(const TensorView& tensor, int64_t first, int64_t index) {
  int64_t element = first * tensor.strides[0];
  for (int d = tensor.rank - 1; d >= 1; index /= tensor.sizes[d--])
    element += index % tensor.sizes[d] * tensor.strides[d];
  return element;
}

namespace {

Placement row_major(const Problem& problem) {
  int64_t strides[kMaxGridRank] = {}, stride = 1;
  for (int a = problem.shape.rank - 1; a >= 0; --a) {
    strides[a] = stride;
    stride *= problem.key.sizes[a + 1];
  }
  return Placement(problem.pattern, strides);
}

}  // namespace

template <class T>
SharedModifiers<T>::SharedModifiers(Arena& arena, const Problem& problem, bool wants_weights)
    : tokens(row_major(problem)) {
  const Modifiers& m = problem.modifiers;
  const Shape& shape = problem.shape;
  constexpr int64_t kOverrun = 16;  // kernels may read a vector beyond the end
  softcap = static_cast<T>(m.softcap * kLog2e);
  if (is_given(m.bias)) {
    bias_head = 1;
    for (int a = shape.rank - 1; a >= 0; --a) {
      bias_strides[a] = bias_head;
      bias_center[a] = m.bias.sizes[a + 1] / 2;
      bias_middle += bias_center[a] * bias_strides[a];
      bias_head *= m.bias.sizes[a + 1];
    }
    bias = arena.take<T>(shape.heads * bias_head + kOverrun);
    if (problem.pattern.order) cells = arena.take<int32_t>(shape.tokens());
  }
  if (problem.pattern.sphere) line_weights = arena.take<T>(problem.key.sizes[1]);
  if (has_key_weights(problem)) {
    const bool shared = !is_given(m.key_mask) && (!is_given(m.key_weights) || m.key_weights.strides[0] == 0);
    const int64_t keys = problem.key_tokens(), images = shared ? 1 : shape.batch;
    log_weights_batch = shared ? 0 : keys;
    log_weights = arena.take<T>(images * keys);
    if (wants_weights && is_given(m.key_weights)) weightless = arena.take<T>(images * keys);
  }
}

template <class T>
void SharedModifiers<T>::fill(const Problem& problem) {
  const Modifiers& m = problem.modifiers;
  const Shape& shape = problem.shape;
  if (bias != nullptr) {
    for (int64_t head = 0; head < shape.heads; ++head)
      for (int64_t i = 0; i < bias_head; ++i)
        bias[head * bias_head + i] =
            static_cast<T>(load_double(m.bias.at(element_of(m.bias, head, i)), m.bias.dtype) * kLog2e);
    std::fill_n(bias + shape.heads * bias_head, 16, T{0});
    if (cells != nullptr) fill_cells(*problem.pattern.order);
  }
  for (int64_t i = 0; line_weights != nullptr && i < problem.key.sizes[1]; ++i)
    line_weights[i] = static_cast<T>(problem.pattern.sphere->log_weights[static_cast<size_t>(i)] * kLog2e);
  if (log_weights == nullptr) return;
  bool any_weightless = false;
  const int64_t images = log_weights_batch == 0 ? 1 : shape.batch;
  for (int64_t batch = 0; batch < images; ++batch) {
    for (int64_t i = 0; i < problem.key_tokens(); ++i) {
      const int64_t at = batch * log_weights_batch + i;
      log_weights[at] = 0;
      if (weightless != nullptr) weightless[at] = 0;
      if (m.key_mask && *m.key_mask.at(element_of(m.key_mask, batch, i)) == std::byte{0}) {
        log_weights[at] = kMaskedScore<T>;
      } else if (m.key_weights) {
        const double weight = load_double(m.key_weights.at(element_of(m.key_weights, batch, i)), m.key_weights.dtype);
        const bool is_zero = weight == 0;
        any_weightless |= is_zero;
        if (is_zero && weightless != nullptr) {
          weightless[at] = 1;
        } else {
          log_weights[at] = is_zero ? kMaskedScore<T> : static_cast<T>(std::log2(weight));
        }
      }
    }
  }
  if (line_weights != nullptr) add_latitudes(problem);
  if (!any_weightless) weightless = nullptr;
}

// The quadrature's weight of each key's latitude.
template <class T>
void SharedModifiers<T>::add_latitudes(const Problem& problem) {
  const int64_t nlat = problem.key.sizes[1], nlon = problem.key.sizes[2];
  const int64_t images = log_weights_batch == 0 ? 1 : problem.shape.batch;
  for (int64_t row = 0; row < images * nlat; ++row)
    for (int64_t at = row * nlon; at < (row + 1) * nlon; ++at)
      if (log_weights[at] != kMaskedScore<T>) log_weights[at] += line_weights[row % nlat];
}

template <class T>
void SharedModifiers<T>::fill_cells(const TokenOrder& order) {
  for (int64_t position = 0; position < order.size(); ++position) {
    int64_t coordinates[kMaxGridRank], cell = 0;
    order.coordinates_of(order.token_at(position), coordinates);
    for (int a = 0; a < kMaxGridRank; ++a) cell += coordinates[a] * bias_strides[a];
    cells[position] = static_cast<int32_t>(cell);
  }
}

template struct SharedModifiers<float>;
template struct SharedModifiers<double>;

}  // namespace nearfield::core
