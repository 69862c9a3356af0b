// An image in memory and how far two of them are apart.
//
// pixels are row-major (height, width, channels), float32, nominally in [0, 1]; noise may leave that range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace denoise {

struct Image {
  int64_t height = 0, width = 0, channels = 0;  // channels: 1 (grey) or 3 (RGB)
  std::vector<float> pixels;

  Image() = default;
  Image(int64_t rows, int64_t columns, int64_t depth)
      : height(rows), width(columns), channels(depth), pixels(static_cast<size_t>(rows * columns * depth)) {}
  size_t index(int64_t y, int64_t x, int64_t c) const { return static_cast<size_t>((y * width + x) * channels + c); }
  float& at(int64_t y, int64_t x, int64_t c) { return pixels[index(y, x, c)]; }
  float at(int64_t y, int64_t x, int64_t c) const { return pixels[index(y, x, c)]; }
};

// Peak signal-to-noise ratio in dB, for a peak of 1; the image's values are first clipped to [0, 1], as they would be
// shown. Infinity for equal images. The shapes must agree (std::invalid_argument).
double psnr(const Image& image, const Image& original);

// Adds independent Gaussian noise of the given standard deviation to every value: the same for the same seed.
void add_noise(Image& image, double sigma, uint64_t seed);

}  // namespace denoise
