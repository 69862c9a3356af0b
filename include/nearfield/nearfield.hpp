// nearfield: local attention for every grid. The C++20 face: header-only over the C ABI of nearfield.h, which has the
// shapes and rules. Failed calls throw nearfield::Error with the C ABI's message.
//
//   namespace nf = nearfield;
//   const std::vector<int64_t> shape = {1, 56, 56, 2, 32};                   // batch, *grid, heads, head_dim
//   std::vector<float> query(1 * 56 * 56 * 2 * 32), key(query), value(query), out(query);
//   nf::forward(nf::neighborhood({7, 7}), nf::Tensor::of(query, shape), nf::Tensor::of(key, shape),
//               nf::Tensor::of(value, shape), nf::Tensor::of(out, shape));
//
//   auto pattern = nf::neighborhood({7, 7}).dilation({2, 2}).boundary({NF_CLAMP, NF_WRAP});
//   auto options = nf::Options().with_scale(0.5).with_threads(4);
//   nf::forward(pattern, q, k, v, out, logsumexp, options, {.key_mask = mask, .bias = bias});
//   std::cout << nf::to_string(nf::explain(pattern, q, k, v, options)) << '\n';
//
// Everything that takes a list of numbers takes {7, 7}, a std::vector, std::array or std::span.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nearfield/geometry.hpp"
#include "nearfield/nearfield.h"
#include "nearfield/tensor.hpp"

namespace nearfield {

// A neighborhood pattern: stride 1, dilation 1, not causal, clamped, unless set.
class Neighborhood {
 public:
  explicit Neighborhood(ListOf<int64_t> kernel_size) : spec_{} {
    if (kernel_size.empty() || kernel_size.size() > NF_MAX_GRID_RANK)
      detail::refuse("kernel_size: has " + std::to_string(kernel_size.size()) + " values: must have 1, 2 or 3");
    spec_.pattern = {sizeof spec_, NF_NEIGHBORHOOD, static_cast<int32_t>(kernel_size.size())};
    for (size_t axis = 0; axis < kernel_size.size(); ++axis) {
      spec_.kernel_size[axis] = kernel_size[axis];
      spec_.stride[axis] = spec_.dilation[axis] = 1;
    }
  }
  // One value for each axis.
  Neighborhood& stride(ListOf<int64_t> values) { return set(spec_.stride, values, "stride"); }
  Neighborhood& dilation(ListOf<int64_t> values) { return set(spec_.dilation, values, "dilation"); }
  Neighborhood& causal(ListOf<bool> values) { return set(spec_.is_causal, values, "is_causal"); }
  Neighborhood& boundary(ListOf<nf_boundary> values) { return set(spec_.boundary, values, "boundary"); }

  operator const nf_pattern*() const { return &spec_.pattern; }
  const nf_neighborhood& spec() const { return spec_; }

 private:
  template <class Field, class T>
  Neighborhood& set(Field (&field)[NF_MAX_GRID_RANK], ListOf<T> values, const char* name) {
    if (values.size() != static_cast<size_t>(spec_.pattern.rank))
      detail::refuse(std::string(name) + ": has " + std::to_string(values.size()) +
                     " values: must have one for each of the " + std::to_string(spec_.pattern.rank) + " axes");
    for (size_t axis = 0; axis < values.size(); ++axis) field[axis] = static_cast<Field>(values[axis]);
    return *this;
  }
  nf_neighborhood spec_;
};

inline Neighborhood neighborhood(ListOf<int64_t> kernel_size) { return Neighborhood(kernel_size); }

// Windows that do not overlap, not shifted unless set. See nf_window.
class Window {
 public:
  explicit Window(ListOf<int64_t> size) : spec_{} {
    if (size.empty() || size.size() > NF_MAX_GRID_RANK)
      detail::refuse("size: has " + std::to_string(size.size()) + " values: must have 1, 2 or 3");
    spec_ = nf_make_window(static_cast<int32_t>(size.size()), size.data());
  }
  Window& shift(ListOf<int64_t> values) {
    detail::axes_of(&spec_.pattern, values, "shift");
    for (size_t axis = 0; axis < values.size(); ++axis) spec_.shift[axis] = values[axis];
    return *this;
  }

