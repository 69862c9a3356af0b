#include "dispatch/ragged.h"

#include <algorithm>
#include <numeric>
#include <variant>
#include <vector>

#include "base/checked.h"
#include "dispatch/pattern_rules.h"

namespace nearfield::core {
namespace {

// ---- one piece -----------------------------------------------------------------------------------------------------

// (tokens, tail...) as the piece's (1, *grid, tail...). Strides as validate.h has them.
TensorView grid_view(const TensorView& packed, int64_t first_token, const Shape& shape) {
  TensorView view = packed;
  view.rank = packed.rank + shape.rank;
  view.sizes[0] = 1;
  view.strides[0] = 0;
  for (int d = 1; d < packed.rank; ++d) {
    view.sizes[shape.rank + d] = packed.sizes[d];
    view.strides[shape.rank + d] = packed.strides[d];
  }
  std::copy_n(shape.grid, shape.rank, view.sizes + 1);
  if (!packed || shape.tokens() == 0) {
    view.data = nullptr;
    return view;
  }
  view.data = packed.at(first_token * packed.strides[0]);
  int64_t stride = packed.strides[0];  // times tokens of the piece at most: validation has checked that extent
  for (int a = shape.rank; a > 0; stride *= view.sizes[a--]) view.strides[a] = view.sizes[a] > 1 ? stride : 0;
  return view;
}

// (count, tail...) as the piece's (1, tail...).
TensorView own_view(TensorView view, int64_t piece) {
  if (!view) return view;
  view.data = view.at(piece * view.strides[0]);
  view.sizes[0] = 1;
  view.strides[0] = 0;
  return view;
}

// What a piece makes of packed tensors.
class RaggedPiece {
 public:
  RaggedPiece(const Ragged& ragged, int64_t index) : index_(index), first_token_(ragged.token_offsets[index]) {
    problem = ragged.packed;
    Shape& shape = problem.shape;
    shape.batch = 1;
    std::copy_n(ragged.grids + index * shape.rank, shape.rank, shape.grid);
    problem.pattern = validate_pattern(*ragged.pattern, shape);
    for (TensorView* view : {&problem.query, &problem.key, &problem.value}) *view = of_grid(*view);
    Modifiers& m = problem.modifiers;
    for (TensorView* view : {&m.key_mask, &m.key_weights}) *view = of_grid(*view);
    for (TensorView* view : {&m.additional_keys, &m.additional_values}) *view = own_view(*view, index);
  }

  Problem problem;

  ForwardOutputs of(const ForwardOutputs& packed) const { return {of_grid(packed.out), of_grid(packed.logsumexp)}; }
  BackwardInputs of(const BackwardInputs& packed) const {
    return {of_grid(packed.out), of_grid(packed.logsumexp), of_grid(packed.dout), of_grid(packed.dlogsumexp)};
  }
  // All but bias, which the pieces share.
  Gradients of(const Gradients& packed) const {
    return {.query = of_grid(packed.query),
            .key = of_grid(packed.key),
            .value = of_grid(packed.value),
            .additional_keys = own_view(packed.additional_keys, index_),
            .additional_values = own_view(packed.additional_values, index_),
            .key_weights = of_grid(packed.key_weights),
            .bias = {}};
  }

 private:
  TensorView of_grid(const TensorView& packed) const {
    return packed.rank == 0 ? packed : grid_view(packed, first_token_, problem.shape);  // rank 0: absent
  }

