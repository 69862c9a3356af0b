// The fused CPU engine: online or plain softmax, nothing of size tokens x window in memory. Two kernels execute plans:
//   band  exact windows, lanes over head_dim; key lines packed into a ring as a strip of queries walks the grid
//   tile  tiles of queries against boxes of keys, lanes over queries; masks only on partial steps
// One source over a small vector vocabulary (simd/), compiled once per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/problem.h"
#include "plan/plan.h"

namespace nearfield::core {

enum class Isa : int32_t { automatic = 0, portable = 1, avx2 = 2, avx512 = 3, neon = 4, portable16 = 5 };
enum class CpuKernel : int32_t { automatic = 0, band = 1, tile = 2 };

// One kernel's share of a problem. On the sphere kernels share the latitudes, since near the poles a query sees whole
// circles and elsewhere short arcs; otherwise one kernel has it all.
struct CpuPart {
  CpuKernel kernel = CpuKernel::tile;
  std::shared_ptr<const Plan> plan;
  int64_t first = 0, end = INT64_MAX;  // query latitudes; elsewhere all there is
  int64_t heads_together = 1;          // key/value heads that one task of the band kernel takes
  Interval first_rows = {0, 0};        // of keys: a backward of this part is the first to write their gradients
};

// What will run: chosen from one problem's shape, pattern, dtype and instruction set, never from the number of
// threads, the batch or timing, so that results are the same bits for any of these.
struct CpuChoice {
  Isa isa = Isa::portable;
  CpuKernel kernel = CpuKernel::tile;  // of most of the work
  TileShape tile;                      // there
  std::vector<CpuPart> parts;          // which run one after another
  double predicted_seconds = 0;        // whole problem, on problem.threading.num_threads threads
  GradientsWanted wanted;              // of a backward; none: a forward
  size_t workspace_shared = 0;         // bytes, once
  size_t workspace_per_slot = 0;       // bytes, for one of the slots that run in parallel
  int32_t slots = 1;                   // at most problem.threading.num_threads
  bool adds_in_turn = false;           // the tile kernel's backward: one task of a head at a time
  PlanStatistics executed;             // of one (batch, head), as the chosen kernels execute it
  std::string reason;
  size_t workspace() const { return workspace_shared + workspace_per_slot * static_cast<size_t>(slots); }
};

// isa and kernel may be `automatic`. Throws Error if the machine lacks the instruction set asked for or the kernel
// can't run the problem.
// wanted: of a backward; none of a forward.
CpuChoice cpu_choose(const Problem& problem, Isa isa, CpuKernel kernel, const GradientsWanted& wanted = {});

// workspace: choice.workspace() bytes, aligned to 64, or nullptr: allocated here.
void cpu_forward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, void* workspace);
// Of a choice with these gradients wanted.
void cpu_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                  const CpuChoice& choice, void* workspace);

// ---- instruction sets --------------------------------------------------------------------------------------------

const char* isa_name(Isa isa);         // nullptr if there is no such one
std::string isa_values();              // "0 (auto), 1 (portable), ... or 5 (...)"
const char* isa_unavailable(Isa isa);  // nullptr if it can run here
// The best that this machine has, or what NEARFIELD_ISA names (an Error if that is unknown or unavailable).
Isa select_isa();
const char* cpu_model();
// GFLOP/s of independent register multiply-adds on the calling thread, measured for about `seconds`.
double measure_peak(Isa isa, DType dtype, double seconds);

}  // namespace nearfield::core
