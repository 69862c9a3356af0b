#include "image.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <stdexcept>

#include "random.h"

namespace denoise {

double psnr(const Image& image, const Image& original) {
  if (image.pixels.size() != original.pixels.size() || image.width != original.width)
    throw std::invalid_argument("psnr: the images have different shapes");
  double sum = 0;
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    const double difference = std::clamp(image.pixels[i], 0.0f, 1.0f) - static_cast<double>(original.pixels[i]);
    sum += difference * difference;
  }
  if (sum == 0) return std::numeric_limits<double>::infinity();
  return -10 * std::log10(sum / static_cast<double>(image.pixels.size()));
}

void add_noise(Image& image, double sigma, uint64_t seed) {
  Random random(seed);
  // Box and Muller's transform gives the values in pairs.
  for (size_t i = 0; i < image.pixels.size(); i += 2) {
    const double radius = sigma * std::sqrt(-2 * std::log(random.uniform()));
    const double angle = 2 * std::numbers::pi * random.uniform();
    image.pixels[i] += static_cast<float>(radius * std::cos(angle));
    if (i + 1 < image.pixels.size()) image.pixels[i + 1] += static_cast<float>(radius * std::sin(angle));
  }
}

}  // namespace denoise
