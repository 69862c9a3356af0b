// Attention a second time, from the definitions as sets, to test the reference engine against: dense loops over all
// (query, key) pairs in long double, each asked "does this query see this key?". It shares no code with the library's
// pattern/ and engines; gradients come from a tape of elementary operations, not from the backward's formulas.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/problem.h"

namespace nearfield::test {

// For each token of the axis: in-class key - query (the bias offset) if token i sees it, else nothing.
std::vector<std::optional<int64_t>> seen_from(const core::NeighborhoodAxis& axis, int64_t i);
std::vector<std::optional<int64_t>> seen_from(const core::RunsAxis& axis, int64_t i);

// All tensors of a problem, dense and row-major in their shapes, the batch of key_weights included.
template <class Real>
struct Tensors {
  std::vector<Real> query, key, value, additional_keys, additional_values, key_weights, bias;
  std::vector<std::vector<Real>*> list() {
    return {&query, &key, &value, &additional_keys, &additional_values, &key_weights, &bias};
  }
};
using Numbers = Tensors<long double>;

Numbers load_numbers(const core::Problem& problem);

struct BruteForward {
  std::vector<long double> out, logsumexp;
};
BruteForward brute_forward(const core::Problem& problem, const Numbers& numbers);

// sum dout.out + dlogsumexp logsumexp, over queries that see a key of weight other than 0.
long double brute_loss(const core::Problem& problem, const core::BackwardInputs& inputs, const Numbers& numbers);
// Its derivatives by reverse-mode differentiation.
Numbers brute_gradients(const core::Problem& problem, const core::BackwardInputs& inputs, const Numbers& numbers);

}  // namespace nearfield::test