  int64_t index_, first_token_;
};

// ---- all pieces ----------------------------------------------------------------------------------------------------

// (query, key) pairs of a head, estimated by the window in the middle of each axis.
double pairs_of(const Problem& problem) {
  double pairs = static_cast<double>(problem.shape.tokens());
  for (int a = 0; a < problem.pattern.rank; ++a)
    pairs *= std::visit(
        [](const auto& axis) {
          const int64_t n = ceil_div(axis.keys, axis.dilation);
          return n == 0 ? 0.0 : static_cast<double>(axis.keys_of(n, n / 2).length);
        },
        problem.pattern.axes[a]);
  return pairs + static_cast<double>(problem.shape.tokens()) * static_cast<double>(problem.shape.additional);
}

// Calls body(index, piece) for the pieces [begin, end). A piece of more than half a thread's share of the work has all
// threads to itself; the smaller ones run side by side after it, each on one thread, the longest first.
template <class Body>
void for_pieces(const Ragged& ragged, int64_t begin, int64_t end, Body&& body) {
  const Threading& threading = ragged.packed.threading;
  std::vector<double> pairs(static_cast<size_t>(end - begin));
  for (int64_t i = begin; i < end; ++i)
    pairs[static_cast<size_t>(i - begin)] = pairs_of(RaggedPiece(ragged, i).problem);
  const double total = std::accumulate(pairs.begin(), pairs.end(), 0.0);
  std::vector<int64_t> small;
  for (int64_t i = begin; i < end; ++i) {
    if (pairs[static_cast<size_t>(i - begin)] * 2 * threading.num_threads > total) {
      body(i, RaggedPiece(ragged, i));
    } else {
      small.push_back(i);
    }
  }
  std::stable_sort(small.begin(), small.end(), [&](int64_t a, int64_t b) {
    return pairs[static_cast<size_t>(a - begin)] > pairs[static_cast<size_t>(b - begin)];
  });
  parallel_for(threading, static_cast<int64_t>(small.size()), [&](int64_t i) {
    RaggedPiece piece(ragged, small[static_cast<size_t>(i)]);
    piece.problem.threading = {};
    body(small[static_cast<size_t>(i)], piece);
  });
}

// ---- the bias gradient
// -----------------------------------------------------------------------------------------------

// Room for the bias gradients of a few pieces, in the accumulator's dtype, and their sum in float64. Pieces are added
// in their order, whatever the order in which they ran and however many fit.
class BiasSum {
 public:
  explicit BiasSum(const TensorView& target) : target_(target), dense_(target) {
    dense_.dtype = accumulator_of(target.dtype);
    for (int d = target.rank - 1; d >= 0; --d) {
      dense_.strides[d] = elements_;
      elements_ = checked_product(elements_, target.sizes[d], "gradients.bias");
    }
    bytes_ = checked_product(elements_, size_of(dense_.dtype), "gradients.bias");
    sum_.assign(static_cast<size_t>(elements_), 0.0);
  }

  // How many pieces may run before their gradients have to be added.
  int64_t room(int64_t pieces) const {
    constexpr int64_t kMostBytes = int64_t{1} << 26;
    return std::clamp<int64_t>(kMostBytes / std::max<int64_t>(1, bytes_), 1, std::max<int64_t>(1, pieces));
  }
  void reserve(int64_t pieces) {
    memory_.resize(static_cast<size_t>(checked_product(bytes_, pieces, "gradients.bias")));
  }
  TensorView place(int64_t slot) {
    TensorView view = dense_;
    view.data = memory_.data() + slot * bytes_;
    return view;
  }
  void add(int64_t slot) {
    const TensorView view = place(slot);
    for (int64_t e = 0; e < elements_; ++e) sum_[static_cast<size_t>(e)] += load_double(view.at(e), view.dtype);
  }
  void store() const {
    for (int64_t e = 0; e < elements_; ++e) {
      int64_t element = 0, rest = e;
      for (int d = target_.rank - 1; d >= 0; rest /= target_.sizes[d--])
        element += rest % target_.sizes[d] * target_.strides[d];
      store_double(target_.at(element), target_.dtype, sum_[static_cast<size_t>(e)]);
    }
  }

 private:
  TensorView target_, dense_;
  int64_t elements_ = 1, bytes_ = 0;
  std::vector<std::byte> memory_;
  std::vector<double> sum_;
};

}  // namespace

void dispatch_forward_ragged(const Ragged& ragged, const ForwardOutputs& outputs, const Request& request) {
  for_pieces(ragged, 0, ragged.count,
             [&](int64_t, const RaggedPiece& piece) { dispatch_forward(piece.problem, piece.of(outputs), request); });
}

void dispatch_backward_ragged(const Ragged& ragged, const BackwardInputs& inputs, const Gradients& gradients,
                              const Request& request) {
  if (!gradients.bias)
    return for_pieces(ragged, 0, ragged.count, [&](int64_t, const RaggedPiece& piece) {
      dispatch_backward(piece.problem, piece.of(inputs), piece.of(gradients), request);
    });
  BiasSum bias(gradients.bias);
  const int64_t room = bias.room(ragged.count);
  bias.reserve(room);
  for (int64_t begin = 0; begin < ragged.count; begin += room) {
    const int64_t end = std::min(begin + room, ragged.count);
    for_pieces(ragged, begin, end, [&](int64_t index, const RaggedPiece& piece) {
      Gradients own = piece.of(gradients);
      own.bias = bias.place(index - begin);
      dispatch_backward(piece.problem, piece.of(inputs), own, request);
    });
    for (int64_t i = begin; i < end; ++i) bias.add(i - begin);
  }
  bias.store();
}

}  // namespace nearfield::core
