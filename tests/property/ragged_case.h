// A random ragged call, and the same as one call for each piece, both on the same memory.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cases.h"
#include "check/guarded_buffer.h"

namespace nearfield::property {

using core::concat;
using core::DType;
using core::GuardedBuffer;
using core::TensorView;

// Packed tensors, by what divides them among the pieces.
enum class Division { tokens, pieces, shared };
struct Packed {
  TensorView view;  // rank 0: left out
  Division division = Division::tokens;
};
enum Name {
  kQuery,
  kKey,
  kValue,
  kAdditionalKeys,
  kAdditionalValues,
  kKeyMask,
  kKeyWeights,
  kBias,
  kOut,
  kLogsumexp,
  kDout,
  kDlogsumexp,
  kDquery,
  kDkey,
  kDvalue,
  kDadditionalKeys,
  kDadditionalValues,
  kDkeyWeights,
  kDbias,
  kNames
};

struct Statuses {
  nf_status forward = NF_OK, backward = NF_OK;
  std::string message;
};

class RaggedCase {
 public:
  explicit RaggedCase(uint64_t seed) : seed_(seed), random_(seed) {
    draw_pattern();
    draw_pieces();
    draw_sizes();
    draw_tensors();
    draw_options();
  }

  int64_t count() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  const Packed& operator[](Name name) const { return tensors_[name]; }

  void poison() {
    for (auto& buffer : targets_) buffer->poison();
    for (auto& buffer : sources_) buffer->remember();
  }
  std::string damage() const {
    for (const auto* buffers : {&targets_, &sources_})
      for (const auto& buffer : *buffers)
        if (const std::string text = buffer->damage(); !text.empty()) return text;
    return "";
  }

  Statuses run_ragged() const {
    const nf_ragged ragged = {sizeof ragged, count(), offsets_.data(), grids_.data()};
    Arguments a(*this);
    for (int n = 0; n < kNames; ++n) a.set(static_cast<Name>(n), tensors_[n].view);
    const nf_pattern* p = &pattern_.pattern;
    Statuses s;
    s.forward =
        nf_forward_ragged(p, &ragged, a[kQuery], a[kKey], a[kValue], &a.modifiers, &options_, a[kOut], a[kLogsumexp]);
    if (s.forward == NF_OK)
      s.backward = nf_backward_ragged(p, &ragged, a[kQuery], a[kKey], a[kValue], &a.modifiers, &options_, a[kOut],
                                      a[kLogsumexp], a[kDout], a[kDlogsumexp], &a.gradients);
    if (s.forward != NF_OK || s.backward != NF_OK) s.message = nf_last_error();
    return s;
  }

  // The first status that is not NF_OK. The bias gradients, each piece's own, are added to `bias_sum`.
  Statuses run_alone(std::vector<double>& bias_sum) const {
    Statuses all;
    for (int64_t piece = 0; piece < count(); ++piece) {
      Arguments a(*this);
      for (int n = 0; n < kNames; ++n) a.set(static_cast<Name>(n), of_piece(tensors_[n], piece));
      std::vector<double> memory(bias_sum.size());
      a.set(kDbias, own_bias(memory));
      nf_options options = options_;
      options.num_threads = 1;
      const nf_pattern* p = &pattern_.pattern;
      nf_status status = nf_forward(p, a[kQuery], a[kKey], a[kValue], &a.modifiers, &options, a[kOut], a[kLogsumexp]);
      if (status != NF_OK) keep(all.forward, status, all.message);
      if (status != NF_OK) continue;
      status = nf_backward(p, a[kQuery], a[kKey], a[kValue], &a.modifiers, &options, a[kOut], a[kLogsumexp], a[kDout],
                           a[kDlogsumexp], &a.gradients);
      if (status != NF_OK) keep(all.backward, status, all.message);
      const TensorView bias = own_bias(memory);
      for (size_t e = 0; e < bias_sum.size(); ++e)
        bias_sum[e] += core::load_double(bias.at(static_cast<int64_t>(e)), bias.dtype);
    }
    return all;
  }

