#include "engine/naive/naive.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "engine/unfused/rows.h"
#include "engine/unfused/seen_keys.h"

namespace nearfield::core {

template <>
const NaiveLoops<float>& naive_loops<float>(Isa isa) {
  return isa == Isa::avx2 ? *avx2_float_loops() : *portable_float_loops();
}
template <>
const NaiveLoops<double>& naive_loops<double>(Isa isa) {
  return isa == Isa::avx2 ? *avx2_double_loops() : *portable_double_loops();
}

namespace {

constexpr int64_t kTokensOfTask = 64;

template <class T>
inline constexpr DType kDType = sizeof(T) == 8 ? DType::float64 : DType::float32;

// Lists of one token, filtered by the mask of one image.
struct Lists {
  std::vector<int64_t> slots, far, bias, mask;
  // Of those that take part; the lists themselves where there is no mask.
  std::vector<int64_t> kept_slots, kept_far, kept_bias;
};

// One thread's work on rows of weights.
template <class T>
class Naive {
 public:
  Naive(const UnfusedProblem& problem, const TensorView& weights, Isa isa)
      : problem_(problem),
        weights_(weights),
        loops_(naive_loops<T>(isa)),
        kernels_(kernels_of<T>(isa)),
        seen_(problem) {
    stride_ = round_up(problem.columns(), kernels_.lanes);
    is_direct_ = weights.dtype == kDType<T> && in_place(weights);
    if (!is_direct_) row_.resize(static_cast<size_t>(stride_));
    const auto additional = static_cast<size_t>(problem.shape.additional);
    additional_.resize(additional);
  }

  void pairs(const PairsCall& call, int64_t first, int64_t end) {
    const Shape& shape = problem_.shape;
    const int64_t channels = call.near.sizes[shape.rank + 2], volume = problem_.volume();
    start(channels);
    for (int64_t token = first; token < end; ++token) {
      move_to(token, call.far);
      if (call.bias) seen_.find_bias(call.bias, lists_.bias);
      for (int64_t batch = 0; batch < shape.batch; ++batch) {
        filter(batch);
        const bool whole = static_cast<int64_t>(kept_far().size()) == volume;
        for (int64_t head = 0; head < shape.heads; ++head) {
          T* row = row_at(batch, head, token);
          load(call.near, batch, head, token, static_cast<T>(call.scale));
          T* products = whole ? row : values(kept_far().size());
          loops_.products(near_.data(), far_of(call.far, batch, head), call.far.dtype, kept_far().data(),
                          static_cast<int64_t>(kept_far().size()), channels, products);
          if (call.bias) add_bias(call.bias, head, products);
          if (!whole) {
            std::fill_n(row, volume, static_cast<T>(call.hidden));
            for (size_t i = 0; i < kept_slots().size(); ++i) row[kept_slots()[i]] = products[i];
          }
          if (shape.additional > 0) {
            point_at_additional(call.additional);
            loops_.products(near_.data(), additional_of(call.additional, batch, head), call.additional.dtype,
                            additional_.data(), shape.additional, channels, row + volume);
          }
          store_row(batch, head, token);
        }
      }
    }
  }

  void gather(const GatherCall& call, int64_t first, int64_t end) {
    const Shape& shape = problem_.shape;
    const int64_t channels = call.near.sizes[shape.rank + 2], volume = problem_.volume();
    start(channels);
    for (int64_t token = first; token < end; ++token) {
      move_to(token, call.far);
      for (int64_t batch = 0; batch < shape.batch; ++batch) {
        filter(batch);
        const bool whole = static_cast<int64_t>(kept_far().size()) == volume;
        for (int64_t head = 0; head < shape.heads; ++head) {
          const T* row = load_row(batch, head, token);
          const T* weights = row;
          if (!whole) {
            T* compact = values(kept_slots().size());
            for (size_t i = 0; i < kept_slots().size(); ++i) compact[i] = row[kept_slots()[i]];
            weights = compact;
          }
          std::fill(near_.begin(), near_.end(), T{0});
          loops_.sum(weights, far_of(call.far, batch, head), call.far.dtype, kept_far().data(),
                     static_cast<int64_t>(kept_far().size()), channels, near_.data());
          if (shape.additional > 0) {
            point_at_additional(call.additional);
            loops_.sum(row + volume, additional_of(call.additional, batch, head), call.additional.dtype,
                       additional_.data(), shape.additional, channels, near_.data());
          }
          for (T& x : near_) x *= static_cast<T>(call.factor);
          const int64_t at = element(call.near, batch, head, token);
          kernels_.store_rows(near_.data(), stride_of(channels), 1, channels, call.near.data, call.near.dtype, &at);
        }
      }
    }
  }

 private:
  int64_t stride_of(int64_t channels) const { return round_up(channels, kernels_.lanes); }
  void start(int64_t channels) { near_.assign(static_cast<size_t>(stride_of(channels)), T{0}); }

