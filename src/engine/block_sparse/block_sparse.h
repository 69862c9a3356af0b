// Block-sparse attention, as the kernels for masks of any kind do it: tokens in a row in blocks of 128 x 128; blocks
// that hold no seen pair are skipped, full ones run without a mask, the others with a mask held as data. It stands for
// those kernels in comparisons (`nearfield bench --suite hilbert`) and has the fused engine's micro-kernels, so that
// what differs is what is executed. Forward only, without modifiers.
//
// As such kernels stream them: a block of 128 queries stays, and each of its key blocks is read once for all. The row
// is row-major for a pattern on a grid's axes. Along an order keys and values of one (batch, key/value head) are
// gathered into the order first, in the workspace, and that counts as the engine's time: users of such kernels permute
// their tensors. Queries and out are looked up as they are loaded and stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/cpu/cpu.h"
#include "engine/problem.h"
#include "plan/block_map.h"

namespace nearfield::core {

inline constexpr int64_t kSparseBlock = 128;

struct BlockSparseChoice {
  Isa isa = Isa::portable;
  std::shared_ptr<const BlockMap> map;
  PlanStatistics executed;  // of one (batch, head); tiles are blocks of queries, steps blocks of keys
  double predicted_seconds = 0;
  int32_t slots = 1;
  size_t workspace_shared = 0;    // along an order: gathered keys and values of one (batch, key/value head)
  size_t workspace_per_slot = 0;  // some 100 KB
  std::string reason;
  size_t workspace() const { return workspace_shared + workspace_per_slot * static_cast<size_t>(slots); }
};

// Errors: unsupported for a backward, a modifier, an instruction set that the machine lacks, and a block map that is
// too large (plan/block_map.h).
BlockSparseChoice block_sparse_choose(const Problem& problem, Isa isa, const GradientsWanted& wanted = {});

// workspace: choice.workspace() bytes, aligned to 64, or nullptr: allocated here.
void block_sparse_forward(const Problem& problem, const ForwardOutputs& outputs, const BlockSparseChoice& choice,
                          void* workspace);

}  // namespace nearfield::core
