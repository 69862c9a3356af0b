#include "check/random_problem.h"

#include <cmath>

#include "base/error.h"
#include "check/random_geometry.h"
#include "engine/reference/reference.h"
#include "pattern/curve.h"

namespace nearfield::core {

// Draws a problem's parts in a fixed order.
class RandomProblemBuilder {
 public:
  RandomProblemBuilder(RandomProblem& target, uint64_t seed, const RandomProblemOptions& options)
      : target_(target), problem_(target.problem_), shape_(target.problem_.shape), options_(options), random_(seed) {}

  void build() {
    dtype_ = options_.dtypes.at(static_cast<size_t>(random_.below(static_cast<int64_t>(options_.dtypes.size()))));
    const Geometry geometry = random_geometry(random_, options_);
    problem_.shape = geometry.shape;
    problem_.pattern = geometry.pattern;
    problem_.threading = options_.threading;
    draw_scale();
    draw_inputs();
    draw_modifiers();
    draw_outputs();
    if (options_.gradients) {
      draw_backward_inputs();
      draw_gradients();
    }
    target_.poison();
  }

 private:
  // ---- memory ------------------------------------------------------------------------------------------------

  TensorView place(std::vector<std::unique_ptr<GuardedBuffer>>& buffers, const Layout& layout) {
    buffers.push_back(std::make_unique<GuardedBuffer>(layout.bytes));
    return buffers.back()->view(layout);
  }

  void fill_normal(const TensorView& view) {
    for_each_element(view, [&](const ElementIndex&, int64_t element) {
      store_double(view.at(element), view.dtype, random_.normal());
    });
  }

  TensorView source(DType dtype, const std::vector<int64_t>& sizes, const LayoutFreedom& freedom) {
    return place(target_.sources_, random_layout(random_, dtype, sizes, freedom));
  }
  TensorView normal_source(DType dtype, const std::vector<int64_t>& sizes, const LayoutFreedom& freedom) {
    const TensorView view = source(dtype, sizes, freedom);
    fill_normal(view);
    return view;
  }
  TensorView target(DType dtype, const std::vector<int64_t>& sizes, const LayoutFreedom& freedom) {
    const TensorView view = place(target_.targets_, random_layout(random_, dtype, sizes, freedom));
    target_.targets_.back()->claim(view);
    return view;
  }

  // (batch, *grid, tail...)
  std::vector<int64_t> grid_sizes(const std::vector<int64_t>& tail) const {
    std::vector<int64_t> sizes{shape_.batch};
    sizes.insert(sizes.end(), shape_.grid, shape_.grid + shape_.rank);
    sizes.insert(sizes.end(), tail.begin(), tail.end());
    return sizes;
  }
  // The same on the grid of keys.
  std::vector<int64_t> key_grid_sizes(const std::vector<int64_t>& tail) const {
    std::vector<int64_t> sizes = grid_sizes(tail);
    if (const auto& sphere = problem_.pattern.sphere) {
      sizes[1] = sphere->key.grids.key.nlat;
      sizes[2] = sphere->key.grids.key.nlon;
    }
    return sizes;
  }
  std::vector<int64_t> query_sizes() const { return grid_sizes({shape_.heads, shape_.head_dim}); }
  std::vector<int64_t> key_sizes() const { return key_grid_sizes({shape_.heads_kv, shape_.head_dim}); }
  std::vector<int64_t> value_sizes() const { return key_grid_sizes({shape_.heads_kv, shape_.head_dim_v}); }
  std::vector<int64_t> out_sizes() const { return grid_sizes({shape_.heads, shape_.head_dim_v}); }

  // Query, key and value side by side in each token of one buffer, as a fused projection leaves them.
  std::vector<TensorView> place_packed(std::vector<std::unique_ptr<GuardedBuffer>>& buffers) {
    const std::vector<int64_t> parts[3] = {query_sizes(), key_sizes(), value_sizes()};
    int64_t per_token = 0;
    for (const auto& sizes : parts) per_token += sizes[sizes.size() - 2] * sizes.back();
    Layout whole = random_layout(random_, dtype_, grid_sizes({1, per_token}), LayoutFreedom{});
    const TensorView token = place(buffers, whole);
    std::vector<TensorView> views;
    int64_t first = 0;
    for (const auto& sizes : parts) {
      TensorView view = token;
      const size_t rank = sizes.size();
      view.data = token.at(first);
      view.sizes[rank - 2] = sizes[rank - 2];
      view.sizes[rank - 1] = sizes[rank - 1];
      view.strides[rank - 2] = sizes[rank - 1];
      first += sizes[rank - 2] * sizes[rank - 1];
      views.push_back(view);
    }
    return views;
  }

  // ---- forward -----------------------------------------------------------------------------------------------

