#include "ffi_call.h"

#include <algorithm>

namespace nearfield::jax {
namespace {

namespace ffi = xla::ffi;

constexpr const char* kNames[kOperandCount] = {
    "query", "key",       "value", "additional_keys", "additional_values", "key_mask", "key_weights", "bias",
    "out",   "logsumexp", "dout",  "dlogsumexp",      "weights",           "dweights"};

template <class T>
T attribute(const ffi::Dictionary& attributes, const char* name) {
  auto value = attributes.get<T>(name);
  if (!value.has_value()) throw BadCall(std::string(name) + ": " + value.error().message());
  return *value;
}

int32_t small(const ffi::Dictionary& attributes, const char* name) {
  const int64_t value = attribute<int64_t>(attributes, name);
  if (value != static_cast<int32_t>(value)) {
    throw BadCall(std::string(name) + "=" + std::to_string(value) + ": must fit in 32 bits");
  }
  return static_cast<int32_t>(value);
}

int32_t dtype_of(ffi::DataType type, const char* name) {
  switch (type) {
    case ffi::DataType::F64: return NF_FLOAT64;
    case ffi::DataType::F32: return NF_FLOAT32;
    case ffi::DataType::BF16: return NF_BFLOAT16;
    case ffi::DataType::F16: return NF_FLOAT16;
    case ffi::DataType::PRED: return NF_BOOL;
    default: throw BadCall(std::string(name) + ".dtype: must be float64, float32, bfloat16, float16 or bool");
  }
}

// The indices of the set bits, which have to be as many as there are buffers.
std::vector<std::size_t> members(int64_t bits, std::size_t limit, std::size_t buffers, const char* name) {
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < limit; ++i) {
    if (bits >> i & 1) result.push_back(i);
  }
  if (bits < 0 || bits >> limit != 0 || result.size() != buffers) {
    throw BadCall(std::string(name) + "=" + std::to_string(bits) + ": must have one bit, below bit " +
                  std::to_string(limit) + ", for each of " + std::to_string(buffers) + " buffers");
  }
  return result;
}

}  // namespace

Call::Call(const ffi::RemainingArgs& args, const ffi::RemainingRets& rets, const ffi::Dictionary& attributes,
           const std::vector<std::size_t>& result_roles) {
  read_attributes(attributes);
  const auto given = members(attribute<int64_t>(attributes, "operands"), kOperandCount, args.size(), "operands");
  const auto wanted = members(attribute<int64_t>(attributes, "results"), result_roles.size(), rets.size(), "results");
  if (given.empty() || (given[0] != kQuery && given[0] != kValue)) throw BadCall("query: must be given");
  if (wanted.empty()) throw BadCall("results=0: must have at least one bit");
  read_leading_axes(*args.get<ffi::AnyBuffer>(0), **rets.get<ffi::AnyBuffer>(0));
  for (std::size_t i = 0; i < given.size(); ++i) add(given[i], *args.get<ffi::AnyBuffer>(i), given[i]);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    add(kOperandCount + wanted[i], **rets.get<ffi::AnyBuffer>(i), result_roles[wanted[i]]);
  }
  fold_leading_axes();
  modifiers_.struct_size = sizeof modifiers_;
  modifiers_.additional_keys = operand(kAdditionalKeys);
  modifiers_.additional_values = operand(kAdditionalValues);
  modifiers_.key_mask = operand(kKeyMask);
  modifiers_.key_weights = operand(kKeyWeights);
  modifiers_.bias = operand(kBias);
}

void Call::read_attributes(const ffi::Dictionary& attributes) {
  const auto words = attribute<ffi::Span<const int64_t>>(attributes, "pattern");
  pattern_.assign(words.begin(), words.end());
  // The library trusts struct_size and reads that far.
  if (pattern_.size() * sizeof(int64_t) < sizeof(nf_pattern) ||
      pattern()->struct_size != pattern_.size() * sizeof(int64_t)) {
    throw BadCall("pattern: must be as many words as its struct_size says");
  }
  options_ = nf_default_options();
  options_.has_scale = attributes.contains("scale") ? 1 : 0;
  if (options_.has_scale != 0) options_.scale = attribute<double>(attributes, "scale");
  options_.engine = small(attributes, "engine");
  options_.isa = small(attributes, "isa");
  options_.kernel = small(attributes, "kernel");
  options_.num_threads = small(attributes, "num_threads");
  modifiers_.softcap = attribute<double>(attributes, "softcap");
}

// Results have the full leading axes: the first one tells their sizes.
void Call::read_leading_axes(const ffi::AnyBuffer& first, const ffi::AnyBuffer& result) {
  const auto rank = static_cast<int64_t>(first.dimensions().size());
  const int64_t leading = std::max<int64_t>(rank - pattern()->rank - 3, 0);
  const auto sizes = result.dimensions();
  if (sizes.size() < static_cast<std::size_t>(leading)) throw BadCall("results: must have query's leading axes");
  axes_.assign(sizes.begin(), sizes.begin() + leading);
}

// Puts the buffer into the slot; role: the operand that it is shaped like.
void Call::add(std::size_t slot, const ffi::AnyBuffer& buffer, std::size_t role) {
  const auto dimensions = buffer.dimensions();
  const std::size_t leading = axes_.size();
  if (dimensions.size() <= leading || dimensions.size() > leading + NF_MAX_DIMS) {
    throw BadCall(std::string(kNames[role]) + ".rank=" + std::to_string(dimensions.size()) + ": must be " +
                  std::to_string(leading + 1) + " to " + std::to_string(leading + NF_MAX_DIMS));
  }
  Operand& operand = tensors_[slot];
  operand.tensor.data = buffer.untyped_data();
  operand.tensor.dtype = dtype_of(buffer.element_type(), kNames[role]);
  operand.tensor.rank = static_cast<int32_t>(dimensions.size() - leading);
  operand.has_batch = role != kBias && !(role == kKeyWeights && operand.tensor.rank == pattern()->rank);
  operand.steps.resize(leading);
  int64_t stride = 1;  // the buffer exists, so no product overflows
  for (std::size_t axis = dimensions.size(); axis-- > 0;) {
    const int64_t size = dimensions[axis];
    if (axis >= leading) {
      operand.tensor.sizes[axis - leading] = size;
      operand.tensor.strides[axis - leading] = stride;
    } else if (size == axes_[axis] || (size == 1 && slot < kOperandCount)) {
      operand.steps[axis] = size == 1 ? 0 : stride;
    } else {
      throw BadCall(std::string(kNames[role]) + ".sizes[" + std::to_string(axis) + "]=" + std::to_string(size) +
                    ": must be " + std::to_string(axes_[axis]) + ", as in the results");
    }
    stride *= size;
  }
  present_[slot] = true;
}

void Call::fold_leading_axes() {
  std::vector<Operand*> operands;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    if (present_[slot]) operands.push_back(&tensors_[slot]);
  }
  axes_ = fold_into_batch(axes_, operands);
  for (std::size_t slot = 0; slot < kSlots; ++slot) selected_[slot] = tensors_[slot].tensor;
}

void Call::select(int64_t index) {
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    if (present_[slot]) selected_[slot].data = address_of(tensors_[slot], axes_, index);
  }
}

}  // namespace nearfield::jax