  void move_to(int64_t token, const TensorView& far) {
    seen_.move_to(token);
    seen_.locate(placement_of(problem_, far), lists_.far);
    if (problem_.key_mask) seen_.locate(placement_of(problem_, problem_.key_mask), lists_.mask);
  }

  void filter(int64_t batch) {
    const TensorView& mask = problem_.key_mask;
    if (!mask) return;
    lists_.kept_slots.clear();
    lists_.kept_far.clear();
    lists_.kept_bias.clear();
    for (size_t i = 0; i < lists_.far.size(); ++i) {
      if (*mask.at(batch * mask.strides[0] + lists_.mask[i]) == std::byte{0}) continue;
      lists_.kept_slots.push_back(seen_.slots()[i]);
      lists_.kept_far.push_back(lists_.far[i]);
      if (!lists_.bias.empty()) lists_.kept_bias.push_back(lists_.bias[i]);
    }
  }
  const std::vector<int64_t>& kept_slots() const { return problem_.key_mask ? lists_.kept_slots : seen_.slots(); }
  const std::vector<int64_t>& kept_far() const { return problem_.key_mask ? lists_.kept_far : lists_.far; }
  const std::vector<int64_t>& kept_bias() const { return problem_.key_mask ? lists_.kept_bias : lists_.bias; }

  int64_t element(const TensorView& tensor, int64_t batch, int64_t head, int64_t token) const {
    return batch * tensor.strides[0] + head * tensor.strides[problem_.shape.rank + 1] +
           element_of_token(problem_, tensor, token);
  }
  void load(const TensorView& near, int64_t batch, int64_t head, int64_t token, T factor) {
    const int64_t at = element(near, batch, head, token), channels = near.sizes[near.rank - 1];
    kernels_.load_rows(near.data, near.dtype, &at, 1, channels, factor, near_.data(), stride_of(channels));
  }
  const std::byte* far_of(const TensorView& far, int64_t batch, int64_t head) const {
    return far.at(batch * far.strides[0] + problem_.shape.kv_head(head) * far.strides[problem_.shape.rank + 1]);
  }
  const std::byte* additional_of(const TensorView& tensor, int64_t batch, int64_t head) const {
    return tensor.at(batch * tensor.strides[0] + problem_.shape.kv_head(head) * tensor.strides[2]);
  }
  void point_at_additional(const TensorView& tensor) {
    for (size_t m = 0; m < additional_.size(); ++m) additional_[m] = static_cast<int64_t>(m) * tensor.strides[1];
  }

  // The row itself, or a buffer that store_row writes to it.
  T* row_at(int64_t batch, int64_t head, int64_t token) {
    return is_direct_ ? reinterpret_cast<T*>(weights_.at(element(weights_, batch, head, token))) : row_.data();
  }
  void store_row(int64_t batch, int64_t head, int64_t token) {
    if (is_direct_) return;
    const int64_t at = element(weights_, batch, head, token);
    kernels_.store_rows(row_.data(), stride_, 1, problem_.columns(), weights_.data, weights_.dtype, &at);
  }
  const T* load_row(int64_t batch, int64_t head, int64_t token) {
    if (is_direct_) return row_at(batch, head, token);
    const int64_t at = element(weights_, batch, head, token);
    kernels_.load_rows(weights_.data, weights_.dtype, &at, 1, problem_.columns(), T{1}, row_.data(), stride_);
    return row_.data();
  }
  T* values(size_t count) {
    if (values_.size() < count) values_.resize(count);
    return values_.data();
  }

  void add_bias(const TensorView& bias, int64_t head, T* products) {
    if (table_.empty()) copy_table(bias);
    const T* table = table_.data() + head * (static_cast<int64_t>(table_.size()) / problem_.shape.heads);
    for (size_t i = 0; i < kept_bias().size(); ++i) products[i] += table[kept_bias()[i]];
  }
  void copy_table(const TensorView& bias) {
    int64_t count = 1;
    for (int d = 0; d < bias.rank; ++d) count *= bias.sizes[d];
    for (int64_t i = 0; i < count; ++i) {
      int64_t rest = i, at = 0;
      for (int d = bias.rank - 1; d >= 0; rest /= bias.sizes[d--]) at += rest % bias.sizes[d] * bias.strides[d];
      table_.push_back(load_as<T>(bias, at));
    }
  }

  const UnfusedProblem& problem_;
  const TensorView& weights_;
  const NaiveLoops<T>& loops_;
  const KernelTable<T>& kernels_;
  SeenKeys seen_;
  Lists lists_;
  int64_t stride_ = 0;
  bool is_direct_ = false;
  std::vector<T> near_, row_, values_, table_;
  std::vector<int64_t> additional_;
};

// One thread's gradients of keys, one key at a time.
template <class T>
class NaiveScatter {
 public:
  NaiveScatter(const UnfusedProblem& problem, const ScatterCall& call, Isa isa)
      : problem_(problem), call_(call), loops_(naive_loops<T>(isa)), kernels_(kernels_of<T>(isa)), seers_(problem) {}

