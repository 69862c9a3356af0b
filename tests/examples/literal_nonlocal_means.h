// Non-local means in float64, pixel by pixel, as the formula in nonlocal_means.h says: no queries, no keys, no softmax.
#pragma once

#include <vector>

#include "image.h"

namespace denoise::test {

// Row-major (height, width, channels).
std::vector<double> literal_nonlocal_means(const Image& noisy, double h, double sigma);

// Weighted mean squared difference of the patches around two pixels.
double patch_distance(const Image& image, int64_t y1, int64_t x1, int64_t y2, int64_t x2);

}  // namespace denoise::test
