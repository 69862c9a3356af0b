// Explicit weights by dense products: tiles of queries that follow the grid, each against its haloed box of keys with
// the fused engine's micro-kernels; what the tile's queries see of the product is scattered to their rows of weights,
// or gathered from them. It executes plans, the same as the fused engine's tile kernel has. (GEMM-based neighborhood
// attention of Hassani et al., "Faster Neighborhood Attention", 2024, section 3.) Its operators are kGemmOperators of
// engine/unfused/operators.h.
//
// What a query does not see meets 0 in a product, and 0 * NaN is no 0: where a tile's result or its queries are not
// finite, the tile is computed again, pair by pair.
#pragma once

#include <memory>

#include "engine/unfused/operators.h"
#include "plan/plan.h"

namespace nearfield::core {

// Keys of a step at most: what they score with a tile stays in the L1 cache, and most boxes of small windows are one.
inline constexpr int64_t kGemmStep = 120;

// The plan that products of this many channels run, chosen by the problem's shape and the instruction set alone.
std::shared_ptr<const Plan> gemm_plan(const Pattern& pattern, DType dtype, int64_t channels, Isa isa);
// How long one (batch, head) of such products takes, on one thread.
double gemm_seconds(const Plan& plan, DType dtype, int64_t channels, Isa isa);

// The same of the naive engine; the plan counts its pairs.
double naive_seconds(const Plan& plan, DType dtype, int64_t channels, Isa isa);
// Queries of a tile.
int64_t gemm_lanes(DType dtype, Isa isa);

// Whether tiles lose so many pairs to their halo that one query at a time is faster: what NF_ENGINE_AUTO asks.
bool naive_is_faster(const Pattern& pattern, DType dtype, Isa isa);

}  // namespace nearfield::core
