// The oracle for single rows of large problems, where the whole reference would take hours: float64, literal, one
// query (or, for dkey and dvalue, one key) at a time. Modifiers other than softcap are not supported: an Error.
//
//   out_i    = sum_j p_ij v_j,  p_ij = exp(logit_ij - logsumexp_i),  logit_ij = scale * q_i.k_j, softcapped
//   dquery_i = scale * sum_j u_ij k_j      u_ij = p_ij (dout_i.v_j - D_i) (1 - (logit_ij / softcap)^2)
//   dkey_j   = scale * sum_i u_ij q_i      D_i  = dout_i.out_i - dlogsumexp_i
//   dvalue_j = sum_i p_ij dout_i
// The sums for a key run over every query of the grid that sees it and every head of its group.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/problem.h"

namespace nearfield::core {

// Tokens are row-major positions on the grid.
struct ForwardRow {
  std::vector<double> out;  // [head_dim_v]
  double logsumexp = 0;
};
ForwardRow reference_forward_row(const Problem& problem, int64_t batch, int64_t head, int64_t query_token);

// dquery [head_dim] from the forward's own out and logsumexp, as an engine's backward gets them.
std::vector<double> reference_dquery_row(const Problem& problem, const BackwardInputs& inputs, int64_t batch,
                                         int64_t head, int64_t query_token);

struct KeyGradientRow {
  std::vector<double> dkey;    // [head_dim]
  std::vector<double> dvalue;  // [head_dim_v]
};
KeyGradientRow reference_key_gradient_row(const Problem& problem, const BackwardInputs& inputs, int64_t batch,
                                          int64_t kv_head, int64_t key_token);

}  // namespace nearfield::core
