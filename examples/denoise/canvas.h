// Drawing on an RGB image: rectangles, enlarged images, text. What falls outside of the canvas is not drawn.
#pragma once

#include <cstdint>
#include <string_view>

#include "image.h"

namespace denoise {

struct Colour {
  float red = 0, green = 0, blue = 0;
};
inline constexpr Colour kBlack{0, 0, 0}, kWhite{1, 1, 1}, kCyan{0, 0.9f, 1};

// Pixels [top, top + height) x [left, left + width).
struct Box {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

class Canvas {
 public:
  Canvas(int64_t height, int64_t width, Colour background);
  const Image& image() const { return image_; }

  void fill(const Box& box, Colour colour);
  // A frame of the given thickness just outside of the box, edged in black so that it shows on any ground.
  void frame(const Box& box, int64_t thickness, Colour colour);
  // Grey or RGB; every pixel becomes scale x scale ones.
  void paste(const Image& picture, int64_t top, int64_t left, int64_t scale);
  // ASCII; letters are 5 x 7 dots of `scale` pixels, 6 dots apart. `top` is the first row of dots.
  void text(std::string_view words, int64_t top, int64_t left, int64_t scale, Colour colour = kBlack);
  static constexpr int64_t text_width(int64_t letters, int64_t scale) { return letters * 6 * scale - scale; }

 private:
  Image image_;
};

// The part of an image inside the box, which must lie in it.
Image crop(const Image& image, const Box& box);
// Each pixel the mean of factor x factor ones; what is left over at the right and bottom is dropped.
Image shrink(const Image& image, int64_t factor);

}  // namespace denoise
