#include "denoiser.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "nonlocal_means.h"

namespace train {
namespace {

constexpr int64_t kDim = kPatch + 1;  // of queries and keys

nearfield::Neighborhood search_window() {
  return nearfield::neighborhood({denoise::kWindow, denoise::kWindow}).boundary({NF_CUT, NF_CUT});
}

// body(first, last) for as many runs of [0, count) as there are threads.
template <class Body>
void share_out(int64_t count, int32_t threads, const Body& body) {
  std::vector<std::jthread> others;
  for (int64_t i = 1; i < threads; ++i)
    others.emplace_back([&body, first = count * i / threads, last = count * (i + 1) / threads] { body(first, last); });
  body(0, count / threads);
}

}  // namespace

Model plain_model(double sigma, double h) {
  std::ostringstream text;
  if (!(sigma > 0) || !std::isfinite(sigma))
    text << "sigma=" << sigma << ": must be greater than 0";
  else if (!(h >= denoise::kMinStrength * sigma) || !std::isfinite(h))
    text << "h=" << h << ": must be at least " << denoise::kMinStrength
         << " * sigma = " << denoise::kMinStrength * sigma;
  if (!text.str().empty()) throw std::invalid_argument(text.str());
  Model model{h, std::vector<double>(kParameters)};
  for (int64_t i = 0; i < kPatch; ++i) model.parameters[static_cast<size_t>(i * kPatch + i)] = 1;
  // 1 itself would need an infinite t.
  const double own = std::min(std::exp(-2 * sigma * sigma / (h * h)), 1 - 1e-9);
  model.parameters.back() = std::log((own - kOwnFloor) / (1 - own));
  return model;
}

double own_factor(const Model& model) { return kOwnFloor + (1 - kOwnFloor) / (1 + std::exp(-model.parameters.back())); }

template <class Real>
Denoiser<Real>::Denoiser(const Image& noisy, const nearfield::Options& options)
    : height_(noisy.height), width_(noisy.width), pixels_(noisy.height * noisy.width), options_(options) {
  if (noisy.channels != kChannels)
    throw std::invalid_argument("image: has " + std::to_string(noisy.channels) + " channels: must have 3");
  if (options_.num_threads < 0)
    throw std::invalid_argument("num_threads=" + std::to_string(options_.num_threads) + ": must be at least 0");
  if (options_.num_threads == 0) options_.num_threads = nearfield::default_num_threads();
  options_.with_scale(1);
  value_.assign(noisy.pixels.begin(), noisy.pixels.end());
  const denoise::Embedding plain = denoise::embed_patches(noisy, options_.num_threads);
  patches_.reserve(static_cast<size_t>(pixels_ * kPatch));
  for (int64_t i = 0; i < pixels_; ++i) {
    const float* patch = &plain.query[static_cast<size_t>(i * plain.dim)];
    patches_.insert(patches_.end(), patch, patch + kPatch);  // without the query's last element, 1
  }
  const auto size = static_cast<size_t>(pixels_);
  for (auto* rows : {&query_, &key_}) rows->resize(size * kDim);
  for (auto* colours : {&out_, &result_}) colours->resize(size * kChannels);
  for (auto* numbers : {&logsumexp_, &share_}) numbers->resize(size);
}

template <class Real>
nearfield::Tensor Denoiser<Real>::view(const std::vector<Real>& memory, int64_t channels) const {
  return nearfield::Tensor::of(memory.data(), {1, height_, width_, 1, channels});
}

template <class Real>
const std::vector<Real>& Denoiser<Real>::run(const Model& model) {
  if (model.parameters.size() != kParameters)
    throw std::invalid_argument("model: has " + std::to_string(model.parameters.size()) + " parameters: must have " +
                                std::to_string(kParameters));
  unit_ = std::sqrt(2.0) / model.h;
  own_ = own_factor(model);
  own_slope_ = (own_ - kOwnFloor) * (1 - own_) / (1 - kOwnFloor);
  weights_.clear();
  for (int64_t i = 0; i < kPatch * kPatch; ++i)
    weights_.push_back(static_cast<Real>(unit_ * model.parameters[static_cast<size_t>(i)]));

  embed();
  const auto logsumexp = nearfield::Tensor::of(logsumexp_.data(), {1, height_, width_, 1});
  nearfield::forward(search_window(), view(query_, kDim), view(key_, kDim), view(value_, kChannels),
                     view(out_, kChannels), logsumexp, options_);
  reweigh_own_pixels();
  return result_;
}

template <class Real>
void Denoiser<Real>::embed() {
  share_out(pixels_, options_.num_threads, [this](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Real* patch = &patches_[static_cast<size_t>(i * kPatch)];
      Real* query = &query_[static_cast<size_t>(i * kDim)];
      Real* key = &key_[static_cast<size_t>(i * kDim)];
      Real e[kPatch] = {};
      for (int64_t a = 0; a < kPatch; ++a)
        for (int64_t b = 0; b < kPatch; ++b) e[b] += patch[a] * weights_[static_cast<size_t>(a * kPatch + b)];
      double norm = 0;
      for (Real x : e) norm += static_cast<double>(x) * x;
      std::copy_n(e, kPatch, query);
      std::copy_n(e, kPatch, key);
      query[kPatch] = 1;
      key[kPatch] = static_cast<Real>(-norm / 2);
    }
  });
}

