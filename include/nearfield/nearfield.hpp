// nearfield: local attention for every grid. The C++20 face: header-only over the C ABI of nearfield.h, which has the
// shapes and rules. Failed calls throw nearfield::Error.
//
//   using namespace nearfield;
//   std::vector<float> q(n), k(n), v(n), o(n);
//   auto view = [&](std::vector<float>& x) { return Tensor::of(x.data(), {1, 56, 56, 2, 32}); };
//   forward(neighborhood({7, 7}), view(q), view(k), view(v), view(o));
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "nearfield/nearfield.h"

namespace nearfield {

class Error : public std::runtime_error {
 public:
  Error(nf_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  nf_status status() const noexcept { return status_; }

 private:
  nf_status status_;
};

namespace detail {
inline void check(nf_status status) {
  if (status != NF_OK) throw Error(status, nf_last_error());
}
template <class T>
constexpr nf_dtype dtype_of() {
  if constexpr (std::is_same_v<std::remove_const_t<T>, double>) return NF_FLOAT64;
  if constexpr (std::is_same_v<std::remove_const_t<T>, float>) return NF_FLOAT32;
  if constexpr (std::is_same_v<std::remove_const_t<T>, bool>) return NF_BOOL;
  static_assert(std::is_same_v<std::remove_const_t<T>, double> || std::is_same_v<std::remove_const_t<T>, float> ||
                    std::is_same_v<std::remove_const_t<T>, bool>,
                "give the dtype of 16-bit memory explicitly");
}
}  // namespace detail

// A strided view of memory that the caller owns. Row-major unless strides (in elements) are given.
struct Tensor : nf_tensor {
  Tensor(const void* memory, nf_dtype type, std::span<const int64_t> shape) : nf_tensor{} {
    set_shape(memory, type, shape);
    int64_t stride = 1;
    for (int i = this->rank - 1; i >= 0; --i) {
      strides[i] = stride;
      stride *= sizes[i];
    }
  }
  Tensor(const void* memory, nf_dtype type, std::initializer_list<int64_t> shape)
      : Tensor(memory, type, std::span(shape.begin(), shape.size())) {}
  Tensor(const void* memory, nf_dtype type, std::span<const int64_t> shape, std::span<const int64_t> steps)
      : nf_tensor{} {
    set_shape(memory, type, shape);
    if (steps.size() != shape.size()) throw Error(NF_INVALID_ARGUMENT, "strides: one for each dimension is needed");
    for (int i = 0; i < this->rank; ++i) strides[i] = steps[static_cast<size_t>(i)];
  }
  template <class T>
  static Tensor of(T* memory, std::span<const int64_t> shape) {
    return Tensor(memory, detail::dtype_of<T>(), shape);
  }
  template <class T>
  static Tensor of(T* memory, std::initializer_list<int64_t> shape) {
    return Tensor(memory, detail::dtype_of<T>(), shape);
  }

 private:
  void set_shape(const void* memory, nf_dtype type, std::span<const int64_t> shape) {
    if (shape.size() > NF_MAX_DIMS) throw Error(NF_INVALID_ARGUMENT, "rank: a tensor has at most 6 dimensions");
    data = const_cast<void*>(memory);
    dtype = type;
    rank = static_cast<int32_t>(shape.size());
    for (int i = 0; i < this->rank; ++i) sizes[i] = shape[static_cast<size_t>(i)];
  }
};

// A neighborhood pattern; set fields, or chain: neighborhood({7, 7}).stride({2, 2}).causal({true, false}).
class Neighborhood {
 public:
  explicit Neighborhood(std::span<const int64_t> kernel_size) {
    if (kernel_size.empty() || kernel_size.size() > NF_MAX_GRID_RANK)
      throw Error(NF_INVALID_ARGUMENT,
                  "kernel_size: has " + std::to_string(kernel_size.size()) + " axes: must have 1, 2 or 3");
    spec_ = nf_make_neighborhood(static_cast<int32_t>(kernel_size.size()), kernel_size.data());
  }
  Neighborhood& stride(std::initializer_list<int64_t> values) { return set(spec_.stride, values, "stride"); }
  Neighborhood& dilation(std::initializer_list<int64_t> values) { return set(spec_.dilation, values, "dilation"); }
  Neighborhood& causal(std::initializer_list<bool> values) { return set(spec_.is_causal, values, "is_causal"); }
  Neighborhood& boundary(std::initializer_list<nf_boundary> values) { return set(spec_.boundary, values, "boundary"); }
  operator const nf_pattern*() const { return &spec_.pattern; }
  const nf_neighborhood& spec() const { return spec_; }

