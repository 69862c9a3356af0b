// The pictures that explain a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image.h"
#include "nonlocal_means.h"

namespace denoise {

// Three enlarged views of the surroundings of `query`: the noisy pixels with its window, the weight of each pixel of
// the window as a colour, and the result.
Image draw_attention(const Image& noisy, const Image& denoised, const WindowWeights& weights, Pixel query);

// Images side by side, whole above and enlarged around `focus` below. They have one shape.
struct Captioned {
  std::string caption;
  const Image* image = nullptr;
};
Image draw_comparison(const std::vector<Captioned>& columns, Pixel focus);

}  // namespace denoise