  std::string describe() const {
    std::string text =
        concat("seed=", seed_, " dtype=", name_of(dtype_), " heads=", heads_, "/", heads_kv_, " head_dim=", dim_, "/",
               dim_v_, " engine=", nf_engine_name(options_.engine), " isa=", nf_isa_name(options_.isa),
               " threads=", options_.num_threads, " softcap=", softcap_, " pieces=");
    for (int64_t i = 0; i < count() * rank_; ++i)
      text += concat(i % rank_ == 0 ? " " : "x", grids_[static_cast<size_t>(i)]);
    for (int a = 0; a < rank_; ++a)
      text += concat("\n  axis ", a, ": kernel_size=", pattern_.kernel_size[a], " stride=", pattern_.stride[a],
                     " dilation=", pattern_.dilation[a], " is_causal=", pattern_.is_causal[a],
                     " boundary=", pattern_.boundary[a]);
    text += "\n  tensors:";
    for (int n = 0; n < kNames; ++n)
      if (tensors_[n].view.rank > 0) text += concat(" ", n);
    return text;
  }

 private:
  // C structs of one call, ragged or not.
  struct Arguments {
    nf_tensor tensors[kNames] = {};
    nf_modifiers modifiers = {};
    nf_gradients gradients = {};
    explicit Arguments(const RaggedCase& c) {
      modifiers.struct_size = sizeof modifiers;
      modifiers.softcap = c.softcap_;
      gradients.struct_size = sizeof gradients;
    }
    Arguments(const Arguments&) = delete;
    const nf_tensor* operator[](Name name) const { return tensors[name].rank > 0 ? &tensors[name] : nullptr; }
    void set(Name name, const TensorView& view) {
      if (view.rank == 0) return;
      tensors[name] = cli::public_tensor(view);
      const std::pair<Name, const nf_tensor**> places[] = {{kAdditionalKeys, &modifiers.additional_keys},
                                                           {kAdditionalValues, &modifiers.additional_values},
                                                           {kKeyMask, &modifiers.key_mask},
                                                           {kKeyWeights, &modifiers.key_weights},
                                                           {kBias, &modifiers.bias},
                                                           {kDquery, &gradients.query},
                                                           {kDkey, &gradients.key},
                                                           {kDvalue, &gradients.value},
                                                           {kDadditionalKeys, &gradients.additional_keys},
                                                           {kDadditionalValues, &gradients.additional_values},
                                                           {kDkeyWeights, &gradients.key_weights},
                                                           {kDbias, &gradients.bias}};
      for (const auto& [which, place] : places)
        if (which == name) *place = &tensors[name];
    }
  };

  static void keep(nf_status& first, nf_status status, std::string& message) {
    if (first != NF_OK) return;
    first = status;
    message = nf_last_error();
  }

  TensorView own_bias(std::vector<double>& memory) const {
    TensorView view = tensors_[kDbias].view;
    if (view.rank == 0) return view;
    view.dtype = core::accumulator_of(dtype_);
    view.data = reinterpret_cast<std::byte*>(memory.data());
    int64_t stride = 1;
    for (int d = view.rank - 1; d >= 0; stride *= view.sizes[d--]) view.strides[d] = stride;
    return view;
  }

  // The piece as a batch of one.
  TensorView of_piece(const Packed& packed, int64_t piece) const {
    TensorView view = packed.view;
    if (view.rank == 0 || packed.division == Division::shared) return view;
    if (packed.division == Division::pieces) {
      view.data = view.at(piece * view.strides[0]);
      view.sizes[0] = 1;
      return view;
    }
    view.data = view.at(offsets_[static_cast<size_t>(piece)] * view.strides[0]);
    view.rank += rank_;
    for (int d = packed.view.rank - 1; d > 0; --d) {
      view.sizes[d + rank_] = packed.view.sizes[d];
      view.strides[d + rank_] = packed.view.strides[d];
    }
    int64_t stride = packed.view.strides[0];
    for (int a = rank_ - 1; a >= 0; --a) {
      view.sizes[1 + a] = grids_[static_cast<size_t>(piece * rank_ + a)];
      view.strides[1 + a] = stride;
      stride *= view.sizes[1 + a];
    }
    view.sizes[0] = 1;
    return view;
  }

