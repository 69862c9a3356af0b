#include "nonlocal_means.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace denoise {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

nearfield::Neighborhood search_window() {
  return nearfield::neighborhood({kWindow, kWindow}).boundary({NF_CUT, NF_CUT});
}

nearfield::Options with_scale(const Settings& settings) {
  nearfield::Options options = settings.options;
  return options.with_scale(attention_scale(settings.h));
}

int32_t threads_of(const Settings& settings) {
  return settings.options.num_threads > 0 ? settings.options.num_threads : nf_default_num_threads();
}

void check(const Settings& settings) {
  std::ostringstream text;
  if (!(settings.sigma >= 0) || !std::isfinite(settings.sigma))
    text << "sigma=" << settings.sigma << ": must be at least 0";
  else if (!(settings.h > 0) || !std::isfinite(settings.h))
    text << "h=" << settings.h << ": must be greater than 0";
  else if (settings.h < kMinStrength * settings.sigma)
    text << "h=" << settings.h << ": must be at least " << kMinStrength
         << " * sigma = " << kMinStrength * settings.sigma;
  if (!text.str().empty()) throw std::invalid_argument(text.str());
}

// The pixel's own part of its softmax: exp(scale q_i.k_i - logsumexp_i). q_i.k_i is -k_i's last element, |P_i|^2/2.
double own_weight(const Filtered& filtered, double scale, size_t pixel) {
  const auto dim = static_cast<size_t>(filtered.embedding.dim);
  const double logit = -scale * filtered.embedding.key[pixel * dim + dim - 1];
  return std::min(1.0, std::exp(logit - filtered.logsumexp[pixel]));
}

// Replaces w_ii = 1 by w_ii = copy in a normalised sum that has share p of it: the rest shrinks to 1 - p, and all is
// divided by the new total.
void reweigh_own_pixel(const Image& noisy, const Settings& settings, Filtered& filtered) {
  const double scale = attention_scale(settings.h);
  const double copy = std::exp(-2 * settings.sigma * settings.sigma / (settings.h * settings.h));
  const auto channels = static_cast<size_t>(noisy.channels);
  for (size_t pixel = 0; pixel < filtered.logsumexp.size(); ++pixel) {
    const double removed = (1 - copy) * own_weight(filtered, scale, pixel);
    for (size_t i = pixel * channels; i < (pixel + 1) * channels; ++i)
      filtered.image.pixels[i] =
          static_cast<float>((filtered.image.pixels[i] - removed * noisy.pixels[i]) / (1 - removed));
  }
}

// Sum over the axis of the window's length at each position.
int64_t pairs_on_axis(int64_t n) {
  int64_t sum = 0;
  for (int64_t x = 0; x < n; ++x)
    sum += std::min(x + kSearchRadius, n - 1) - std::max<int64_t>(x - kSearchRadius, 0) + 1;
  return sum;
}

double squared_gradient(const Image& image, int64_t y, int64_t x) {
  const int64_t up = std::max<int64_t>(y - 1, 0), down = std::min(y + 1, image.height - 1);
  const int64_t left = std::max<int64_t>(x - 1, 0), right = std::min(x + 1, image.width - 1);
  double sum = 0;
  for (int64_t c = 0; c < image.channels; ++c)
    sum += std::pow(image.at(down, x, c) - image.at(up, x, c), 2) +
           std::pow(image.at(y, right, c) - image.at(y, left, c), 2);
  return sum;
}

}  // namespace

Filtered nonlocal_means(const Image& noisy, const Settings& settings) {
  check(settings);
  const Clock::time_point start = Clock::now();
  Filtered result;
  result.embedding = embed_patches(noisy, threads_of(settings));
  result.image = Image(noisy.height, noisy.width, noisy.channels);
  result.logsumexp.resize(static_cast<size_t>(noisy.height * noisy.width));

  using nearfield::Tensor;
  const int64_t h = noisy.height, w = noisy.width, dim = result.embedding.dim;
  const Clock::time_point attention_start = Clock::now();
  nearfield::forward(search_window(), Tensor::of(result.embedding.query.get(), {1, h, w, 1, dim}),
                     Tensor::of(result.embedding.key.get(), {1, h, w, 1, dim}),
                     Tensor::of(noisy.pixels.data(), {1, h, w, 1, noisy.channels}),
                     Tensor::of(result.image.pixels.data(), {1, h, w, 1, noisy.channels}),
                     Tensor::of(result.logsumexp.data(), {1, h, w, 1}), with_scale(settings));
  result.attention_seconds = seconds_since(attention_start);

  if (settings.sigma > 0) reweigh_own_pixel(noisy, settings, result);
  result.seconds = seconds_since(start);
  return result;
}

