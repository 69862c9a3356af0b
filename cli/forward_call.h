// One forward call with everything it needs, and its division into calls that do a part each.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nearfield/nearfield.hpp"
#include "pattern_arguments.h"

namespace nearfield::cli {

struct ForwardCall {
  AnyPattern pattern;
  Tensor query, key, value, out;  // heads-last views
  std::optional<Tensor> logsumexp;
  Options options;
  Modifiers modifiers;

  void run() const;
  nf_explanation explain() const;
};

// Multiplications and additions of the products with keys and values, without what tiles waste.
double useful_flops(const ForwardCall& call, const nf_explanation& explanation);

// At most `parts` calls that together are `call`, in order: ranges of the batch, or of key/value heads with their
// query heads where the batch is shorter. Results are the same, bit for bit: no problem's plan depends on the number
// of others beside it.
std::vector<ForwardCall> split(const ForwardCall& call, int64_t parts);

}  // namespace nearfield::cli
