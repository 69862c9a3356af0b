#include "engine/naive/naive.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "engine/naive/lines.h"
#include "engine/unfused/rows.h"
#include "engine/unfused/seen_keys.h"

namespace nearfield::core {

// NEON is what the compiler uses for portable code on its target.
template <>
const NaiveLoops<float>& naive_loops<float>(Isa isa) {
  if (isa == Isa::avx512) return *avx512_float_loops();
  return isa == Isa::avx2 ? *avx2_float_loops() : *portable_float_loops();
}
template <>
const NaiveLoops<double>& naive_loops<double>(Isa isa) {
  if (isa == Isa::avx512) return *avx512_double_loops();
  return isa == Isa::avx2 ? *avx2_double_loops() : *portable_double_loops();
}

namespace {

constexpr int64_t kTokensOfTask = 64;

template <class T>
inline constexpr DType kDType = sizeof(T) == 8 ? DType::float64 : DType::float32;

// One thread's work on rows of weights.
template <class T>
class Naive {
 public:
  Naive(const UnfusedProblem& problem, const TensorView& weights, Isa isa)
      : problem_(problem),
        weights_(weights),
        loops_(naive_loops<T>(isa)),
        kernels_(kernels_of<T>(isa)),
        window_(problem),
        seen_(problem) {
    stride_ = round_up(problem.columns(), kernels_.lanes);
    is_direct_ = weights.dtype == kDType<T> && in_place(weights);
    if (!is_direct_) row_.resize(static_cast<size_t>(stride_));
    additional_.resize(static_cast<size_t>(problem.shape.additional));
  }