template <class Real>
void Denoiser<Real>::reweigh_own_pixels() {
  for (size_t i = 0; i < share_.size(); ++i) {
    const double logit = -static_cast<double>(key_[i * kDim + kPatch]);
    share_[i] = static_cast<Real>(std::min(1.0, std::exp(logit - logsumexp_[i])));
    const double removed = (1 - own_) * share_[i];
    for (size_t j = i * kChannels; j < (i + 1) * kChannels; ++j)
      result_[j] = static_cast<Real>((out_[j] - removed * value_[j]) / (1 - removed));
  }
}

template <class Real>
std::vector<double> Denoiser<Real>::gradient(const std::vector<Real>& dresult) {
  if (weights_.empty()) throw std::logic_error("gradient: must follow a run");
  if (dresult.size() != result_.size())
    throw std::invalid_argument("dresult: has " + std::to_string(dresult.size()) + " values: must have " +
                                std::to_string(result_.size()));
  for (auto* rows : {&dquery_, &dkey_}) rows->resize(query_.size());
  for (auto* numbers : {&dlogsumexp_, &dlogit_}) numbers->resize(share_.size());
  dout_.resize(out_.size());
  reweigh_own_pixels_backward(dresult);
  const auto logsumexp = nearfield::Tensor::of(logsumexp_.data(), {1, height_, width_, 1});
  const auto dlogsumexp = nearfield::Tensor::of(dlogsumexp_.data(), {1, height_, width_, 1});
  nearfield::backward(search_window(), view(query_, kDim), view(key_, kDim), view(value_, kChannels),
                      view(out_, kChannels), logsumexp, view(dout_, kChannels),
                      {.query = view(dquery_, kDim), .key = view(dkey_, kDim)}, dlogsumexp, options_);
  std::vector<double> gradient(kParameters);
  embed_backward(gradient);
  gradient.back() = down_ * own_slope_;
  return gradient;
}

// With r = (1 - c) p and p = exp(l - logsumexp), l = |e_i|^2/2:
//   dout = dresult/(1 - r)    dr = dresult.(result - v)/(1 - r)    dp = (1 - c) dr    dl = p dp = -dlogsumexp
template <class Real>
void Denoiser<Real>::reweigh_own_pixels_backward(const std::vector<Real>& dresult) {
  down_ = 0;
  for (size_t i = 0; i < share_.size(); ++i) {
    const double share = share_[i], rest = 1 - (1 - own_) * share;
    double dremoved = 0;
    for (size_t j = i * kChannels; j < (i + 1) * kChannels; ++j) {
      dout_[j] = static_cast<Real>(dresult[j] / rest);
      dremoved += static_cast<double>(dout_[j]) * (result_[j] - value_[j]);
    }
    down_ -= share * dremoved;
    dlogit_[i] = static_cast<Real>((1 - own_) * share * dremoved);
    dlogsumexp_[i] = -dlogit_[i];
  }
}

// e_i is in the query, in the key, and through |e_i|^2/2 in the key's last element and in the own logit:
//   de = dq + dk + (dl - dk_last) e    dW = unit sum_i P_i^T de_i
template <class Real>
void Denoiser<Real>::embed_backward(std::vector<double>& gradient) {
  for (size_t i = 0; i < static_cast<size_t>(pixels_); ++i) {
    const Real factor = dlogit_[i] - dkey_[i * kDim + kPatch];
    for (size_t j = i * kDim; j < i * kDim + kPatch; ++j) dquery_[j] += dkey_[j] + factor * query_[j];
  }
  // Threads share out the rows of W, not the pixels: so every sum has one order.
  share_out(kPatch, options_.num_threads, [&](int64_t first, int64_t last) {
    std::vector<Real> sums(static_cast<size_t>((last - first) * kPatch));
    for (int64_t i = 0; i < pixels_; ++i) {
      const Real* de = &dquery_[static_cast<size_t>(i * kDim)];
      for (int64_t a = first; a < last; ++a) {
        const Real factor = patches_[static_cast<size_t>(i * kPatch + a)];
        Real* row = &sums[static_cast<size_t>((a - first) * kPatch)];
        for (int64_t b = 0; b < kPatch; ++b) row[b] += factor * de[b];
      }
    }
    for (size_t j = 0; j < sums.size(); ++j) gradient[static_cast<size_t>(first * kPatch) + j] = unit_ * sums[j];
  });
}

template class Denoiser<float>;
template class Denoiser<double>;

Image denoise_with(const Model& model, const Image& noisy, const nearfield::Options& options) {
  Denoiser<float> denoiser(noisy, options);
  Image result(noisy.height, noisy.width, noisy.channels);
  result.pixels = denoiser.run(model);
  return result;
}

template <class Real>
Loss loss_of(const Model& model, const Image& noisy, const Image& clean, const nearfield::Options& options) {
  if (clean.height != noisy.height || clean.width != noisy.width || clean.channels != noisy.channels)
    throw std::invalid_argument("clean: must have the shape of the noisy image");
  Denoiser<Real> denoiser(noisy, options);
  std::vector<Real> dresult = denoiser.run(model);
  const auto count = static_cast<double>(dresult.size());
  Loss loss;
  for (size_t i = 0; i < dresult.size(); ++i) {
    const double error = static_cast<double>(dresult[i]) - clean.pixels[i];
    loss.value += error * error / count;
    dresult[i] = static_cast<Real>(2 * error / count);
  }
  loss.gradient = denoiser.gradient(dresult);
  return loss;
}

template Loss loss_of<float>(const Model&, const Image&, const Image&, const nearfield::Options&);
template Loss loss_of<double>(const Model&, const Image&, const Image&, const nearfield::Options&);

}  // namespace train