  void draw_scale() {
    const double usual = 1 / std::sqrt(static_cast<double>(shape_.head_dim));
    const double kind = random_.uniform();
    problem_.scale = usual;
    if (kind < 0.04) problem_.scale = 0;
    if (kind >= 0.8) problem_.scale = usual * (4 * random_.uniform() - 2);
  }

  void draw_inputs() {
    if (random_.chance(0.2) && grid_sizes({}) == key_grid_sizes({})) {
      const std::vector<TensorView> packed = place_packed(target_.sources_);
      for (const TensorView& view : packed) fill_normal(view);
      problem_.query = packed[0];
      problem_.key = packed[1];
      problem_.value = packed[2];
      return;
    }
    const LayoutFreedom freedom{.keep_last = true, .broadcast = true};
    problem_.query = normal_source(dtype_, query_sizes(), freedom);
    problem_.key = normal_source(dtype_, key_sizes(), freedom);
    problem_.value = normal_source(dtype_, value_sizes(), freedom);
  }

  // float32 (float64 with float64), or the query's dtype.
  DType modifier_dtype() { return random_.chance(0.5) ? accumulator_of(dtype_) : dtype_; }

  void draw_modifiers() {
    Modifiers& modifiers = problem_.modifiers;
    if (shape_.additional > 0 || (options_.additional_keys && random_.chance(0.05))) {
      modifiers.additional_keys =
          normal_source(dtype_, {shape_.batch, shape_.additional, shape_.heads_kv, shape_.head_dim}, {});
      modifiers.additional_values =
          normal_source(dtype_, {shape_.batch, shape_.additional, shape_.heads_kv, shape_.head_dim_v}, {});
    }
    if (options_.key_mask && random_.chance(0.35)) draw_mask();
    if (options_.key_weights && random_.chance(0.35)) draw_weights();
    if (options_.bias && random_.chance(0.35)) draw_bias();
    if (options_.softcap && random_.chance(0.35)) modifiers.softcap = 2 + 20 * random_.uniform();
  }

  void draw_bias() {
    if (problem_.pattern.sphere) return;
    constexpr int64_t kMostEntries = 20000;  // windows far beyond a small 3-D grid would cost more than the problem
    std::vector<int64_t> sizes{shape_.heads};
    int64_t entries = shape_.heads;
    int64_t extents[kMaxGridRank];
    bias_extents(problem_.pattern, extents);
    for (int a = 0; a < shape_.rank; ++a) {
      sizes.push_back(2 * extents[a] - 1);
      entries *= sizes.back();
    }
    if (entries > kMostEntries) return;
    problem_.modifiers.bias = normal_source(modifier_dtype(), sizes, {.keep_last = false});
  }

  void draw_mask() {
    const TensorView mask = source(DType::boolean, key_grid_sizes({}), {.keep_last = false, .broadcast = true});
    const double density[4] = {0.95, 0.6, 0.1, 0};
    const double kept = density[random_.chance(0.1) ? 3 : random_.below(3)];
    for_each_element(mask, [&](const ElementIndex&, int64_t element) {
      *mask.at(element) = static_cast<std::byte>(random_.chance(kept));
    });
    problem_.modifiers.key_mask = mask;
    // Half of the masks hide NaN keys and values, which must not be read. Not where batches share the memory.
    if (!random_.chance(0.5)) return;
    for (const TensorView& view : {problem_.key, problem_.value}) {
      if (view.strides[0] == 0) continue;
      for_each_element(view, [&](const ElementIndex& index, int64_t element) {
        int64_t token = 0;
        for (int a = 0; a <= shape_.rank; ++a) token += index[static_cast<size_t>(a)] * mask.strides[a];
        if (*mask.at(token) == std::byte{0}) store_double(view.at(element), view.dtype, std::nan(""));
      });
    }
  }

  void draw_weights() {
    const DType dtype = modifier_dtype();
    TensorView weights = source(dtype, key_grid_sizes({}), {.keep_last = false, .broadcast = true});
    if (shape_.batch > 0 && random_.chance(0.4)) weights.strides[0] = 0;  // given as (*grid)
    const double zeros = random_.chance(0.5) ? 0 : 0.2;
    for_each_element(weights, [&](const ElementIndex&, int64_t element) {
      store_double(weights.at(element), dtype, random_.chance(zeros) ? 0 : 0.05 + 2 * random_.uniform());
    });
    problem_.modifiers.key_weights = weights;
  }

  void draw_outputs() {
    target_.outputs_.out = target(dtype_, out_sizes(), {});
    if (random_.chance(0.8)) {
      target_.outputs_.logsumexp = target(accumulator_of(dtype_), grid_sizes({shape_.heads}), {.keep_last = false});
    }
  }

  // ---- backward ----------------------------------------------------------------------------------------------

