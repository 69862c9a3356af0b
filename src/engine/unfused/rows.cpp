#include "engine/unfused/rows.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/checked.h"
#include "engine/unfused/seen_keys.h"

namespace nearfield::core {
namespace {

constexpr int64_t kRowsOfTask = 64;  // for each head
constexpr int64_t kRowsOfRun = 128;  // of all heads together

int64_t row_of(const UnfusedProblem& problem, const TensorView& tensor, int64_t batch, int64_t head, int64_t token) {
  return batch * tensor.strides[0] + head * tensor.strides[problem.shape.rank + 1] +
         element_of_token(problem, tensor, token);
}

// Calls body(first, end) for runs of rows, numbered head by head of each token of each image.
template <class Body>
void for_each_run(const UnfusedProblem& problem, Body body) {
  const Shape& shape = problem.shape;
  const int64_t rows = shape.batch * shape.tokens() * shape.heads;
  parallel_for(problem.threading, ceil_div(rows, kRowsOfRun),
               [&](int64_t run) { body(run * kRowsOfRun, std::min(rows, (run + 1) * kRowsOfRun)); });
}

// Elements to the rows [first, end) of a tensor (batch, *grid, heads, ...).
void locate_rows(const UnfusedProblem& problem, const TensorView& tensor, int64_t first, int64_t end,
                 int64_t* elements) {
  const Shape& shape = problem.shape;
  const int64_t tokens = shape.tokens(), of_head = tensor.strides[shape.rank + 1];
  int64_t head = first % shape.heads, token = first / shape.heads % tokens, batch = first / shape.heads / tokens;
  int64_t at = row_of(problem, tensor, batch, 0, token);
  for (int64_t row = first; row < end; ++row) {
    *elements++ = at + head * of_head;
    if (++head < shape.heads) continue;
    head = 0;
    if (++token == tokens) token = 0, ++batch;
    if (row + 1 < end) at = row_of(problem, tensor, batch, 0, token);
  }
}

template <class T>
void point_at_rows(const UnfusedProblem& problem, const TensorView& tensor, int64_t first, int64_t end, T** rows) {
  int64_t elements[kRowsOfRun];
  locate_rows(problem, tensor, first, end, elements);
  for (int64_t i = 0; i < end - first; ++i) rows[i] = reinterpret_cast<T*>(tensor.at(elements[i]));
}

template <class T>
void softmax_rows_of(const UnfusedProblem& problem, const TensorView& weights, const TensorView& logsumexp, Isa isa) {
  const KernelTable<T>& kernels = kernels_of<T>(isa);
  for_each_run(problem, [&](int64_t first, int64_t end) {
    T *rows[kRowsOfRun], found[kRowsOfRun];
    point_at_rows(problem, weights, first, end, rows);
    kernels.softmax_rows(rows, end - first, problem.columns(), found);
    if (!logsumexp) return;
    int64_t elements[kRowsOfRun];
    locate_rows(problem, logsumexp, first, end, elements);
    for (int64_t i = 0; i < end - first; ++i) std::memcpy(logsumexp.at(elements[i]), found + i, sizeof(T));
  });
}

template <class T>
void softmax_gradient_rows_of(const UnfusedProblem& problem, const TensorView& p, const TensorView& weights,
                              const TensorView& dlogsumexp, Isa isa) {
  const KernelTable<T>& kernels = kernels_of<T>(isa);
  for_each_run(problem, [&](int64_t first, int64_t end) {
    T *of_p[kRowsOfRun], *rows[kRowsOfRun], more[kRowsOfRun] = {};
    point_at_rows(problem, p, first, end, of_p);
    point_at_rows(problem, weights, first, end, rows);
    if (dlogsumexp) {
      int64_t elements[kRowsOfRun];
      locate_rows(problem, dlogsumexp, first, end, elements);
      for (int64_t i = 0; i < end - first; ++i) std::memcpy(more + i, dlogsumexp.at(elements[i]), sizeof(T));
    }
    kernels.softmax_gradient_rows(of_p, rows, end - first, problem.columns(), more);
  });
}

// The elements of a table (heads, ...) below its first dimension, row-major.
std::vector<int64_t> table_elements(const TensorView& table) {
  std::vector<int64_t> elements{0};
  for (int d = 1; d < table.rank; ++d) {
    std::vector<int64_t> longer;
    for (const int64_t element : elements)
      for (int64_t i = 0; i < table.sizes[d]; ++i) longer.push_back(element + i * table.strides[d]);
    elements = std::move(longer);
  }
  return elements;
}

// Calls visit(batch, token, head) for every row of (batch, *grid, heads_kv, channels), side by side.
template <class Visit>
void for_each_far_row(const UnfusedProblem& problem, Visit visit) {
  const Shape& shape = problem.shape;
  const int64_t tokens = shape.tokens(), rows = shape.batch * tokens;
  parallel_for(problem.threading, ceil_div(rows, kRowsOfTask), [&](int64_t task) {
    for (int64_t row = task * kRowsOfTask; row < std::min(rows, (task + 1) * kRowsOfTask); ++row)
      for (int64_t head = 0; head < shape.heads_kv; ++head) visit(row / tokens, row % tokens, head);
  });
}

}  // namespace

void softmax_rows(const UnfusedProblem& problem, const TensorView& weights, const TensorView& logsumexp, Isa isa) {
  weights.dtype == DType::float64 ? softmax_rows_of<double>(problem, weights, logsumexp, isa)
                                  : softmax_rows_of<float>(problem, weights, logsumexp, isa);
}

void softmax_gradient_rows(const UnfusedProblem& problem, const TensorView& p, const TensorView& weights,
                           const TensorView& dlogsumexp, Isa isa) {
  weights.dtype == DType::float64 ? softmax_gradient_rows_of<double>(problem, p, weights, dlogsumexp, isa)
                                  : softmax_gradient_rows_of<float>(problem, p, weights, dlogsumexp, isa);
}

void sum_bias(const UnfusedProblem& problem, const BiasCall& call, Isa) {
  const Shape& shape = problem.shape;
  const std::vector<int64_t> elements = table_elements(call.bias);
  parallel_for(problem.threading, shape.heads, [&](int64_t head) {
    std::vector<double> sums(elements.size(), 0.0);
    std::vector<int64_t> entries, masks;
    SeenKeys seen(problem);
    for (int64_t token = 0; token < shape.tokens(); ++token) {
      seen.move_to(token);
      seen.find_bias(call.bias, entries);
      if (problem.key_mask) seen.locate(placement_of(problem, problem.key_mask), masks);
      for (int64_t batch = 0; batch < shape.batch; ++batch) {
        const int64_t row = row_of(problem, call.weights, batch, head, token);
        for (size_t i = 0; i < entries.size(); ++i) {
          if (problem.key_mask && *problem.key_mask.at(batch * problem.key_mask.strides[0] + masks[i]) == std::byte{0})
            continue;
          sums[static_cast<size_t>(entries[i])] += load_as<double>(call.weights, row + seen.slots()[i]);
        }
      }
    }
    for (size_t i = 0; i < elements.size(); ++i)
      store_double(call.bias.at(head * call.bias.strides[0] + elements[i]), call.bias.dtype, sums[i]);
  });
}

void scatter_additional(const UnfusedProblem& problem, const ScatterCall& call) {
  const Shape& shape = problem.shape;
  const TensorView& target = call.additional;
  if (!target || shape.additional == 0) return;
  const int64_t channels = target.sizes[3], group = shape.heads / shape.heads_kv, volume = problem.volume();
  parallel_for(problem.threading, shape.batch * shape.heads_kv, [&](int64_t task) {
    const int64_t batch = task / shape.heads_kv, kv_head = task % shape.heads_kv;
    std::vector<double> sums(static_cast<size_t>(shape.additional * channels), 0.0);
    std::vector<double> near(static_cast<size_t>(channels));
    for (int64_t token = 0; token < shape.tokens(); ++token)
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        const int64_t from = row_of(problem, call.near, batch, head, token);
        for (int64_t c = 0; c < channels; ++c) near[static_cast<size_t>(c)] = load_as<double>(call.near, from + c);
        const int64_t row = row_of(problem, call.weights, batch, head, token) + volume;
        for (int64_t m = 0; m < shape.additional; ++m) {
          const double w = load_as<double>(call.weights, row + m);
          double* sum = sums.data() + m * channels;
          for (int64_t c = 0; c < channels; ++c) sum[c] += w * near[static_cast<size_t>(c)];
        }
      }
    for (int64_t m = 0; m < shape.additional; ++m)
      for (int64_t c = 0; c < channels; ++c)
        store_double(target.at(batch * target.strides[0] + m * target.strides[1] + kv_head * target.strides[2] + c),
                     target.dtype, call.factor * sums[static_cast<size_t>(m * channels + c)]);
  });
}