  void draw_pattern() {
    rank_ = static_cast<int>(random_.between(1, 3));
    const int64_t windows[3] = {1, 1, 1};
    pattern_ = nf_make_neighborhood(rank_, windows);
    for (int a = 0; a < rank_; ++a) {
      pattern_.kernel_size[a] = random_.between(1, rank_ == 1 ? 12 : 5);
      pattern_.stride[a] = random_.chance(0.7) ? 1 : random_.between(1, pattern_.kernel_size[a]);
      pattern_.dilation[a] = random_.between(1, 2);
      pattern_.boundary[a] = static_cast<int32_t>(random_.between(NF_CLAMP, NF_CUT));
      pattern_.is_causal[a] = pattern_.boundary[a] != NF_WRAP && random_.chance(0.3) ? 1 : 0;
    }
  }

  void draw_pieces() {
    const int64_t most_tokens[3] = {40, 8, 4};
    const int64_t pieces = random_.chance(0.05) ? 0 : random_.between(1, 7);
    for (int64_t i = 0; i < pieces; ++i) {
      int64_t tokens = 1;
      for (int a = 0; a < rank_; ++a) {
        int64_t length = random_.chance(0.05) ? 0 : random_.between(1, most_tokens[rank_ - 1]);
        if (pattern_.boundary[a] == NF_WRAP) length *= pattern_.dilation[a];
        grids_.push_back(length);
        tokens *= length;
      }
      offsets_.push_back(offsets_.back() + tokens);
    }
  }

  void draw_sizes() {
    const DType dtypes[] = {DType::float64, DType::float32, DType::bfloat16, DType::float16};
    dtype_ = dtypes[random_.below(4)];
    heads_kv_ = random_.between(1, 2);
    heads_ = heads_kv_ * random_.between(1, 2);
    dim_ = random_.skewed(40);
    dim_v_ = random_.chance(0.5) ? dim_ : random_.skewed(40);
    additional_ = random_.chance(0.1) ? 0 : random_.between(1, 4);
    has_modifiers_ = random_.chance(0.6);
  }

  bool modifier() { return has_modifiers_ && random_.chance(0.45); }
  DType parameter() { return random_.chance(0.5) ? dtype_ : core::accumulator_of(dtype_); }

  void draw_tensors() {
    const int64_t tokens = offsets_.back();
    const DType sums = core::accumulator_of(dtype_);
    source(kQuery, dtype_, {tokens, heads_, dim_});
    source(kKey, dtype_, {tokens, heads_kv_, dim_});
    source(kValue, dtype_, {tokens, heads_kv_, dim_v_});
    source(kDout, dtype_, {tokens, heads_, dim_v_});
    if (random_.chance(0.6)) source(kDlogsumexp, sums, {tokens, heads_});
    if (modifier()) {
      source(kAdditionalKeys, dtype_, {count(), additional_, heads_kv_, dim_}, Division::pieces);
      source(kAdditionalValues, dtype_, {count(), additional_, heads_kv_, dim_v_}, Division::pieces);
    }
    if (modifier()) {
      const TensorView view = source(kKeyMask, DType::boolean, {tokens});
      core::for_each_element(view, [&](const core::ElementIndex&, int64_t element) {
        *view.at(element) = static_cast<std::byte>(random_.chance(0.7));
      });
    }
    if (modifier()) {
      const TensorView view = source(kKeyWeights, parameter(), {tokens});
      core::for_each_element(view, [&](const core::ElementIndex&, int64_t element) {
        core::store_double(view.at(element), view.dtype, random_.chance(0.1) ? 0 : random_.uniform() + 0.1);
      });
    }
    if (modifier()) source(kBias, parameter(), bias_sizes(), Division::shared);
    if (modifier()) softcap_ = 1 + 10 * random_.uniform();
    target(kOut, dtype_, {tokens, heads_, dim_v_});
    target(kLogsumexp, sums, {tokens, heads_});
    for (const auto& [gradient, of] : {std::pair{kDquery, kQuery},
                                       {kDkey, kKey},
                                       {kDvalue, kValue},
                                       {kDadditionalKeys, kAdditionalKeys},
                                       {kDadditionalValues, kAdditionalValues},
                                       {kDkeyWeights, kKeyWeights},
                                       {kDbias, kBias}}) {
      const Packed& tensor = tensors_[of];
      if (tensor.view.rank == 0 || random_.chance(0.15)) continue;
      const bool is_parameter = of == kKeyWeights || of == kBias;
      target(gradient, is_parameter ? parameter() : dtype_, {tensor.view.sizes, tensor.view.sizes + tensor.view.rank},
             tensor.division);
    }
  }

