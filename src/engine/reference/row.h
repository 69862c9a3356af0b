// One row of the attention matrix in float64: the keys that one query of one (batch, head) sees, their logits and
// softmax weights. Forward and backward both start here.
//
// Each seen key j of query i carries, with SEMANTICS' names,
//   score_ij  = softcap(scale * q_i.k_j) + bias_ij          softcap(x) = c * tanh(x / c), or x without one
//   P_ij      = w_j exp(score_ij) / sum over j of w_j exp(score_ij)
// Additional keys have bias 0 and weight 1. Masked keys are absent: their memory is never read.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/problem.h"

namespace nearfield::core {

using GridIndex = std::array<int64_t, kMaxGridRank>;

struct SeenKey {
  bool is_additional = false;
  GridIndex token{};   // on the grid; of an additional key, token[0] is its number
  GridIndex offset{};  // in-class key - query per axis, un-reduced across a seam; along an order of the grid's tokens
  double weight = 1;   // w_j; 0 takes no part in the softmax, but has a gradient of its own
  double log_density = 0;  // ln of the pattern's own weight of the key: on the sphere its share of the area
  double score = 0;
  double cap_slope = 1;               // d softcap(x) / dx = 1 - t_ij^2
  double probability = 0;             // P_ij
  double probability_per_weight = 0;  // P_ij / w_j, defined for w_j = 0 too
};

struct AttentionRow {
  std::vector<SeenKey> keys;
  double logsumexp = 0;  // -inf: the query sees no key
  bool is_empty = false;
};

// `query` holds head_dim values of query token `token`.
AttentionRow attention_row(const Problem& problem, int64_t batch, int64_t head, const GridIndex& token,
                           const std::vector<double>& query);

// Token number `index` of the grid, last axis fastest.
GridIndex token_at(const Shape& shape, int64_t index);
// The same on the grid of keys.
GridIndex key_at(const Problem& problem, int64_t index);

// Elements from `tensor`'s data to the first channel of a (batch, *grid, heads, channels) tensor's vector; also for
// (batch, *grid, heads) and, with head 0, for (batch, *grid).
int64_t grid_element(const TensorView& tensor, int grid_rank, int64_t batch, const GridIndex& token, int64_t head);
// The same for (batch, M, heads_kv, channels).
int64_t additional_element(const TensorView& tensor, int64_t batch, int64_t number, int64_t head);
// The same for bias (heads, 2k-1 per axis).
int64_t bias_element(const TensorView& bias, int grid_rank, int64_t head, const GridIndex& offset);

double dot(const std::vector<double>& a, const std::vector<double>& b);

// Fills `values` from `tensor`, along the last dimension, from `element` on.
void load_vector(const TensorView& tensor, int64_t element, std::vector<double>& values);

// The same for the key or value vector of a seen key: from the grid's tensor or the additional one.
void load_seen(const TensorView& grid, const TensorView& additional, int grid_rank, int64_t batch, int64_t head_kv,
               const SeenKey& key, std::vector<double>& values);

}  // namespace nearfield::core
