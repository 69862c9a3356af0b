// out = sum_i w_i out_i, one row at a time: a part is a multiply-add over the channels.
#include "engine/merge/rows.h"

namespace nearfield::core {
namespace {

constexpr int64_t kBlock = 64;  // channels that are added up together

template <class Element>
void merge_row(const MergeProblem& problem, const ForwardOutputs& outputs, const merge::Place& place, int64_t head) {
  using Sum = typename Element::Sum;
  const int rank = problem.shape.rank;
  const int64_t channels = problem.shape.head_dim_v;
  const merge::Weights<Sum> weights(problem, place, head);
  std::byte* const out = place.row(outputs.out, rank, head);
  for (int64_t first = 0; first < channels; first += kBlock) {
    const int64_t count = std::min(kBlock, channels - first);
    Sum sums[kBlock] = {};
    for (int i = 0; i < problem.count; ++i) {
      if (!weights.lives[i]) continue;
      const Sum weight = weights.weight[i];
      const std::byte* const row = place.row(problem.parts[i].out, rank, head) + first * Element::kSize;
      for (int64_t c = 0; c < count; ++c) sums[c] += weight * Element::load(row + c * Element::kSize);
    }
    for (int64_t c = 0; c < count; ++c) Element::store(out + (first + c) * Element::kSize, sums[c]);
  }
  if (outputs.logsumexp)
    merge::AccumulatorOf<Sum>::Element::store(place.row(outputs.logsumexp, rank, head), weights.logsumexp);
}

}  // namespace

void merge_forward(const MergeProblem& problem, const ForwardOutputs& outputs) {
  merge::with_element(outputs.out.dtype, [&]<class Element>(Element) {
    merge::for_each_row(
        problem, [&](const merge::Place& place, int64_t head) { merge_row<Element>(problem, outputs, place, head); });
  });
}

}  // namespace nearfield::core