FarSums::FarSums(const UnfusedProblem& problem, const TensorView& target) : target_(target), view_(target) {
  view_.dtype = accumulator_of(target.dtype);
  const int64_t channels = target.sizes[target.rank - 1], size = size_of(view_.dtype);
  if (view_.dtype == target.dtype) {
    for_each_far_row(problem, [&](int64_t batch, int64_t token, int64_t head) {
      std::memset(view_.at(row_of(problem, view_, batch, head, token)), 0, static_cast<size_t>(channels * size));
    });
    return;
  }
  // Rows begin apart by whole vectors of any instruction set, which store_rows reads.
  int64_t count = round_up(channels, 16);
  view_.strides[view_.rank - 1] = 1;
  for (int d = view_.rank - 2; d >= 0; --d) {
    view_.strides[d] = count;
    count = checked_product(count, view_.sizes[d], "elements");
  }
  memory_.assign(static_cast<size_t>(checked_product(count, size, "bytes")), std::byte{0});
  view_.data = memory_.data();
}

void FarSums::finish(const UnfusedProblem& problem, Isa isa) const {
  if (memory_.empty()) return;
  const KernelTable<float>& kernels = kernels_of<float>(isa);
  const int64_t channels = target_.sizes[target_.rank - 1];
  for_each_far_row(problem, [&](int64_t batch, int64_t token, int64_t head) {
    const auto* from = reinterpret_cast<const float*>(view_.at(row_of(problem, view_, batch, head, token)));
    const int64_t to = row_of(problem, target_, batch, head, token);
    kernels.store_rows(from, round_up(channels, kernels.lanes), 1, channels, target_.data, target_.dtype, &to);
  });
}

}  // namespace nearfield::core
