#include "patches.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <thread>

namespace denoise {
namespace {

std::vector<double> mean_colour(const Image& image) {
  std::vector<double> mean(static_cast<size_t>(image.channels));
  for (size_t i = 0; i < image.pixels.size(); ++i) mean[i % mean.size()] += image.pixels[i];
  for (double& value : mean) value /= static_cast<double>(image.height * image.width);
  return mean;
}

// The image less its mean colour, with a reflected border of kPatchRadius pixels.
Image centred_and_padded(const Image& image) {
  const std::vector<double> mean = mean_colour(image);
  Image padded(image.height + 2 * kPatchRadius, image.width + 2 * kPatchRadius, image.channels);
  for (int64_t y = 0; y < padded.height; ++y)
    for (int64_t x = 0; x < padded.width; ++x)
      for (int64_t c = 0; c < image.channels; ++c)
        padded.at(y, x, c) = static_cast<float>(
            image.at(reflect(y - kPatchRadius, image.height), reflect(x - kPatchRadius, image.width), c) -
            mean[static_cast<size_t>(c)]);
  return padded;
}

// The factor of each element of a patch, row-major (y, x, channel).
std::vector<float> factors_of(int64_t channels) {
  std::vector<float> factors;
  for (double weight : patch_weights())
    for (int64_t c = 0; c < channels; ++c)
      factors.push_back(static_cast<float>(std::sqrt(weight / static_cast<double>(channels))));
  return factors;
}

void embed_row(const Image& padded, const std::vector<float>& factors, int64_t y, int64_t width, Embedding& result) {
  const int64_t patch_row = kPatchSize * padded.channels;  // contiguous in the padded image
  float* query = result.query.get() + y * width * result.dim;
  float* key = result.key.get() + y * width * result.dim;
  for (int64_t x = 0; x < width; ++x, query += result.dim, key += result.dim) {
    // The norm of the values as rounded and stored, so that the identity holds for these.
    double norm = 0;
    for (int64_t row = 0; row < kPatchSize; ++row) {
      const float* pixels = &padded.pixels[padded.index(y + row, x, 0)];
      for (int64_t i = 0; i < patch_row; ++i) {
        const float value = pixels[i] * factors[static_cast<size_t>(row * patch_row + i)];
        query[row * patch_row + i] = value;
        norm += static_cast<double>(value) * value;
      }
    }
    std::copy_n(query, result.dim - 1, key);
    query[result.dim - 1] = 1;
    key[result.dim - 1] = static_cast<float>(-norm / 2);
  }
}

}  // namespace

std::vector<double> patch_weights() {
  constexpr double kSpread = (kPatchSize - 1) / 4.0;
  std::vector<double> weights;
  double sum = 0;
  for (int64_t y = -kPatchRadius; y <= kPatchRadius; ++y)
    for (int64_t x = -kPatchRadius; x <= kPatchRadius; ++x) {
      weights.push_back(std::exp(-static_cast<double>(y * y + x * x) / (2 * kSpread * kSpread)));
      sum += weights.back();
    }
  for (double& weight : weights) weight /= sum;
  return weights;
}

Embedding embed_patches(const Image& image, int64_t threads) {
  if (image.height < kMinSide || image.width < kMinSide)
    throw std::invalid_argument("image: " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                                " pixels: must be at least " + std::to_string(kMinSide) + " on each side");
  const Image padded = centred_and_padded(image);
  const std::vector<float> factors = factors_of(image.channels);
  Embedding result;
  result.pixels = image.height * image.width;
  result.dim = static_cast<int64_t>(factors.size()) + 1;
  // Not zeroed: most of the time here goes to the first touch of this memory, which the threads share.
  const auto size = static_cast<size_t>(result.pixels * result.dim);
  result.query = std::make_unique_for_overwrite<float[]>(size);
  result.key = std::make_unique_for_overwrite<float[]>(size);

  const auto embed_every = [&](int64_t first) {
    for (int64_t y = first; y < image.height; y += threads) embed_row(padded, factors, y, image.width, result);
  };
  std::vector<std::jthread> others;
  for (int64_t first = 1; first < std::min(threads, image.height); ++first) others.emplace_back(embed_every, first);
  embed_every(0);
  others.clear();  // waits
  return result;
}

}  // namespace denoise
