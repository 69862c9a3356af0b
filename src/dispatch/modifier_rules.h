// Rules for modifiers and gradients that hold whatever their tensors' shapes. Errors as in validate.h.
#pragma once

#include "dispatch/tensor_rules.h"
#include "engine/problem.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

// The struct's size, softcap, and that additional keys and values come together.
void check_modifiers_head(const nf_modifiers& given);

// (heads, 2k-1 per axis): of bias and its gradient.
DimRules rules_of_bias(const Shape& shape, const Pattern& pattern);

// That there are gradients, and their struct's size.
void check_gradients_head(const nf_gradients* given);

// What is not there has no gradient. modifiers may be null.
void refuse_orphans(const nf_gradients& given, const nf_modifiers* modifiers);

}  // namespace nearfield::core
