#include "literal_nonlocal_means.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace denoise::test {
namespace {

int64_t mirrored(int64_t x, int64_t n) {
  x = std::abs(x);
  return x >= n ? 2 * n - 2 - x : x;
}

}  // namespace

double patch_distance(const Image& image, int64_t y1, int64_t x1, int64_t y2, int64_t x2) {
  double sum = 0, weights = 0;
  for (int64_t dy = -2; dy <= 2; ++dy)
    for (int64_t dx = -2; dx <= 2; ++dx) {
      const double weight = std::exp(-0.5 * static_cast<double>(dy * dy + dx * dx));
      weights += weight;
      for (int64_t c = 0; c < image.channels; ++c) {
        const double a = image.at(mirrored(y1 + dy, image.height), mirrored(x1 + dx, image.width), c);
        const double b = image.at(mirrored(y2 + dy, image.height), mirrored(x2 + dx, image.width), c);
        sum += weight * (a - b) * (a - b) / static_cast<double>(image.channels);
      }
    }
  return sum / weights;
}

std::vector<double> literal_nonlocal_means(const Image& noisy, double h, double sigma) {
  std::vector<double> result(noisy.pixels.size());
  for (int64_t y = 0; y < noisy.height; ++y)
    for (int64_t x = 0; x < noisy.width; ++x) {
      double total = 0;
      for (int64_t v = std::max<int64_t>(y - 10, 0); v <= std::min(y + 10, noisy.height - 1); ++v)
        for (int64_t u = std::max<int64_t>(x - 10, 0); u <= std::min(x + 10, noisy.width - 1); ++u) {
          const double distance = u == x && v == y ? 2 * sigma * sigma : patch_distance(noisy, y, x, v, u);
          const double weight = std::exp(-distance / (h * h));
          total += weight;
          for (int64_t c = 0; c < noisy.channels; ++c) result[noisy.index(y, x, c)] += weight * noisy.at(v, u, c);
        }
      for (int64_t c = 0; c < noisy.channels; ++c) result[noisy.index(y, x, c)] /= total;
    }
  return result;
}

}  // namespace denoise::test