  void pairs(const PairsCall& call, int64_t first, int64_t end) {
    const Shape& shape = problem_.shape;
    const int64_t channels = start(call.near), volume = problem_.volume();
    if (call.bias && table_.empty()) copy_table(call.bias);
    for (int64_t token = first; token < end; ++token) {
      window_.move_to(token, bias_strides_);
      if (call.bias && problem_.pattern.order) find_entries(call.bias, token);
      for (int64_t batch = 0; batch < shape.batch; ++batch) {
        const bool whole = find_pieces(batch, call.far) == volume;
        for (int64_t head = 0; head < shape.heads; ++head) {
          T* row = row_at(batch, head, token);
          load(call.near, batch, head, token, static_cast<T>(call.scale));
          if (!whole) std::fill_n(row, volume, static_cast<T>(call.hidden));
          const std::byte* far = far_of(call.far, batch, head);
          for (const Piece& piece : pieces_) {
            if (has_order()) {
              loops_.products(near_.data(), far, call.far.dtype, offsets_.data() + piece.offset, piece.count, channels,
                              row + piece.slot);
            } else {
              loops_.products_in_line(near_.data(), far + piece.offset * size_of(call.far.dtype), call.far.dtype, step_,
                                      piece.count, channels, row + piece.slot);
            }
            if (call.bias) add_bias(head, piece, row);
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
    const int64_t channels = start(call.near), volume = problem_.volume();
    for (int64_t token = first; token < end; ++token) {
      window_.move_to(token, bias_strides_);
      for (int64_t batch = 0; batch < shape.batch; ++batch) {
        find_pieces(batch, call.far);
        for (int64_t head = 0; head < shape.heads; ++head) {
          const T* row = load_row(batch, head, token);
          const std::byte* far = far_of(call.far, batch, head);
          std::fill(near_.begin(), near_.end(), T{0});
          for (const Piece& piece : pieces_) {
            if (has_order()) {
              loops_.sum(row + piece.slot, far, call.far.dtype, offsets_.data() + piece.offset, piece.count, channels,
                         near_.data());
            } else {
              loops_.sum_in_line(row + piece.slot, far + piece.offset * size_of(call.far.dtype), call.far.dtype, step_,
                                 piece.count, channels, near_.data());
            }
          }
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
  // What is left of a line where keys are masked.
  struct Piece {
    int64_t slot = 0, bias = 0, count = 0;
    int64_t offset = 0;  // elements from a head's first; along an order, into offsets_
  };

  bool has_order() const { return problem_.pattern.order != nullptr; }
  int64_t stride_of(int64_t channels) const { return round_up(channels, kernels_.lanes); }
  int64_t start(const TensorView& near) {
    const int64_t channels = near.sizes[near.rank - 1];
    near_.assign(static_cast<size_t>(stride_of(channels)), T{0});
    return channels;
  }

  // Returns how many keys they hold.
  int64_t find_pieces(int64_t batch, const TensorView& far) {
    const Placement placement = placement_of(problem_, far);
    const TensorView& mask = problem_.key_mask;
    if (!has_order()) step_ = window_.step(placement);
    pieces_.clear();
    offsets_.clear();
    int64_t count = 0;
    for (const WindowLine& line : window_.lines()) {
      const auto add = [&](int64_t from, int64_t end) {
        const int64_t offset =
            has_order() ? static_cast<int64_t>(offsets_.size()) : window_.locate(placement, line, from);
        for (int64_t i = from; has_order() && i < end; ++i) offsets_.push_back(window_.locate(placement, line, i));
        pieces_.push_back({line.slot + from, line.bias + from, end - from, offset});
        count += end - from;
      };
      if (!mask) {
        add(0, line.count);
        continue;
      }
      const Placement of_mask = placement_of(problem_, mask);
      int64_t from = 0;
      for (int64_t i = 0; i <= line.count; ++i) {
        const bool ends =
            i == line.count || *mask.at(batch * mask.strides[0] + window_.locate(of_mask, line, i)) == std::byte{0};
        if (!ends) continue;
        if (from < i) add(from, i);
        from = i + 1;
      }
    }
    return count;
  }

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

  void add_bias(int64_t head, const Piece& piece, T* row) {
    const T* table = table_.data() + head * (static_cast<int64_t>(table_.size()) / problem_.shape.heads);
    for (int64_t i = 0; i < piece.count; ++i)
      row[piece.slot + i] += has_order() ? table[entries_[static_cast<size_t>(piece.slot + i)]] : table[piece.bias + i];
  }
  // Of each slot, along an order.
  void find_entries(const TensorView& bias, int64_t token) {
    seen_.move_to(token);
    seen_.find_bias(bias, found_);
    entries_.assign(static_cast<size_t>(problem_.volume()), 0);
    for (size_t i = 0; i < found_.size(); ++i) entries_[static_cast<size_t>(seen_.slots()[i])] = found_[i];
  }
  void copy_table(const TensorView& bias) {
    int64_t count = 1;
    for (int d = bias.rank - 1; d >= 0; count *= bias.sizes[d--])
      if (d > 0) bias_strides_[d - 1] = has_order() ? 0 : count;
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
  WindowLines window_;
  SeenKeys seen_;
  int64_t stride_ = 0, step_ = 0, bias_strides_[kMaxGridRank] = {};
  bool is_direct_ = false;
  std::vector<Piece> pieces_;
  std::vector<T> near_, row_, table_;
  std::vector<int64_t> additional_, offsets_, entries_, found_;
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
    const TensorView& far = call_.far;
    const int64_t channels = far.sizes[heads + 1], stride = round_up(channels, kernels_.lanes);
    const int64_t group = shape.heads / shape.heads_kv;
    sum_.resize(static_cast<size_t>(stride));
    for (int64_t token = first; token < end; ++token) {
      seers_.move_to(token);
      for (int64_t batch = 0; batch < shape.batch; ++batch)
        for (int64_t kv_head = 0; kv_head < shape.heads_kv; ++kv_head) {
          std::fill(sum_.begin(), sum_.end(), T{0});
          for (int64_t head = kv_head * group; head < (kv_head + 1) * group && takes_part(batch, token); ++head)
            add_head(batch, head, channels);
          for (T& x : sum_) x *= static_cast<T>(call_.factor);
          const int64_t at =
              batch * far.strides[0] + kv_head * far.strides[heads] + element_of_token(problem_, far, token);
          kernels_.store_rows(sum_.data(), stride, 1, channels, far.data, far.dtype, &at);
        }
    }
  }

 private:
  // Line by line of the queries that see the key: their weights, one from each row, then their sum.
  void add_head(int64_t batch, int64_t head, int64_t channels) {
    const int heads = problem_.shape.rank + 1;
    const TensorView &near = call_.near, &weights = call_.weights;
    const std::byte* const queries = near.at(batch * near.strides[0] + head * near.strides[heads]);
    const std::byte* const rows = weights.at(batch * weights.strides[0] + head * weights.strides[heads]);
    seers_.for_each_line(placement_of(problem_, near), placement_of(problem_, weights),
                         [&](int64_t query, int64_t row, const std::vector<int64_t>& near_offsets,
                             const std::vector<int64_t>& weight_offsets) {
                           values_.resize(weight_offsets.size());
                           for (size_t i = 0; i < values_.size(); ++i)
                             values_[i] = weight_at(rows, row + weight_offsets[i]);
                           loops_.sum(values_.data(), queries + query * size_of(near.dtype), near.dtype,
                                      near_offsets.data(), static_cast<int64_t>(values_.size()), channels, sum_.data());
                         });
  }

  bool takes_part(int64_t batch, int64_t token) const {
    const TensorView& mask = problem_.key_mask;
    return !mask || *mask.at(batch * mask.strides[0] + element_of_token(problem_, mask, token)) != std::byte{0};
  }
  T weight_at(const std::byte* rows, int64_t element) const {
    const DType dtype = call_.weights.dtype;
    const std::byte* const at = rows + element * size_of(dtype);
    if (dtype == kDType<T>) {
      T value;
      std::memcpy(&value, at, sizeof value);
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, at, sizeof bits);
    return static_cast<T>(dtype == DType::bfloat16 ? float_from_bfloat16(bits) : float_from_float16(bits));
  }

  const UnfusedProblem& problem_;
  const ScatterCall& call_;
  const NaiveLoops<T>& loops_;
  const KernelTable<T>& kernels_;
  Seers seers_;
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