  void run(int64_t first, int64_t end) {
    const Shape& shape = problem_.shape;
    const int heads = shape.rank + 1;
    const TensorView &far = call_.far, &near = call_.near, &weights = call_.weights;
    const int64_t channels = far.sizes[heads + 1], stride = round_up(channels, kernels_.lanes);
    const int64_t group = shape.heads / shape.heads_kv;
    sum_.resize(static_cast<size_t>(stride));
    for (int64_t token = first; token < end; ++token) {
      seers_.move_to(token);
      seers_.locate(placement_of(problem_, near), false, near_);
      seers_.locate(placement_of(problem_, weights), true, rows_);
      values_.resize(near_.size());
      for (int64_t batch = 0; batch < shape.batch; ++batch)
        for (int64_t kv_head = 0; kv_head < shape.heads_kv; ++kv_head) {
          std::fill(sum_.begin(), sum_.end(), T{0});
          for (int64_t head = kv_head * group; head < (kv_head + 1) * group && takes_part(batch, token); ++head) {
            const int64_t row = batch * weights.strides[0] + head * weights.strides[heads];
            for (size_t i = 0; i < rows_.size(); ++i) values_[i] = weight_at(row + rows_[i]);
            loops_.sum(values_.data(), near.at(batch * near.strides[0] + head * near.strides[heads]), near.dtype,
                       near_.data(), static_cast<int64_t>(near_.size()), channels, sum_.data());
          }
          for (T& x : sum_) x *= static_cast<T>(call_.factor);
          const int64_t at =
              batch * far.strides[0] + kv_head * far.strides[heads] + element_of_token(problem_, far, token);
          kernels_.store_rows(sum_.data(), stride, 1, channels, far.data, far.dtype, &at);
        }
    }
  }

 private:
  bool takes_part(int64_t batch, int64_t token) const {
    const TensorView& mask = problem_.key_mask;
    return !mask || *mask.at(batch * mask.strides[0] + element_of_token(problem_, mask, token)) != std::byte{0};
  }
  T weight_at(int64_t element) const {
    if (call_.weights.dtype != kDType<T>) return load_as<T>(call_.weights, element);
    T value;
    std::memcpy(&value, call_.weights.at(element), sizeof value);
    return value;
  }

  const UnfusedProblem& problem_;
  const ScatterCall& call_;
  const NaiveLoops<T>& loops_;
  const KernelTable<T>& kernels_;
  Seers seers_;
  std::vector<int64_t> near_, rows_;
  std::vector<T> values_, sum_;
};

// Work is cut into runs of tokens; each thread has one `make()` for all that it takes.
template <class Make, class Run>
void for_token_runs(const UnfusedProblem& problem, Make make, Run run) {
  const int64_t tokens = problem.shape.tokens(), count = ceil_div(tokens, kTokensOfTask);
  TaskQueue queue(count);
  parallel_for(problem.threading, std::min<int64_t>(count, problem.threading.num_threads), [&](int64_t) {
    auto worker = make();
    for (int64_t task = 0; queue.next(task);)
      run(worker, task * kTokensOfTask, std::min(tokens, (task + 1) * kTokensOfTask));
  });
}

// In float64 if the dtype says so, else in float32.
template <class Body>
void in_type_of(DType dtype, Body body) {
  if (dtype == DType::float64) return body(std::type_identity<double>{});
  body(std::type_identity<float>{});
}

void pairs(const UnfusedProblem& problem, const PairsCall& call, Isa isa) {
  in_type_of(call.near.dtype, [&]<class T>(std::type_identity<T>) {
    for_token_runs(
        problem, [&] { return Naive<T>(problem, call.weights, isa); },
        [&](Naive<T>& naive, int64_t first, int64_t end) { naive.pairs(call, first, end); });
  });
}

void gather(const UnfusedProblem& problem, const GatherCall& call, Isa isa) {
  in_type_of(call.near.dtype, [&]<class T>(std::type_identity<T>) {
    for_token_runs(
        problem, [&] { return Naive<T>(problem, call.weights, isa); },
        [&](Naive<T>& naive, int64_t first, int64_t end) { naive.gather(call, first, end); });
  });
}

void scatter(const UnfusedProblem& problem, const ScatterCall& call, Isa isa) {
  scatter_additional(problem, call);
  if (!call.far) return;
  in_type_of(call.near.dtype, [&]<class T>(std::type_identity<T>) {
    for_token_runs(
        problem, [&] { return NaiveScatter<T>(problem, call, isa); },
        [&](NaiveScatter<T>& naive, int64_t first, int64_t end) { naive.run(first, end); });
  });
}

}  // namespace

const UnfusedOperators kNaiveOperators = {pairs, gather, scatter, sum_bias, softmax_rows, softmax_gradient_rows};

}  // namespace nearfield::core
