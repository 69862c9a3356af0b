// dout_i = w_i dout and dlse_i = w_i (dout.out_i - sum_j w_j dout.out_j + dlse), one row at a time. The sum over j is
// dout.out without the rounding that the stored out has been through.
#include "engine/merge/rows.h"

namespace nearfield::core {
namespace {

// In a fixed number of partial sums, which the compiler may keep in vector registers: the order of additions depends on
// nothing but the number of channels.
template <class Element>
typename Element::Sum dot(const std::byte* a, const std::byte* b, int64_t channels) {
  using Sum = typename Element::Sum;
  const auto product = [=](int64_t c) {
    return Element::load(a + c * Element::kSize) * Element::load(b + c * Element::kSize);
  };
  constexpr int64_t kLanes = 16;
  Sum lanes[kLanes] = {}, rest = 0;
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += product(c + lane);
  for (; c < channels; ++c) rest += product(c);
  for (int64_t width = kLanes / 2; width > 0; width /= 2)
    for (int64_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  return lanes[0] + rest;
}

template <class Element>
class Row {
 public:
  using Sum = typename Element::Sum;
  using Accumulator = typename merge::AccumulatorOf<Sum>::Element;

  Row(const MergeProblem& problem, const merge::Place& place, int64_t head, const TensorView& dout)
      : problem_(problem), place_(place), head_(head), weights_(problem, place, head), dout_(at(dout)) {}

  void backward_out(const MergePart* gradients) const {
    for (int i = 0; i < problem_.count; ++i) {
      if (!gradients[i].out) continue;
      std::byte* const row = at(gradients[i].out);
      const Sum weight = weights_.weight[i];
      // A part without keys gets 0 whatever dout is, NaN included.
      for (int64_t c = 0; c < channels(); ++c)
        Element::store(row + c * Element::kSize,
                       weights_.lives[i] ? weight * Element::load(dout_ + c * Element::kSize) : Sum{0});
    }
  }

  void backward_logsumexp(const MergePart* gradients, const TensorView& dlogsumexp) const {
    Sum products[kMaxMergeParts] = {}, mean = 0;  // dout.out_i; dout.out
    for (int i = 0; i < problem_.count; ++i) {
      if (!weights_.lives[i]) continue;
      products[i] = dot<Element>(dout_, at(problem_.parts[i].out), channels());
      mean += weights_.weight[i] * products[i];
    }
    const Sum incoming = dlogsumexp ? Accumulator::load(at(dlogsumexp)) : Sum{0};
    for (int i = 0; i < problem_.count; ++i) {
      if (!gradients[i].logsumexp) continue;
      const Sum gradient = weights_.lives[i] ? weights_.weight[i] * (products[i] - mean + incoming) : Sum{0};
      Accumulator::store(at(gradients[i].logsumexp), gradient);
    }
  }

 private:
  int64_t channels() const { return problem_.shape.head_dim_v; }
  std::byte* at(const TensorView& tensor) const { return place_.row(tensor, problem_.shape.rank, head_); }

  const MergeProblem& problem_;
  const merge::Place& place_;
  const int64_t head_;
  const merge::Weights<Sum> weights_;
  const std::byte* const dout_;
};

}  // namespace

void merge_backward(const MergeProblem& problem, const MergePart& derivatives, const MergePart* gradients) {
  const bool wants_logsumexp = std::any_of(gradients, gradients + problem.count,
                                           [](const MergePart& g) { return static_cast<bool>(g.logsumexp); });
  merge::with_element(derivatives.out.dtype, [&]<class Element>(Element) {
    merge::for_each_row(problem, [&](const merge::Place& place, int64_t head) {
      const Row<Element> row(problem, place, head, derivatives.out);
      row.backward_out(gradients);
      if (wants_logsumexp) row.backward_logsumexp(gradients, derivatives.logsumexp);
    });
  });
}

}  // namespace nearfield::core
