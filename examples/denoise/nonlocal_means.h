// Non-local means as one call of neighborhood attention.
//
//   out_i = sum_j w_ij v_j / sum_j w_ij,   w_ij = exp(-|P_i - P_j|^2 / h^2) for j != i,   w_ii = exp(-2 sigma^2 / h^2)
//
// j runs over the 21x21 window around i, cut at the border; |P_i - P_j|^2 is patches.h's distance; v is the pixels. Two
// noisy copies of one patch are 2 sigma^2 apart, but a patch is at distance 0 from itself: with weight 1 it would
// outweigh all its equals. So its own weight becomes that of a copy; without this most of the noise would stay.
// Attention gives the sums with w_ii = 1; logsumexp says how much of it that was, which is enough to put it right.
#pragma once

#include <cstdint>
#include <vector>

#include "image.h"
#include "nearfield/nearfield.hpp"
#include "patches.h"

namespace denoise {

inline constexpr int64_t kSearchRadius = 10;
inline constexpr int64_t kWindow = 2 * kSearchRadius + 1;
// exp(-2 sigma^2/h^2) divides the rounding errors of float32: a smaller h relative to sigma is refused.
inline constexpr double kMinStrength = 0.6;

struct Settings {
  double h = 0;      // filtering strength, > 0, in the units of the pixels
  double sigma = 0;  // standard deviation of the noise, >= 0; 0: w_ii stays 1
  nearfield::Options options;
};

struct Filtered {
  Image image;
  Embedding embedding;
  std::vector<float> logsumexp;  // (height, width)
  double seconds = 0;            // the whole filter
  double attention_seconds = 0;  // nearfield::forward in it
};

// Throws std::invalid_argument for bad settings or a too small image, nearfield::Error.
Filtered nonlocal_means(const Image& noisy, const Settings& settings);

// What attention would run for this image.
nf_explanation explain(const Image& image, const Settings& settings);

struct Pixel {
  int64_t y = 0, x = 0;
};
// Throws std::invalid_argument if the query is not in the image.
void check_query(const Image& image, Pixel query);

// The normalised weights with which one pixel's window enters its result.
struct WindowWeights {
  int64_t top = 0, left = 0, height = 0, width = 0;  // the window, cut at the border
  std::vector<double> weights;                       // row-major (height, width), sum 1
  double at(int64_t y, int64_t x) const { return weights[static_cast<size_t>(y * width + x)]; }
  // 1 / sum of squares: this many equal weights would average away as much noise.
  double effective_pixels() const;
};
WindowWeights window_weights(const Filtered& filtered, const Settings& settings, Pixel query);

// A pixel worth looking at: on a strong edge, with many pixels like it.
Pixel interesting_query(const Filtered& filtered, const Settings& settings);

// (query, key) pairs of the whole image.
int64_t count_pairs(const Image& image);
// A multiply and an add per element of q.k and of p v: 2 pairs (dim + channels).
double count_flops(const Image& image);

}  // namespace denoise
