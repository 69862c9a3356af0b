// The oracle for single rows of problems so large that the whole reference would take hours: float64 and literal as
// the rest of this engine, one query or one key at a time.
//
// Tokens are numbered row-major on the grid.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/problem.h"
#include "engine/reference/row.h"

namespace nearfield::core {

// Every query of the grid whose window holds the key: asked one by one, not by the closed-form inverse.
std::vector<GridIndex> queries_that_see(const Problem& problem, const GridIndex& key);

struct ForwardRow {
  std::vector<double> out;  // [head_dim_v]
  double logsumexp = 0;
};
ForwardRow reference_forward_row(const Problem& problem, int64_t batch, int64_t head, int64_t query_token);

// dquery [head_dim] of one query, from dout and dlogsumexp; out and logsumexp are recomputed as in
// reference_backward.
std::vector<double> reference_dquery_row(const Problem& problem, const BackwardInputs& inputs, int64_t batch,
                                         int64_t head, int64_t query_token);

// dkey and dvalue of one key, summed over the queries that see it and the heads of its group. Here inputs.out and
// inputs.logsumexp are read as the forward stored them: recomputing them for every such query would cost window^2.
// Error if there is any modifier but softcap.
struct KeyGradientRow {
  std::vector<double> dkey;    // [head_dim]
  std::vector<double> dvalue;  // [head_dim_v]
};
KeyGradientRow reference_key_gradient_row(const Problem& problem, const BackwardInputs& inputs, int64_t batch,
                                          int64_t kv_head, int64_t key_token);

}  // namespace nearfield::core
