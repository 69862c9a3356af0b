// The C++ face of unfused.h, which has the shapes and rules. Include nearfield.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nearfield/nearfield.hpp"

namespace nearfield {

// Where the gradients go; an absent one is not computed.
struct QkGradients {
  std::optional<Tensor> query = {}, key = {}, additional_keys = {}, bias = {};
};
struct AvGradients {
  std::optional<Tensor> weights = {}, value = {}, additional_values = {};
};

// Slots of each axis of `grid`: weights have their product, and then the additional keys, as last dimension. See
// nf_weight_slots.
inline std::vector<int64_t> weight_slots(const nf_pattern* pattern, ListOf<int64_t> grid) {
  detail::axes_of(pattern, grid, "grid");
  std::vector<int64_t> slots(grid.size());
  detail::check(nf_weight_slots(pattern, grid.data(), slots.data()));
  return slots;
}

// weights = scale * query.key + bias. See nf_qk.
inline void qk(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& weights,
               const Options& options = {}, const Modifiers& modifiers = {}) {
  const nf_modifiers m = detail::lower(modifiers);
  detail::check(nf_qk(pattern, &query, &key, &m, &options, &weights));
}
inline void qk_backward(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& dweights,
                        const QkGradients& gradients, const Options& options = {}, const Modifiers& modifiers = {}) {
  const nf_modifiers m = detail::lower(modifiers);
  const nf_qk_gradients g = {sizeof(nf_qk_gradients), detail::pointer(gradients.query), detail::pointer(gradients.key),
                             detail::pointer(gradients.additional_keys), detail::pointer(gradients.bias)};
  detail::check(nf_qk_backward(pattern, &query, &key, &m, &options, &dweights, &g));
}

// out = sum of weights * value over the windows. See nf_av.
inline void av(const nf_pattern* pattern, const Tensor& weights, const Tensor& value, const Tensor& out,
               const Options& options = {}, const Modifiers& modifiers = {}) {
  const nf_modifiers m = detail::lower(modifiers);
  detail::check(nf_av(pattern, &weights, &value, &m, &options, &out));
}
inline void av_backward(const nf_pattern* pattern, const Tensor& weights, const Tensor& value, const Tensor& dout,
                        const AvGradients& gradients, const Options& options = {}, const Modifiers& modifiers = {}) {
  const nf_modifiers m = detail::lower(modifiers);
  const nf_av_gradients g = {sizeof(nf_av_gradients), detail::pointer(gradients.weights),
                             detail::pointer(gradients.value), detail::pointer(gradients.additional_values)};
  detail::check(nf_av_backward(pattern, &weights, &value, &m, &options, &dout, &g));
}

// forward() that leaves its attention weights, too. See nf_forward_weights.
inline void forward_weights(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& value,
                            const Tensor& out, const Tensor& weights, const std::optional<Tensor>& logsumexp = {},
                            const Options& options = {}, const Modifiers& modifiers = {}) {
  const nf_modifiers m = detail::lower(modifiers);
  detail::check(
      nf_forward_weights(pattern, &query, &key, &value, &m, &options, &out, detail::pointer(logsumexp), &weights));
}

}  // namespace nearfield