  operator const nf_pattern*() const { return &spec_.pattern; }
  const nf_window& spec() const { return spec_; }

 private:
  nf_window spec_;
};

inline Window window(ListOf<int64_t> size) { return Window(size); }

// A pattern along an order of the tokens of a grid of `rank` axes. See nf_curve.
class Curve {
 public:
  Curve(int rank, nf_curve_form form, int64_t size) : spec_(nf_make_curve(rank, NF_HILBERT, form, size)) {}
  Curve& order(nf_order value) { return spec_.order = value, *this; }
  Curve& shift(int64_t value) { return spec_.shift = value, *this; }
  Curve& stride(int64_t value) { return spec_.stride = value, *this; }
  Curve& dilation(int64_t value) { return spec_.dilation = value, *this; }
  Curve& causal(bool value = true) { return spec_.is_causal = value ? 1 : 0, *this; }

  operator const nf_pattern*() const { return &spec_.pattern; }
  const nf_curve& spec() const { return spec_; }

 private:
  nf_curve spec_;
};

// Along the Hilbert curve of a grid of `rank` axes; sizes count tokens along it.
inline Curve hilbert_window(int rank, int64_t size) { return {rank, NF_CURVE_WINDOW, size}; }
inline Curve hilbert_slide(int rank, int64_t width) { return {rank, NF_CURVE_SLIDE, width}; }
inline Curve hilbert_neighborhood(int rank, int64_t width) { return {rank, NF_CURVE_NEIGHBORHOOD, width}; }

// Neighborhoods on the sphere, of the default cutoff unless set; or all of it. See nf_sphere.
class Sphere {
 public:
  struct Grid {
    int64_t nlat = 0, nlon = 0;
    nf_latitudes latitudes = NF_EQUIANGULAR;
  };
  Sphere(Grid query, Grid key) : spec_(nf_make_sphere(query.nlat, query.nlon, key.nlat, key.nlon)) {
    spec_.query.latitudes = query.latitudes;
    spec_.key.latitudes = key.latitudes;
  }
  explicit Sphere(Grid grid) : Sphere(grid, grid) {}
  Sphere& cutoff(double radians) { return spec_.cutoff = radians, spec_.has_cutoff = 1, *this; }
  Sphere& tolerance(double value) { return spec_.tolerance = value, *this; }
  Sphere& global(bool value = true) { return spec_.is_global = value ? 1 : 0, *this; }

  operator const nf_pattern*() const { return &spec_.pattern; }
  const nf_sphere& spec() const { return spec_; }

