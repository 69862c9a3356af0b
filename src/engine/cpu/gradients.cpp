#include "engine/cpu/gradients.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

namespace nearfield::core {
namespace {

// (batch, *grid, heads_kv, channels) in the grid's order, over memory at `data`.
TensorView dense_like(const Problem& problem, void* data, DType dtype, int64_t channels) {
  const Shape& shape = problem.shape;
  TensorView view;
  view.data = static_cast<std::byte*>(data);
  view.dtype = dtype;
  view.rank = shape.rank + 3;
  view.sizes[0] = shape.batch;
  for (int a = 0; a < shape.rank; ++a) view.sizes[a + 1] = problem.key.sizes[a + 1];
  view.sizes[shape.rank + 1] = shape.heads_kv;
  view.sizes[shape.rank + 2] = channels;
  int64_t stride = 1;
  for (int d = view.rank - 1; d >= 0; --d) {
    view.strides[d] = stride;
    stride *= view.sizes[d];
  }
  return view;
}

// Calls visit(element) for the first channel of every token and head of one image and one index of the first grid axis.
template <class Visit>
void for_each_row(const TensorView& tensor, int grid_rank, int64_t batch, int64_t outer, Visit visit) {
  int64_t sizes[3] = {1, 1, 1}, strides[3] = {};  // the rest of the grid, and heads
  for (int a = 1; a < grid_rank; ++a) {
    sizes[a - 1] = tensor.sizes[a + 1];
    strides[a - 1] = tensor.strides[a + 1];
  }
  sizes[2] = tensor.sizes[grid_rank + 1];
  strides[2] = tensor.strides[grid_rank + 1];
  const int64_t base = batch * tensor.strides[0] + outer * tensor.strides[1];
  for (int64_t y = 0; y < sizes[0]; ++y)
    for (int64_t x = 0; x < sizes[1]; ++x)
      for (int64_t h = 0; h < sizes[2]; ++h) visit(base + y * strides[0] + x * strides[1] + h * strides[2]);
}

// Runs body(batch, outer) for every image and index of the first grid axis.
template <class Body>
void for_each_slab(const Problem& problem, Body body) {
  const int64_t outer = problem.key.sizes[1];
  parallel_for(problem.threading, problem.shape.batch * outer, [&](int64_t i) { body(i / outer, i % outer); });
}

// Whether the part will store the sums of the keys at this index of the grid's first axis: on the sphere that is a row,
// elsewhere a part has all of them.
bool stores_first(const CpuPart& part, int64_t outer) {
  return part.first_rows.start <= outer && outer < part.first_rows.end();
}

template <class T>
void fill_zero(const Problem& problem, const TensorView& tensor, const std::vector<CpuPart>& parts) {
  const int64_t channels = tensor.sizes[problem.shape.rank + 2];
  for_each_slab(problem, [&](int64_t batch, int64_t outer) {
    for (const CpuPart& part : parts)
      if (stores_first(part, outer)) return;
    for_each_row(tensor, problem.shape.rank, batch, outer, [&](int64_t element) {
      std::memset(tensor.at(element), 0, static_cast<size_t>(channels) * sizeof(T));
    });
  });
}

// Of `from`, dense, to `to`: both visit their rows in the same order.
template <class T>
void round_rows(const Problem& problem, const TensorView& from, const TensorView& to, const KernelTable<T>& kernels) {
  const int rank = problem.shape.rank;
  const int64_t channels = from.sizes[rank + 2];
  const int64_t whole = channels / kernels.lanes * kernels.lanes;
  for_each_slab(problem, [&](int64_t batch, int64_t outer) {
    const auto* row = reinterpret_cast<const T*>(from.at(batch * from.strides[0] + outer * from.strides[1]));
    for_each_row(to, rank, batch, outer, [&](int64_t element) {
      // store_rows reads whole vectors: the last channels come from a padded copy.
      T tail[64] = {};
      std::copy(row + whole, row + channels, tail);
      const int64_t rest = element + whole;
      if (whole > 0) kernels.store_rows(row, whole, 1, whole, to.data, to.dtype, &element);
      if (whole < channels) kernels.store_rows(tail, kernels.lanes, 1, channels - whole, to.data, to.dtype, &rest);
      row += channels;
    });
  });
}

// dw_j = (sum over heads, and over images that share the weights, of dS_ij) / w_j
template <class T>
void store_weights(const Problem& problem, const TensorView& target, const T* sums) {
  const Shape& shape = problem.shape;
  const TensorView& weights = problem.modifiers.key_weights;
  const bool shared = target.strides[0] == 0;
  const int64_t tokens = problem.key_tokens();
  for (int64_t batch = 0; batch < (shared ? 1 : shape.batch); ++batch)
    for (int64_t token = 0; token < tokens; ++token) {
      double sum = 0;
      for (int64_t image = batch; image < (shared ? shape.batch : batch + 1); ++image)
        for (int64_t head = 0; head < shape.heads_kv; ++head)
          sum += static_cast<double>(sums[(image * shape.heads_kv + head) * tokens + token]);
      const double weight = load_double(weights.at(element_of(weights, batch, token)), weights.dtype);
      store_double(target.at(element_of(target, batch, token)), target.dtype, weight == 0 ? sum : sum / weight);
    }
}

// [first][rows] of `sums` to a tensor whose dimensions below the first are numbered row-major.
void store_sums(const TensorView& target, const double* sums) {
  int64_t inner = 1;
  for (int d = 1; d < target.rank; ++d) inner *= target.sizes[d];
  for (int64_t first = 0; first < target.sizes[0]; ++first)
    for (int64_t i = 0; i < inner; ++i)
      store_double(target.at(element_of(target, first, i)), target.dtype, sums[first * inner + i]);
}

// Sums are [batch][heads_kv][M][channels], the tensor is (batch, M, heads_kv, channels).
void store_additional(const TensorView& target, const double* sums) {
  TensorView by_head = target;
  std::swap(by_head.sizes[1], by_head.sizes[2]);
  std::swap(by_head.strides[1], by_head.strides[2]);
  store_sums(by_head, sums);
}

}  // namespace

void Turnstile::Turn::wait() const {
  while (turnstile_.next_.load(std::memory_order_acquire) != number_) std::this_thread::yield();
}

template <class T>
SharedGradients<T>::SharedGradients(Arena& arena, const Problem& problem, const GradientsWanted& wanted,
                                    int64_t bias_head) {
  const Shape& shape = problem.shape;
  const int64_t rows = shape.batch * problem.key_tokens() * shape.heads_kv;
  const int64_t more = shape.batch * shape.heads_kv * shape.additional;
  constexpr DType kDType = sizeof(T) == 8 ? DType::float64 : DType::float32;
  const bool direct = problem.query.dtype == kDType;
  const auto place = [&](bool is_wanted, int64_t channels) {
    if (!is_wanted) return TensorView{};
    return dense_like(problem, direct ? nullptr : arena.take<T>(rows * channels), kDType, channels);
  };
  dkey = place(wanted.key, shape.head_dim);
  dvalue = place(wanted.value, shape.head_dim_v);
  turnstiles = std::make_unique<Turnstile[]>(static_cast<size_t>(shape.heads_kv));
  if (wanted.key_weights) dlog_weights = arena.take<T>(rows);
  if (wanted.bias) dbias = arena.take<double>(shape.heads * bias_head);
  if (wanted.additional_keys) dadditional_keys = arena.take<double>(more * shape.head_dim);
  if (wanted.additional_values) dadditional_values = arena.take<double>(more * shape.head_dim_v);
}

template <class T>
void SharedGradients<T>::start(const Problem& problem, const Gradients& gradients, const std::vector<CpuPart>& parts) {
  const Shape& shape = problem.shape;
  const auto direct = [](TensorView& sums, const TensorView& gradient) {
    if (gradient && gradient.dtype == sums.dtype) sums = gradient;
  };
  direct(dkey, gradients.key);
  direct(dvalue, gradients.value);
  if (dkey) fill_zero<T>(problem, dkey, parts);
  if (dvalue) fill_zero<T>(problem, dvalue, parts);
  const int64_t rows = shape.batch * problem.key_tokens() * shape.heads_kv;
  const int64_t more = shape.batch * shape.heads_kv * shape.additional;
  if (dlog_weights != nullptr) std::fill_n(dlog_weights, rows, T{0});
  if (dadditional_keys != nullptr) std::fill_n(dadditional_keys, more * shape.head_dim, 0.0);
  if (dadditional_values != nullptr) std::fill_n(dadditional_values, more * shape.head_dim_v, 0.0);
  if (dbias == nullptr) return;
  int64_t entries = 1;
  for (int d = 0; d < gradients.bias.rank; ++d) entries *= gradients.bias.sizes[d];
  std::fill_n(dbias, entries, 0.0);
}

template <class T>
void SharedGradients<T>::finish(const Problem& problem, const Gradients& gradients, const KernelTable<T>& kernels) {
  if (dkey && dkey.data != gradients.key.data) round_rows(problem, dkey, gradients.key, kernels);
  if (dvalue && dvalue.data != gradients.value.data) round_rows(problem, dvalue, gradients.value, kernels);
  if (dlog_weights != nullptr) store_weights(problem, gradients.key_weights, dlog_weights);
  if (dbias != nullptr) store_sums(gradients.bias, dbias);
  if (dadditional_keys != nullptr) store_additional(gradients.additional_keys, dadditional_keys);
  if (dadditional_values != nullptr) store_additional(gradients.additional_values, dadditional_values);
}

template struct SharedGradients<float>;
template struct SharedGradients<double>;

}  // namespace nearfield::core