 private:
  template <class Field, class T>
  Neighborhood& set(Field& field, std::initializer_list<T> values, const char* name) {
    if (static_cast<int32_t>(values.size()) != spec_.pattern.rank)
      throw Error(NF_INVALID_ARGUMENT, std::string(name) + ": has " + std::to_string(values.size()) +
                                           " values: must have one for each of the " +
                                           std::to_string(spec_.pattern.rank) + " axes");
    int axis = 0;
    for (T value : values) field[axis++] = static_cast<std::remove_reference_t<decltype(field[0])>>(value);
    return *this;
  }
  nf_neighborhood spec_;
};

inline Neighborhood neighborhood(std::span<const int64_t> kernel_size) { return Neighborhood(kernel_size); }
inline Neighborhood neighborhood(std::initializer_list<int64_t> kernel_size) {
  return Neighborhood(std::span(kernel_size.begin(), kernel_size.size()));
}

// nf_options with its defaults filled in.
struct Options : nf_options {
  Options() : nf_options(nf_default_options()) {}
  Options& with_scale(double value) {
    scale = value;
    has_scale = 1;
    return *this;
  }
};

// What may come with a call and usually doesn't. Tensors are views: the memory is the caller's.
struct Modifiers {
  std::optional<Tensor> additional_keys, additional_values, key_mask, key_weights, bias;
  double softcap = 0;
};

namespace detail {
inline const nf_tensor* pointer(const std::optional<Tensor>& tensor) { return tensor ? &*tensor : nullptr; }
inline nf_modifiers lower(const Modifiers& m) {
  return {sizeof(nf_modifiers),
          pointer(m.additional_keys),
          pointer(m.additional_values),
          pointer(m.key_mask),
          pointer(m.key_weights),
          pointer(m.bias),
          m.softcap};
}
}  // namespace detail

// out = attention(query, key, value) over the pattern; logsumexp too if given. See nf_forward.
inline void forward(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& value,
                    const Tensor& out, const std::optional<Tensor>& logsumexp = {}, const Options& options = {},
                    const Modifiers& modifiers = {}) {
  const nf_modifiers m = detail::lower(modifiers);
  detail::check(nf_forward(pattern, &query, &key, &value, &m, &options, &out, detail::pointer(logsumexp)));
}

// Where the gradients go; an absent one is not computed.
struct Gradients {
  std::optional<Tensor> query, key, value, additional_keys, additional_values, key_weights, bias;
};

// Gradients of the forward. See nf_backward.
inline void backward(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& value,
                     const Tensor& out, const Tensor& logsumexp, const Tensor& dout, const Gradients& gradients,
                     const std::optional<Tensor>& dlogsumexp = {}, const Options& options = {},
                     const Modifiers& modifiers = {}) {
  using detail::pointer;
  const nf_modifiers m = detail::lower(modifiers);
  const nf_gradients g = {sizeof(nf_gradients),
                          pointer(gradients.query),
                          pointer(gradients.key),
                          pointer(gradients.value),
                          pointer(gradients.additional_keys),
                          pointer(gradients.additional_values),
                          pointer(gradients.key_weights),
                          pointer(gradients.bias)};
  detail::check(
      nf_backward(pattern, &query, &key, &value, &m, &options, &out, &logsumexp, &dout, pointer(dlogsumexp), &g));
}

// What forward would run and why. Data pointers may be null. See nf_explain.
inline nf_explanation explain(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& value,
                              const Options& options = {}, const Modifiers& modifiers = {}) {
  nf_explanation result{};
  result.struct_size = sizeof result;
  const nf_modifiers m = detail::lower(modifiers);
  detail::check(nf_explain(pattern, &query, &key, &value, &m, &options, &result));
  return result;
}

// Bytes of scratch for nf_options.workspace.
inline size_t forward_workspace(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& value,
                                const Options& options = {}, const Modifiers& modifiers = {}) {
  size_t bytes = 0;
  const nf_modifiers m = detail::lower(modifiers);
  detail::check(nf_forward_workspace(pattern, &query, &key, &value, &m, &options, &bytes));
  return bytes;
}

}  // namespace nearfield
