#include "unfused_case.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "check/public_pattern.h"
#include "pattern/windows.h"
#include "views.h"

namespace nearfield::property {
namespace {

using core::DenseTensor, core::TensorView;

constexpr const char* kNames[] = {"weights",
                                  "out",
                                  "gradient of query",
                                  "gradient of key",
                                  "gradient of additional_keys",
                                  "gradient of bias",
                                  "gradient of weights",
                                  "gradient of value",
                                  "gradient of additional_values"};

core::RandomProblemOptions options_of(uint64_t seed) {
  core::RandomProblemOptions options;
  options.spheres = options.key_weights = options.softcap = false;
  if (seed % 3 == 0) options.additional_keys = options.key_mask = options.bias = false;
  options.max_pairs = 20000;
  options.max_multiplies = 300000;
  options.max_head_dim = 160;
  return options;
}

double norm_of(const DenseTensor& tensor) {
  double sum = 0;
  for (const double x : tensor.values)
    if (std::isfinite(x)) sum += x * x;
  return std::sqrt(sum);
}
double largest_of(const DenseTensor& tensor) {
  double largest = 0;
  for (const double x : tensor.values)
    if (std::isfinite(x)) largest = std::max(largest, std::fabs(x));
  return largest;
}

}  // namespace

UnfusedCase::UnfusedCase(uint64_t seed, const UnfusedOptions& options)
    : choice_(seed + 17), random_(seed, options_of(seed)) {
  const core::Problem& p = random_.problem();
  problem_ = {.pattern = p.pattern, .shape = p.shape, .key_mask = p.modifiers.key_mask};
  core::weight_slots(p.pattern, problem_.slots);
  const core::Shape& shape = p.shape;
  double elements = static_cast<double>(shape.batch * shape.tokens() * shape.heads);
  double columns = 1;
  for (const int64_t slots : problem_.slots) columns *= static_cast<double>(slots);
  elements *= columns + static_cast<double>(shape.additional);
  usable_ = elements >= 1 && elements <= 40000;
  if (!usable_) return;
  draw_weights();
  if (options.not_finite) plant();
  expect();
  for (auto& buffer : sources_) buffer->remember();
}

// Of the sizes of `like`; with room for what may be written around it.
TensorView UnfusedCase::place(std::vector<std::unique_ptr<core::GuardedBuffer>>& buffers, core::DType dtype,
                              const TensorView& like, bool keep_last) {
  const core::Layout layout = core::random_layout(
      choice_, dtype, std::vector<int64_t>(like.sizes, like.sizes + like.rank), {.keep_last = keep_last});
  buffers.push_back(std::make_unique<core::GuardedBuffer>(layout.bytes));
  return buffers.back()->view(layout);
}

void UnfusedCase::draw_weights() {
  const core::Problem& p = random_.problem();
  const core::Modifiers& m = p.modifiers;
  const core::DType dtype = p.query.dtype, wide = core::accumulator_of(dtype);
  TensorView like = p.query;
  like.sizes[like.rank - 1] = problem_.columns();
  const auto fill = [&](const TensorView& view, double scale) {
    core::for_each_element(view, [&](const core::ElementIndex&, int64_t element) {
      core::store_double(view.at(element), view.dtype, scale * choice_.normal());
    });
  };
  // Random where a slot is seen, NaN where it is hidden: a product of zeros marks those.
  const auto draw = [&](double scale) {
    const TensorView view = place(sources_, choice_.chance(0.5) ? wide : dtype, like, true);
    DenseTensor hidden(view);
    reference_pairs(problem_, {.near = p.query,
                               .far = p.key,
                               .additional = m.additional_keys,
                               .scale = 0,
                               .hidden = -HUGE_VAL,
                               .weights = hidden.view});
    fill(view, scale);
    core::for_each_element(hidden.view, [&](const core::ElementIndex& index, int64_t element) {
      if (hidden.values[static_cast<size_t>(element)] != -HUGE_VAL) return;
      int64_t at = 0;
      for (int d = 0; d < view.rank; ++d) at += index[static_cast<size_t>(d)] * view.strides[d];
      core::store_double(view.at(at), view.dtype, std::nan(""));
    });
    return view;
  };
  weights_ = draw(0.3);
  dweights_ = draw(1);
  like.sizes[like.rank - 1] = p.shape.head_dim_v;
  dout_ = place(sources_, dtype, like, true);
  fill(dout_, 1);
  const auto target = [&](Output which, core::DType type, const TensorView& of, bool keep_last) {
    if (of.rank == 0) return;
    outputs_[which] = place(targets_, type, of, keep_last);
    targets_.back()->claim(outputs_[which]);
  };
  const auto either = [&] { return choice_.chance(0.5) ? wide : dtype; };
  target(kWeights, either(), weights_, true);
  target(kOut, dtype, dout_, true);
  target(kDquery, dtype, p.query, true);
  target(kDkey, dtype, p.key, true);
  if (m.additional_keys) target(kDadditionalKeys, dtype, m.additional_keys, true);
  if (m.bias) target(kDbias, m.bias.dtype, m.bias, false);
  target(kDweights, either(), weights_, true);
  target(kDvalue, dtype, p.value, true);
  if (m.additional_values) target(kDadditionalValues, dtype, m.additional_values, true);
}

// One element of one input is no number.
void UnfusedCase::plant() {
  const core::Problem& p = random_.problem();
  const std::pair<const char*, const TensorView*> tensors[] = {
      {"query", &p.query}, {"key", &p.key}, {"value", &p.value}, {"dout", &dout_}, {"weights", &weights_}};
  const auto& [name, tensor] = tensors[choice_.below(5)];
  const double values[] = {std::nan(""), HUGE_VAL, -HUGE_VAL};
  int64_t element = 0;
  for (int d = 0; d < tensor->rank; ++d) element += choice_.below(tensor->sizes[d]) * tensor->strides[d];
  const double value = values[choice_.below(3)];
  core::store_double(tensor->at(element), tensor->dtype, value);
  planted_ = core::concat(" ", value, " in ", name);
}

void UnfusedCase::expect() {
  const core::Problem& p = random_.problem();
  const core::Modifiers& m = p.modifiers;
  for (int i = 0; i < kOutputs; ++i) expected_[i] = DenseTensor(outputs_[i]);
  for (int i = 0; i < kOutputs; ++i) magnitudes_[i] = DenseTensor(outputs_[i]);
  auto& e = expected_;
  reference_pairs(problem_, {.near = p.query,
                             .far = p.key,
                             .additional = m.additional_keys,
                             .bias = m.bias,
                             .scale = p.scale,
                             .hidden = -HUGE_VAL,
                             .weights = e[kWeights].view});
  reference_pairs(problem_,
                  {.near = dout_, .far = p.value, .additional = m.additional_values, .weights = e[kDweights].view});
  for (const bool magnitude : {false, true}) {
    auto& to = magnitude ? magnitudes_ : expected_;
    const auto gather = magnitude ? core::reference_gather_magnitudes : core::reference_gather;
    const auto scatter = magnitude ? core::reference_scatter_magnitudes : core::reference_scatter;
    gather(problem_, {.weights = weights_, .far = p.value, .additional = m.additional_values, .near = to[kOut].view});
    gather(problem_, {.weights = dweights_,
                      .far = p.key,
                      .additional = m.additional_keys,
                      .factor = p.scale,
                      .near = to[kDquery].view});
    scatter(problem_, {.weights = dweights_,
                       .near = p.query,
                       .factor = p.scale,
                       .far = to[kDkey].view,
                       .additional = to[kDadditionalKeys].view});
    scatter(problem_,
            {.weights = weights_, .near = dout_, .far = to[kDvalue].view, .additional = to[kDadditionalValues].view});
    if (m.bias)
      (magnitude ? core::reference_bias_magnitudes : core::reference_bias)(
          problem_, {.weights = dweights_, .bias = to[kDbias].view});
  }
}

// Logits as out: an absolute error, which grows with them and, stored in 16 bits, with their rounding. Sums as
// gradients.
core::Tolerance UnfusedCase::tolerance(Output output) {
  const core::Promise promise = core::promise_of(random_.problem().query.dtype);
  if (output == kWeights || output == kDweights) {
    const double grown = std::max(1.0, largest_of(expected_[output]) / 16);
    return {promise.out_max * grown, promise.out_l2, 0, 0, 0};
  }
  const double count = static_cast<double>(expected_[output].values.size());
  return {4 * promise.gradient_l2 * std::max(largest_of(expected_[output]), largest_of(magnitudes_[output])) +
              promise.smallest,
          0, promise.gradient_l2, 1e-2 * norm_of(magnitudes_[output]), promise.smallest * std::sqrt(count)};
}

std::string UnfusedCase::run(const cli::CheckSetting& setting) {
  const core::Problem& p = random_.problem();
  const core::Modifiers& m = p.modifiers;
  random_.poison();
  for (auto& buffer : targets_) buffer->poison();
  const core::PublicPattern pattern = core::public_pattern(p.pattern);
  nf_tensor tensors[24];
  int used = 0;
  const auto give = [&](const TensorView& view) -> const nf_tensor* {
    if (!view) return nullptr;
    tensors[used] = cli::public_tensor(view);
    return &tensors[used++];
  };
  nf_modifiers modifiers = {
      sizeof modifiers, give(m.additional_keys), give(m.additional_values), give(m.key_mask), nullptr, give(m.bias), 0};
  nf_options options = nf_default_options();
  options.engine = setting.engine;
  options.isa = setting.isa;
  options.num_threads = setting.threads;
  options.has_scale = 1;
  options.scale = p.scale;
  const nf_pattern* const head = core::head_of(pattern);
  const nf_tensor *query = give(p.query), *key = give(p.key), *value = give(p.value);
  const auto& o = outputs_;
  const nf_qk_gradients of_qk = {sizeof(nf_qk_gradients), give(o[kDquery]), give(o[kDkey]), give(o[kDadditionalKeys]),
                                 give(o[kDbias])};
  const nf_av_gradients of_av = {sizeof(nf_av_gradients), give(o[kDweights]), give(o[kDvalue]),
                                 give(o[kDadditionalValues])};
  const nf_tensor *weights = give(weights_), *dweights = give(dweights_), *dout = give(dout_);
  const auto failed = [](const char* name, nf_status status) {
    return status == NF_OK ? "" : core::concat(name, ": ", nf_status_name(status), ": ", nf_last_error());
  };
  std::string failure = failed("qk", nf_qk(head, query, key, &modifiers, &options, give(o[kWeights])));
  if (failure.empty()) failure = failed("av", nf_av(head, weights, value, &modifiers, &options, give(o[kOut])));
  if (failure.empty())
    failure = failed("qk_backward", nf_qk_backward(head, query, key, &modifiers, &options, dweights, &of_qk));
  if (failure.empty())
    failure = failed("av_backward", nf_av_backward(head, weights, value, &modifiers, &options, dout, &of_av));
  if (failure.empty()) failure = random_.damage();
  for (const auto* buffers : {&sources_, &targets_})
    for (const auto& buffer : *buffers)
      if (failure.empty()) failure = buffer->damage();
  return failure;
}

std::string UnfusedCase::check(const cli::CheckSetting& setting) {
  std::string failure = run(setting);
  for (int i = 0; i < kOutputs && failure.empty(); ++i)
    if (outputs_[i])
      failure =
          core::compare_tensors(kNames[i], outputs_[i], expected_[i].view, tolerance(static_cast<Output>(i))).failure;
  return failure;
}

std::vector<std::byte> UnfusedCase::bits(const cli::CheckSetting& setting, std::string& failure) {
  failure = run(setting);
  std::vector<std::byte> all;
  for (const TensorView& output : outputs_) {
    if (!output) continue;
    const std::vector<std::byte> bytes = bits_of(output);
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  return all;
}

std::string UnfusedCase::describe() const { return random_.describe() + planted_; }

}  // namespace nearfield::property