  void draw_backward_inputs() {
    BackwardInputs& inputs = target_.inputs_;
    inputs.out = source(dtype_, out_sizes(), {});
    inputs.logsumexp = source(accumulator_of(dtype_), grid_sizes({shape_.heads}), {.keep_last = false});
    reference_forward(problem_, {inputs.out, inputs.logsumexp});
    inputs.dout = normal_source(dtype_, out_sizes(), {.keep_last = true, .broadcast = true});
    if (random_.chance(0.6)) {
      inputs.dlogsumexp = normal_source(accumulator_of(dtype_), grid_sizes({shape_.heads}), {.keep_last = false});
    }
  }

  // Null if the problem has no such tensor, and now and then otherwise.
  TensorView gradient(const TensorView& of, const LayoutFreedom& freedom) {
    if (!of || (!options_.all_gradients && random_.chance(0.15))) return {};
    return target(of.dtype, std::vector<int64_t>(of.sizes, of.sizes + of.rank), freedom);
  }

  void draw_gradients() {
    Gradients& gradients = target_.gradients_;
    const Modifiers& modifiers = problem_.modifiers;
    if (random_.chance(0.2) && grid_sizes({}) == key_grid_sizes({})) {
      const std::vector<TensorView> packed = place_packed(target_.targets_);
      for (const TensorView& view : packed) target_.targets_.back()->claim(view);
      gradients.query = packed[0];
      gradients.key = packed[1];
      gradients.value = packed[2];
    } else {
      gradients.query = gradient(problem_.query, {});
      gradients.key = gradient(problem_.key, {});
      gradients.value = gradient(problem_.value, {});
    }
    gradients.additional_keys = gradient(modifiers.additional_keys, {});
    gradients.additional_values = gradient(modifiers.additional_values, {});
    gradients.bias = gradient(modifiers.bias, {.keep_last = false});
    draw_weights_gradient();
  }

  // Weights given as (*grid) have one gradient for all batches, with batch stride 0 as the weights themselves.
  void draw_weights_gradient() {
    const TensorView& weights = problem_.modifiers.key_weights;
    if (!weights || (!options_.all_gradients && random_.chance(0.15))) return;
    const bool shared = weights.strides[0] == 0;
    std::vector<int64_t> sizes(weights.sizes, weights.sizes + weights.rank);
    if (shared) sizes[0] = 1;
    TensorView view = target(weights.dtype, sizes, {.keep_last = false});
    if (shared) {
      view.sizes[0] = shape_.batch;
      view.strides[0] = 0;
    }
    target_.gradients_.key_weights = view;
  }

  RandomProblem& target_;
  Problem& problem_;
  const Shape& shape_;
  const RandomProblemOptions& options_;
  Random random_;
  DType dtype_ = DType::float32;
};

RandomProblem::RandomProblem(uint64_t seed, const RandomProblemOptions& options) : seed_(seed) {
  RandomProblemBuilder(*this, seed, options).build();
}

void RandomProblem::poison() {
  for (auto& buffer : targets_) buffer->poison();
  for (auto& buffer : sources_) buffer->remember();
}

std::string RandomProblem::damage() const {
  for (const auto& buffer : targets_) {
    if (const std::string text = buffer->damage(); !text.empty()) return "outside of the outputs: " + text;
  }
  for (const auto& buffer : sources_) {
    if (const std::string text = buffer->damage(); !text.empty()) return "in an input: " + text;
  }
  return "";
}

std::string RandomProblem::describe() const {
  const Modifiers& modifiers = problem_.modifiers;
  std::string text = concat("seed=", seed_, " dtype=", name_of(problem_.query.dtype), " ",
                            describe_geometry(problem_.shape, problem_.pattern), " scale=", problem_.scale,
                            " additional=", problem_.shape.additional, " softcap=", modifiers.softcap);
  const std::pair<const char*, const TensorView*> tensors[] = {{"query", &problem_.query},
                                                               {"key", &problem_.key},
                                                               {"value", &problem_.value},
                                                               {"key_mask", &modifiers.key_mask},
                                                               {"key_weights", &modifiers.key_weights},
                                                               {"bias", &modifiers.bias},
                                                               {"out", &outputs_.out},
                                                               {"logsumexp", &outputs_.logsumexp},
                                                               {"dlogsumexp", &inputs_.dlogsumexp},
                                                               {"dquery", &gradients_.query},
                                                               {"dkey", &gradients_.key},
                                                               {"dvalue", &gradients_.value},
                                                               {"dkey_weights", &gradients_.key_weights},
                                                               {"dbias", &gradients_.bias}};
  for (const auto& [name, view] : tensors) {
    if (*view) text += concat(" ", name, "=[", describe_layout(*view), "]");
  }
  return text;
}

}  // namespace nearfield::core