 private:
  nf_sphere spec_;
};

// nf_options with its defaults filled in. Set its fields, or chain.
struct Options : nf_options {
  Options() : nf_options{} { struct_size = sizeof(nf_options); }
  Options& with_scale(double value) {
    scale = value;
    has_scale = 1;
    return *this;
  }
  Options& with_engine(nf_engine value) { return engine = value, *this; }
  Options& with_isa(nf_isa value) { return isa = value, *this; }
  Options& with_kernel(nf_kernel value) { return kernel = value, *this; }
  Options& with_threads(int32_t count) { return num_threads = count, *this; }
  // At least forward_workspace() bytes of the caller's; one call at a time may use them.
  Options& with_workspace(std::span<std::byte> memory) {
    workspace = memory.data();
    workspace_size = memory.size();
    return *this;
  }
  // run(count, body) calls body(i) once for every i in [0, count) and returns when all are done. It must outlive the
  // options and not throw.
  template <class Run>
  Options& with_parallel_for(Run& run) {
    parallel_for_context = &run;
    parallel_for = [](void* context, int64_t count, void (*body)(void*, int64_t), void* body_context) {
      (*static_cast<Run*>(context))(count, [=](int64_t index) { body(body_context, index); });
    };
    return *this;
  }
};

// What may come with a call and usually doesn't; nf_modifiers has the shapes.
struct Modifiers {
  std::optional<Tensor> additional_keys = {}, additional_values = {}, key_mask = {}, key_weights = {}, bias = {};
  double softcap = 0;
};

// Where the gradients go; an absent one is not computed.
struct Gradients {
  std::optional<Tensor> query = {}, key = {}, value = {}, additional_keys = {}, additional_values = {},
                        key_weights = {}, bias = {};
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
inline nf_gradients lower(const Gradients& g) {
  return {sizeof(nf_gradients),
          pointer(g.query),
          pointer(g.key),
          pointer(g.value),
          pointer(g.additional_keys),
          pointer(g.additional_values),
          pointer(g.key_weights),
          pointer(g.bias)};
}
}  // namespace detail

// ---- attention ---------------------------------------------------------------------------------------------------

// out = attention(query, key, value) over the pattern; logsumexp too if given. See nf_forward.
inline void forward(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& value,
                    const Tensor& out, const std::optional<Tensor>& logsumexp = {}, const Options& options = {},
                    const Modifiers& modifiers = {}) {
  const nf_modifiers m = detail::lower(modifiers);
  detail::check(nf_forward(pattern, &query, &key, &value, &m, &options, &out, detail::pointer(logsumexp)));
}

// Gradients of the forward that gave out and logsumexp. See nf_backward.
inline void backward(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& value,
                     const Tensor& out, const Tensor& logsumexp, const Tensor& dout, const Gradients& gradients,
                     const std::optional<Tensor>& dlogsumexp = {}, const Options& options = {},
                     const Modifiers& modifiers = {}) {
  const nf_modifiers m = detail::lower(modifiers);
  const nf_gradients g = detail::lower(gradients);
  detail::check(nf_backward(pattern, &query, &key, &value, &m, &options, &out, &logsumexp, &dout,
                            detail::pointer(dlogsumexp), &g));
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

// Bytes for Options::with_workspace. Data pointers may be null.
inline size_t forward_workspace(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& value,
                                const Options& options = {}, const Modifiers& modifiers = {}) {
  size_t bytes = 0;
  const nf_modifiers m = detail::lower(modifiers);
  detail::check(nf_forward_workspace(pattern, &query, &key, &value, &m, &options, &bytes));
  return bytes;
}

// The same of backward. Of gradients, only which are given matters.
inline nf_explanation explain_backward(const nf_pattern* pattern, const Tensor& query, const Tensor& key,
                                       const Tensor& value, const Gradients& gradients, const Options& options = {},
                                       const Modifiers& modifiers = {}) {
  nf_explanation result{};
  result.struct_size = sizeof result;
  const nf_modifiers m = detail::lower(modifiers);
  const nf_gradients g = detail::lower(gradients);
  detail::check(nf_explain_backward(pattern, &query, &key, &value, &m, &options, &g, &result));
  return result;
}
inline size_t backward_workspace(const nf_pattern* pattern, const Tensor& query, const Tensor& key, const Tensor& value,
                                 const Gradients& gradients, const Options& options = {},
                                 const Modifiers& modifiers = {}) {
  size_t bytes = 0;
  const nf_modifiers m = detail::lower(modifiers);
  const nf_gradients g = detail::lower(gradients);
  detail::check(nf_backward_workspace(pattern, &query, &key, &value, &m, &options, &g, &bytes));
  return bytes;
}

// ---- ragged batches ----------------------------------------------------------------------------------------------

// Pieces of different sizes, packed one after the other: Ragged(1, lengths), Ragged(2, {32, 48, 20, 20}) for images of
// 32x48 and 20x20.
class Ragged {
 public:
  Ragged(int rank, ListOf<int64_t> grids) : rank_(rank), grids_(grids.begin(), grids.end()) {
    const size_t axes = rank < 1 ? 1 : static_cast<size_t>(rank);
    if (grids_.size() % axes != 0)
      detail::refuse("grids: has " + std::to_string(grids_.size()) + " values: must have " + std::to_string(axes) +
                     " for each piece");
    for (size_t i = 0; i < grids_.size(); i += axes) {
      uint64_t tokens = 1;  // unsigned: the call that uses the pieces refuses sizes that overflow
      for (size_t a = 0; a < axes; ++a) tokens *= static_cast<uint64_t>(grids_[i + a]);
      offsets_.push_back(static_cast<int64_t>(static_cast<uint64_t>(offsets_.back()) + tokens));
    }
  }
  int64_t tokens() const { return offsets_.back(); }  // of all pieces
  const std::vector<int64_t>& token_offsets() const { return offsets_; }

  // The pattern's rank tells the C ABI how long the list of grids is, so the two must agree.
  nf_ragged lower(const nf_pattern* pattern) const {
    if (pattern != nullptr && pattern->rank != rank_)
      detail::refuse("ragged: has grids of " + std::to_string(rank_) + " axes: must have the pattern's " +
                     std::to_string(pattern->rank));
    return {sizeof(nf_ragged), static_cast<int64_t>(offsets_.size()) - 1, offsets_.data(), grids_.data()};
  }

 private:
  int rank_;
  std::vector<int64_t> grids_, offsets_ = {0};
};

// Forward of every piece of packed tensors. See nf_forward_ragged.
inline void forward_ragged(const nf_pattern* pattern, const Ragged& ragged, const Tensor& query, const Tensor& key,
                           const Tensor& value, const Tensor& out, const std::optional<Tensor>& logsumexp = {},
                           const Options& options = {}, const Modifiers& modifiers = {}) {
  const nf_ragged r = ragged.lower(pattern);
  const nf_modifiers m = detail::lower(modifiers);
  detail::check(nf_forward_ragged(pattern, &r, &query, &key, &value, &m, &options, &out, detail::pointer(logsumexp)));
}

// Gradients of every piece; bias's are added up. See nf_backward_ragged.
inline void backward_ragged(const nf_pattern* pattern, const Ragged& ragged, const Tensor& query, const Tensor& key,
                            const Tensor& value, const Tensor& out, const Tensor& logsumexp, const Tensor& dout,
                            const Gradients& gradients, const std::optional<Tensor>& dlogsumexp = {},
                            const Options& options = {}, const Modifiers& modifiers = {}) {
  const nf_ragged r = ragged.lower(pattern);
  const nf_modifiers m = detail::lower(modifiers);
  const nf_gradients g = detail::lower(gradients);
  detail::check(nf_backward_ragged(pattern, &r, &query, &key, &value, &m, &options, &out, &logsumexp, &dout,
                                   detail::pointer(dlogsumexp), &g));
}

// ---- merging -----------------------------------------------------------------------------------------------------

// What one attention of several left, each of the same queries over keys of its own.
struct MergePart {
  Tensor out, logsumexp;
};
// Where a part's gradients go; an absent one is not computed.
struct MergeGradients {
  std::optional<Tensor> out = {}, logsumexp = {};
};

namespace detail {
inline const nf_tensor* pointer(const Tensor& tensor) { return &tensor; }
template <class Part>
std::vector<nf_merge_part> lower(ListOf<Part> parts) {
  std::vector<nf_merge_part> result;
  for (const Part& part : parts) result.push_back({pointer(part.out), pointer(part.logsumexp)});
  return result;
}
}  // namespace detail

// The one softmax over the keys of all parts: merge({{out_a, lse_a}, {out_b, lse_b}}, out, lse). See nf_merge.
inline void merge(ListOf<MergePart> parts, const Tensor& out, const std::optional<Tensor>& logsumexp = {},
                  const Options& options = {}) {
  const std::vector<nf_merge_part> p = detail::lower(parts);
  detail::check(nf_merge(static_cast<int32_t>(p.size()), p.data(), &options, &out, detail::pointer(logsumexp)));
}

// Gradients of each part, from those of merge's out and logsumexp. See nf_merge_backward.
inline void merge_backward(ListOf<MergePart> parts, const Tensor& dout, ListOf<MergeGradients> gradients,
                           const std::optional<Tensor>& dlogsumexp = {}, const Options& options = {}) {
  if (gradients.size() != parts.size())
    detail::refuse("gradients: has " + std::to_string(gradients.size()) + " values: must have one for each of the " +
                   std::to_string(parts.size()) + " parts");
  const std::vector<nf_merge_part> p = detail::lower(parts), g = detail::lower(gradients);
  detail::check(nf_merge_backward(static_cast<int32_t>(p.size()), p.data(), &options, &dout,
                                  detail::pointer(dlogsumexp), g.data()));
}

// ---- the library and the machine ---------------------------------------------------------------------------------

inline std::string_view version() { return nf_version(); }
inline std::string_view cpu_model() { return nf_cpu_model(); }
// What num_threads = 0 gives. An Error if NEARFIELD_NUM_THREADS is no positive integer.
inline int default_num_threads() {
  const int32_t threads = nf_default_num_threads();
  if (threads == 0) detail::refuse(nf_last_error());
  return threads;
}

// "avx2", "cpu", "band", "float32", ...; "unknown" outside the enumerations.
inline std::string_view name(nf_isa isa) { return nf_isa_name(isa) ? nf_isa_name(isa) : "unknown"; }
inline std::string_view name(nf_engine engine) { return nf_engine_name(engine) ? nf_engine_name(engine) : "unknown"; }
inline std::string_view name(nf_kernel kernel) { return nf_kernel_name(kernel) ? nf_kernel_name(kernel) : "unknown"; }
inline std::string_view name(nf_dtype dtype) { return nf_dtype_name(dtype) ? nf_dtype_name(dtype) : "unknown"; }
inline std::string_view name(nf_status status) { return nf_status_name(status) ? nf_status_name(status) : "unknown"; }

inline bool available(nf_isa isa) { return nf_isa_unavailable(isa) == nullptr; }
inline bool available(nf_engine engine) { return nf_engine_unavailable(engine) == nullptr; }

// What NF_ISA_AUTO gives. An Error if NEARFIELD_ISA names none that runs here.
inline nf_isa selected_isa() {
  const auto isa = static_cast<nf_isa>(nf_selected_isa());
  if (isa == NF_ISA_AUTO) detail::refuse(nf_last_error());
  return isa;
}

// GFLOP/s of one thread, from registers. See nf_measure_peak.
inline double measure_peak(nf_isa isa = NF_ISA_AUTO, nf_dtype dtype = NF_FLOAT32, double seconds = 0.1) {
  double gflops = 0;
  detail::check(nf_measure_peak(isa, dtype, seconds, &gflops));
  return gflops;
}

// One line: "engine=cpu isa=avx2 kernel=band threads=8 waste=1.05: why".
inline std::string to_string(const nf_explanation& e) {
  std::string text = "engine=" + std::string(name(static_cast<nf_engine>(e.engine)));
  if (e.isa != NF_ISA_AUTO) text += " isa=" + std::string(name(static_cast<nf_isa>(e.isa)));
  if (e.kernel != NF_KERNEL_AUTO) text += " kernel=" + std::string(name(static_cast<nf_kernel>(e.kernel)));
  const std::string waste = std::to_string(e.waste);
  return text + " threads=" + std::to_string(e.num_threads) + " waste=" + waste.substr(0, waste.find('.') + 3) + ": " +
         e.reason;
}

}  // namespace nearfield
#include "nearfield/unfused.hpp"
