// A core pattern as the struct of the C ABI that gives it.
#pragma once

#include <variant>

#include "nearfield/nearfield.h"
#include "pattern/pattern.h"

namespace nearfield::core {

using PublicPattern = std::variant<nf_neighborhood, nf_window, nf_curve, nf_sphere>;

PublicPattern public_pattern(const Pattern& pattern);

// What functions take.
inline const nf_pattern* head_of(const PublicPattern& pattern) {
  return std::visit([](const auto& each) { return &each.pattern; }, pattern);
}

}  // namespace nearfield::core
