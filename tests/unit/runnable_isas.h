// The instruction sets that tests run: all that the machine has, and portable16, which is wider than most.
#pragma once

#include <vector>

#include "nearfield/nearfield.h"

namespace nearfield::test {

inline std::vector<nf_isa> runnable_isas() {
  std::vector<nf_isa> isas;
  for (int32_t isa = NF_ISA_PORTABLE; nf_isa_name(isa) != nullptr; ++isa)
    if (nf_isa_unavailable(isa) == nullptr) isas.push_back(static_cast<nf_isa>(isa));
  return isas;
}

}  // namespace nearfield::test