nf_explanation explain(const Image& image, const Settings& settings) {
  check(settings);
  const int64_t dim = kPatchSize * kPatchSize * image.channels + 1;
  const nearfield::Tensor query(nullptr, NF_FLOAT32, {1, image.height, image.width, 1, dim});
  const nearfield::Tensor value(nullptr, NF_FLOAT32, {1, image.height, image.width, 1, image.channels});
  return nearfield::explain(search_window(), query, query, value, with_scale(settings));
}

void check_query(const Image& image, Pixel query) {
  const auto [y, x] = query;
  if (y < 0 || y >= image.height || x < 0 || x >= image.width)
    throw std::invalid_argument("query=" + std::to_string(y) + "," + std::to_string(x) + ": must lie in the image of " +
                                std::to_string(image.height) + " rows and " + std::to_string(image.width) + " columns");
}

WindowWeights window_weights(const Filtered& filtered, const Settings& settings, Pixel query) {
  const auto [y, x] = query;
  const Image& image = filtered.image;
  check_query(image, query);
  WindowWeights result;
  result.top = std::max<int64_t>(y - kSearchRadius, 0);
  result.left = std::max<int64_t>(x - kSearchRadius, 0);
  result.height = std::min(y + kSearchRadius, image.height - 1) - result.top + 1;
  result.width = std::min(x + kSearchRadius, image.width - 1) - result.left + 1;

  const double scale = attention_scale(settings.h);
  const auto dim = static_cast<size_t>(filtered.embedding.dim);
  const auto pixel = static_cast<size_t>(y * image.width + x);
  const double copy = std::exp(-2 * settings.sigma * settings.sigma / (settings.h * settings.h));
  const double total = 1 - (1 - copy) * own_weight(filtered, scale, pixel);
  const float* q = &filtered.embedding.query[pixel * dim];
  for (int64_t row = 0; row < result.height; ++row)
    for (int64_t column = 0; column < result.width; ++column) {
      const auto other = static_cast<size_t>((result.top + row) * image.width + result.left + column);
      const float* key = &filtered.embedding.key[other * dim];
      double product = 0;
      for (size_t i = 0; i < dim; ++i) product += static_cast<double>(q[i]) * key[i];
      const double weight = std::exp(scale * product - filtered.logsumexp[pixel]);
      result.weights.push_back(weight * (other == pixel ? copy : 1) / total);
    }
  return result;
}

double WindowWeights::effective_pixels() const {
  double squares = 0;
  for (double weight : weights) squares += weight * weight;
  return 1 / squares;
}

Pixel interesting_query(const Filtered& filtered, const Settings& settings) {
  // Far enough from the border to see a whole window, if the image is large enough for that.
  const Image& image = filtered.image;
  const int64_t border_y = std::min(2 * kSearchRadius, (image.height - 1) / 2);
  const int64_t border_x = std::min(2 * kSearchRadius, (image.width - 1) / 2);
  std::vector<std::pair<double, Pixel>> edges;
  for (int64_t y = border_y; y < image.height - border_y; ++y)
    for (int64_t x = border_x; x < image.width - border_x; ++x)
      edges.push_back({-squared_gradient(image, y, x), {y, x}});
  const size_t strong = std::max<size_t>(edges.size() / 200, 1);
  std::nth_element(edges.begin(), edges.begin() + static_cast<ptrdiff_t>(strong) - 1, edges.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  Pixel best = edges.front().second;
  double most = 0;
  for (size_t i = 0; i < strong; ++i) {
    const double pixels = window_weights(filtered, settings, edges[i].second).effective_pixels();
    if (pixels > most) {
      most = pixels;
      best = edges[i].second;
    }
  }
  return best;
}

int64_t count_pairs(const Image& image) { return pairs_on_axis(image.height) * pairs_on_axis(image.width); }

double count_flops(const Image& image) {
  const int64_t dim = kPatchSize * kPatchSize * image.channels + 1;
  return 2.0 * static_cast<double>(count_pairs(image)) * static_cast<double>(dim + image.channels);
}

}  // namespace denoise
