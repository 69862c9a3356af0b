// One call of a handler as XLA hands it over: buffers in an agreed order, and attributes.
//
// Attributes (int64 unless said otherwise):
//   pattern       array: the words of the pattern's C struct
//   operands      bit i: operand i of the list below is there; the buffers follow in this order
//   results       the same of the handler's own list of results
//   scale         float64; absent: 1/sqrt(head_dim)
//   softcap       float64
//   engine, isa, kernel, num_threads: those of nf_options
// Buffers are dense and row-major. All have the same number of leading axes before those nearfield knows
// (leading_axes.h), as the rank of the first operand tells: query, or value where there is none.
#pragma once

#include <nearfield/nearfield.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "leading_axes.h"
#include "xla/ffi/api/ffi.h"

namespace nearfield::jax {

// Operands: the first eight in a forward pass, all but the last two in a backward pass. Unfused operators take what
// they are made of.
enum Operands : std::size_t {
  kQuery,
  kKey,
  kValue,
  kAdditionalKeys,
  kAdditionalValues,
  kKeyMask,
  kKeyWeights,
  kBias,
  kForwardOut,
  kForwardLogsumexp,
  kDout,
  kDlogsumexp,
  kWeights,
  kDweights
};
inline constexpr std::size_t kOperandCount = kDweights + 1;

// Results of a forward pass, the last one where weights are explicit.
enum ForwardResults : std::size_t { kOut, kLogsumexp, kWeightsResult };

// Results of a backward pass, the gradients in the order of nf_gradients.
enum Gradients : std::size_t {
  kQueryGradient,
  kKeyGradient,
  kValueGradient,
  kAdditionalKeysGradient,
  kAdditionalValuesGradient,
  kKeyWeightsGradient,
  kBiasGradient
};
inline constexpr std::size_t kGradientCount = kBiasGradient + 1;

// Results of the backward passes of the unfused operators, in the order of nf_qk_gradients and nf_av_gradients.
enum QkGradients : std::size_t { kQkQueryGradient, kQkKeyGradient, kQkAdditionalKeysGradient, kQkBiasGradient };
enum AvGradients : std::size_t { kAvWeightsGradient, kAvValueGradient, kAvAdditionalValuesGradient };

// A call that does not look as this file says. Python never makes one.
class BadCall : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Call {
 public:
  // result_roles: for each result of the handler the operand that it is shaped like (for kOut, kLogsumexp and weights
  // those of a backward pass). Throws BadCall.
  Call(const xla::ffi::RemainingArgs& args, const xla::ffi::RemainingRets& rets, const xla::ffi::Dictionary& attributes,
       const std::vector<std::size_t>& result_roles);

  // Points every tensor at attention number `index` of count().
  void select(int64_t index);
  int64_t count() const { return count_of(axes_); }

  const nf_pattern* pattern() const { return reinterpret_cast<const nf_pattern*>(pattern_.data()); }
  const nf_modifiers* modifiers() const { return &modifiers_; }
  const nf_options* options() const { return &options_; }
  // NULL where the call has none.
  const nf_tensor* operand(std::size_t which) const { return present_[which] ? &selected_[which] : nullptr; }
  const nf_tensor* result(std::size_t which) const { return operand(kOperandCount + which); }

 private:
  void read_attributes(const xla::ffi::Dictionary& attributes);
  void read_leading_axes(const xla::ffi::AnyBuffer& first, const xla::ffi::AnyBuffer& result);
  void add(std::size_t slot, const xla::ffi::AnyBuffer& buffer, std::size_t role);
  void fold_leading_axes();

  // A slot for each operand, then one for each result.
  static constexpr std::size_t kSlots = kOperandCount + kGradientCount;
  std::vector<int64_t> pattern_;
  nf_options options_{};
  nf_modifiers modifiers_{};
  std::array<bool, kSlots> present_{};
  std::array<Operand, kSlots> tensors_{};
  std::array<nf_tensor, kSlots> selected_{};  // those of the selected attention
  std::vector<int64_t> axes_;                 // sizes of the leading axes, then of those that are no part of the batch
};

}  // namespace nearfield::jax
