#include "dispatch/modifier_rules.h"

#include <cmath>

#include "base/error.h"
#include "pattern/curve.h"

namespace nearfield::core {
namespace {

void refuse_orphan(const char* name, const nf_tensor* gradient, const nf_tensor* tensor) {
  if (gradient != nullptr && tensor == nullptr)
    invalid_argument("gradients.", name, ": must be NULL where ", name, " is NULL");
}

}  // namespace

void check_modifiers_head(const nf_modifiers& given) {
  if (given.struct_size < sizeof(nf_modifiers))
    invalid_argument("modifiers.struct_size=", given.struct_size, ": must be at least ", sizeof(nf_modifiers));
  if (!(given.softcap >= 0 && std::isfinite(given.softcap)))
    invalid_argument("softcap=", given.softcap, ": must be finite and at least 0");
  if ((given.additional_keys == nullptr) != (given.additional_values == nullptr))
    invalid_argument(given.additional_keys == nullptr ? "additional_keys" : "additional_values",
                     ": must not be NULL: additional_keys and additional_values come together");
}

DimRules rules_of_bias(const Shape& shape, const Pattern& pattern) {
  constexpr const char* kOfNeighborhood[] = {"2*kernel_size[0]-1", "2*kernel_size[1]-1", "2*kernel_size[2]-1"};
  constexpr const char* kOfWindow[] = {"2*size[0]-1", "2*size[1]-1", "2*size[2]-1"};
  constexpr const char* kOfOrder[] = {"2*extents[0]-1 of nf_bias_extents", "2*extents[1]-1 of nf_bias_extents",
                                      "2*extents[2]-1 of nf_bias_extents"};
  const bool is_window = std::holds_alternative<RunsAxis>(pattern.axes[0]);
  const auto& because = pattern.order ? kOfOrder : is_window ? kOfWindow : kOfNeighborhood;
  int64_t extents[kMaxGridRank];
  bias_extents(pattern, extents);
  DimRules rules;
  rules.add(exactly("heads", shape.heads, kAsInQuery));
  for (int a = 0; a < shape.rank; ++a) rules.add(exactly(kAxisNames[a], 2 * extents[a] - 1, because[a]));
  return rules;
}

void check_gradients_head(const nf_gradients* given) {
  if (given == nullptr) invalid_argument("gradients: must not be NULL");
  if (given->struct_size < sizeof(nf_gradients))
    invalid_argument("gradients.struct_size=", given->struct_size, ": must be at least ", sizeof(nf_gradients));
}

void refuse_orphans(const nf_gradients& given, const nf_modifiers* modifiers) {
  const nf_modifiers m = modifiers != nullptr ? *modifiers : nf_modifiers{};
  refuse_orphan("additional_keys", given.additional_keys, m.additional_keys);
  refuse_orphan("additional_values", given.additional_values, m.additional_values);
  refuse_orphan("key_weights", given.key_weights, m.key_weights);
  refuse_orphan("bias", given.bias, m.bias);
}

}  // namespace nearfield::core