  std::vector<int64_t> bias_sizes() const {
    std::vector<int64_t> sizes = {heads_};
    for (int a = 0; a < rank_; ++a) sizes.push_back(2 * pattern_.kernel_size[a] - 1);
    return sizes;
  }

  static bool has_channels(Name name) {
    return name != kKeyMask && name != kKeyWeights && name != kDkeyWeights && name != kBias && name != kDbias &&
           name != kLogsumexp && name != kDlogsumexp;
  }
  TensorView source(Name name, DType dtype, const std::vector<int64_t>& sizes, Division division = Division::tokens) {
    const core::LayoutFreedom freedom{.keep_last = has_channels(name), .broadcast = true};
    const core::Layout layout = core::random_layout(random_, dtype, sizes, freedom);
    sources_.push_back(std::make_unique<GuardedBuffer>(layout.bytes));
    const TensorView view = sources_.back()->view(layout);
    tensors_[name] = {view, division};
    if (dtype == DType::boolean) return view;
    core::for_each_element(view, [&](const core::ElementIndex&, int64_t element) {
      core::store_double(view.at(element), dtype, random_.normal());
    });
    return view;
  }
  void target(Name name, DType dtype, const std::vector<int64_t>& sizes, Division division = Division::tokens) {
    const core::LayoutFreedom freedom{.keep_last = has_channels(name), .broadcast = false};
    const core::Layout layout = core::random_layout(random_, dtype, sizes, freedom);
    targets_.push_back(std::make_unique<GuardedBuffer>(layout.bytes));
    const TensorView view = targets_.back()->view(layout);
    targets_.back()->claim(view);
    tensors_[name] = {view, division};
  }

  void draw_options() {
    options_ = nf_default_options();
    options_.engine = random_.chance(0.5) ? NF_ENGINE_REFERENCE : NF_ENGINE_CPU;
    const cli::CheckSetting setting = random_setting(random_, static_cast<int32_t>(random_.between(1, 3)));
    options_.isa = setting.isa;
    options_.num_threads = setting.threads;
    options_.has_scale = random_.chance(0.3) ? 1 : 0;
    options_.scale = random_.uniform();
  }

  uint64_t seed_;
  core::Random random_;
  int rank_ = 1;
  nf_neighborhood pattern_ = {};
  std::vector<int64_t> offsets_ = {0}, grids_;
  DType dtype_ = DType::float32;
  int64_t heads_ = 1, heads_kv_ = 1, dim_ = 1, dim_v_ = 1, additional_ = 0;
  bool has_modifiers_ = false;
  double softcap_ = 0;
  nf_options options_ = {};
  Packed tensors_[kNames];
  std::vector<std::unique_ptr<GuardedBuffer>> sources_, targets_;
};

}  // namespace nearfield::property
