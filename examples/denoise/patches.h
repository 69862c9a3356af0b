// Patches as queries and keys: the inner product of a query and a key is minus a patch distance, up to a constant of
// the query.
//
// P_i is the 5x5 patch around pixel i, all channels, each value times the square root of its weight g (a Gaussian over
// the patch, divided by the number of channels: the weights sum to 1), the image's mean colour subtracted first:
//   q_i = [P_i, 1],   k_j = [P_j, -|P_j|^2 / 2],   (2/h^2) q_i.k_j = |P_i|^2/h^2 - |P_i - P_j|^2/h^2
// |P_i - P_j|^2 is the weighted mean squared difference of the patches. Softmax over j cancels |P_i|^2/h^2, whatever i.
// Subtracting the mean changes no difference but keeps the products small, so float32 loses little to cancellation.
// Patches reach over the border by reflection about the edge pixels.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "image.h"

namespace denoise {

inline constexpr int64_t kPatchRadius = 2;
inline constexpr int64_t kPatchSize = 2 * kPatchRadius + 1;
// Reflection needs this many pixels on each axis.
inline constexpr int64_t kMinSide = kPatchRadius + 1;

// Row-major (kPatchSize, kPatchSize), sum 1: a Gaussian of standard deviation (kPatchSize - 1)/4, as in Buades et al.
std::vector<double> patch_weights();

// -1 -> 1, n -> n - 2: the edge pixel is not repeated. Needs -n < x < 2n - 1.
constexpr int64_t reflect(int64_t x, int64_t n) { return x < 0 ? -x : (x < n ? x : 2 * (n - 1) - x); }

struct Embedding {
  int64_t pixels = 0, dim = 0;          // dim: kPatchSize^2 * channels + 1
  std::unique_ptr<float[]> query, key;  // row-major (pixels, dim)
};

// Throws std::invalid_argument if the image is smaller than kMinSide on an axis. The result is the same for any number
// of threads, which is at least 1.
Embedding embed_patches(const Image& image, int64_t threads = 1);

// The scale of attention for filtering strength h, in the units of the pixels.
constexpr double attention_scale(double h) { return 2 / (h * h); }

}  // namespace denoise
