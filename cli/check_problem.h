// A problem of the library's inside, handed in through its public face: what `check` and the property tests run.
#pragma once

#include <string>
#include <vector>

#include "engine/problem.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {

// How to run it.
struct CheckSetting {
  nf_isa isa = NF_ISA_AUTO;
  nf_kernel kernel = NF_KERNEL_AUTO;
  int32_t threads = 1;
  nf_engine engine = NF_ENGINE_CPU;  // not the reference: checking it against itself proves nothing
};
// Every instruction set that this machine has; portable16, a model for tests, is none of them.
std::vector<nf_isa> available_isas();
std::string describe(const CheckSetting& setting);  // "--isa avx2 --kernel band --threads 2"

// The library's inner structs as its public ones.
nf_tensor public_tensor(const core::TensorView& view);

// What the library said.
struct CallOutcome {
  nf_status status = NF_OK;
  std::string message;  // empty if NF_OK
};

// nf_forward with the problem's own tensors, pattern, modifiers and scale.
CallOutcome run_forward(const core::Problem& problem, const core::ForwardOutputs& outputs, const CheckSetting& setting);
// nf_backward, likewise.
CallOutcome run_backward(const core::Problem& problem, const core::BackwardInputs& inputs,
                         const core::Gradients& gradients, const CheckSetting& setting);

}  // namespace nearfield::cli
