// Which engine runs a problem, and why. Faces come here with a validated problem; nothing else calls an engine.
//
// `auto` takes the fastest engine and never a slow one: a user who wants to wait a thousand times longer asks for it
// by name.
// A problem without queries (batch or a grid axis is 0) succeeds without an engine.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/cpu/cpu.h"
#include "engine/problem.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

enum class EngineId : int32_t { automatic = 0, reference = 1, cpu = 2, block_sparse = 3, naive = 4, gemm = 5 };

// What a caller asks of dispatch beyond the problem itself.
struct Request {
  EngineId engine = EngineId::automatic;
  Isa isa = Isa::automatic;                 // the reference engine has no use for it
  CpuKernel kernel = CpuKernel::automatic;  // of the CPU engine
  void* workspace = nullptr;                // any alignment; nullptr: the engine allocates
  size_t workspace_size = 0;                // bytes
};

// Of options that validation has accepted; nullptr gives the defaults.
Request request_of(const nf_options* options);

// Each throws Error: unsupported where the machine lacks an instruction set or a kernel that is asked for can't do it.
void dispatch_forward(const Problem& problem, const ForwardOutputs& outputs, const Request& request);
void dispatch_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                       const Request& request);
// Bytes that make request.workspace large enough at any alignment; 0 where the engine needs none. wanted: of a
// backward; none of a forward.
size_t dispatch_workspace(const Problem& problem, const Request& request, const GradientsWanted& wanted);
// What dispatch_forward or dispatch_backward would run. Element pointers are not followed.
nf_explanation dispatch_explain(const Problem& problem, const Request& request, const GradientsWanted& wanted);

const char* engine_name(EngineId engine);         // nullptr if there is no such one
const char* engine_unavailable(EngineId engine);  // nullptr if it can run on this machine
const char* kernel_name(CpuKernel kernel);        // nullptr if there is no such one

}  // namespace nearfield::core
