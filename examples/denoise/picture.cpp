#include "picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "canvas.h"

namespace denoise {
namespace {

constexpr int64_t kMargin = 28;
constexpr int64_t kTextScale = 2;
constexpr int64_t kLine = 11 * kTextScale;  // from one line of text to the next

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[200];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

// From black over purple, red and orange to pale yellow: lightness grows evenly, so it reads the same with any colour
// vision and in grey. t in [0, 1].
Colour heat(double t) {
  constexpr std::array<std::array<double, 3>, 9> kStops = {{{0, 0, 4},
                                                            {31, 12, 72},
                                                            {85, 15, 109},
                                                            {136, 34, 106},
                                                            {186, 54, 85},
                                                            {227, 89, 51},
                                                            {249, 140, 10},
                                                            {249, 201, 50},
                                                            {252, 255, 164}}};
  const double position = std::clamp(t, 0.0, 1.0) * (kStops.size() - 1);
  const auto stop = std::min(static_cast<size_t>(position), kStops.size() - 2);
  const double part = position - static_cast<double>(stop);
  const auto mix = [&](size_t c) {
    return static_cast<float>((kStops[stop][c] * (1 - part) + kStops[stop + 1][c] * part) / 255);
  };
  return {mix(0), mix(1), mix(2)};
}

// The box of at most side x side pixels around a centre, moved to lie inside the image.
Box around(const Image& image, Pixel centre, int64_t side) {
  const int64_t height = std::min(side, image.height), width = std::min(side, image.width);
  return {std::clamp<int64_t>(centre.y - side / 2, 0, image.height - height),
          std::clamp<int64_t>(centre.x - side / 2, 0, image.width - width), height, width};
}

// A box of image pixels, on a canvas where the pixels of `view` begin at (top, left), `scale` times as large.
Box on_canvas(const Box& box, const Box& view, int64_t top, int64_t left, int64_t scale) {
  return {top + (box.top - view.top) * scale, left + (box.left - view.left) * scale, box.height * scale,
          box.width * scale};
}

// Grey and dark: ground for the coloured weights.
Image faded(const Image& image) {
  Image result(image.height, image.width, 1);
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x) {
      float sum = 0;
      for (int64_t c = 0; c < image.channels; ++c) sum += image.at(y, x, c);
      result.at(y, x, 0) = 0.45f + 0.5f * sum / static_cast<float>(image.channels);
    }
  return result;
}

double largest(const WindowWeights& weights) {
  return *std::max_element(weights.weights.begin(), weights.weights.end());
}

void draw_scale(Canvas& canvas, const Box& box, double top_weight) {
  for (int64_t y = 0; y < box.height; ++y)
    canvas.fill({box.top + y, box.left, 1, box.width},
                heat(1 - static_cast<double>(y) / static_cast<double>(box.height - 1)));
  const int64_t left = box.left + box.width + 8;
  for (int tick = 0; tick <= 2; ++tick)
    canvas.text(tick == 0 ? "0" : format("%.3g%%", 50 * tick * top_weight),
                box.top + (2 - tick) * (box.height - 7 * kTextScale) / 2, left, kTextScale);
}

}  // namespace

Image draw_attention(const Image& noisy, const Image& denoised, const WindowWeights& weights, Pixel query) {
  constexpr int64_t kView = 33, kScale = 13, kBar = 110;
  const Box view = around(noisy, query, kView);
  const int64_t panel_height = view.height * kScale, panel_width = view.width * kScale;
  const int64_t top = kMargin + 2 * kLine;
  const int64_t lefts[] = {kMargin, 2 * kMargin + panel_width, 3 * kMargin + 2 * panel_width + kBar};
  Canvas canvas(top + panel_height + 3 * kLine, std::max<int64_t>(lefts[2] + panel_width + kMargin, 1250), kWhite);

  canvas.text(
      format("What one pixel attends to (row %d, column %d)", static_cast<int>(query.y), static_cast<int>(query.x)),
      kMargin / 2, kMargin, kTextScale + 1);
  canvas.paste(crop(noisy, view), top, lefts[0], kScale);
  canvas.paste(faded(crop(noisy, view)), top, lefts[1], kScale);
  canvas.paste(crop(denoised, view), top, lefts[2], kScale);

  const double top_weight = largest(weights);
  const Box window{weights.top, weights.left, weights.height, weights.width};
  for (int64_t y = 0; y < window.height; ++y)
    for (int64_t x = 0; x < window.width; ++x)
      canvas.fill(on_canvas({window.top + y, window.left + x, 1, 1}, view, top, lefts[1], kScale),
                  heat(weights.at(y, x) / top_weight));
  draw_scale(canvas, {top, lefts[1] + panel_width + 12, panel_height, 20}, top_weight);

  for (int64_t left : lefts) {
    if (left != lefts[2]) canvas.frame(on_canvas(window, view, top, left, kScale), 2, kWhite);
    canvas.frame(on_canvas({query.y, query.x, 1, 1}, view, top, left, kScale), 2, kCyan);
  }
  const int64_t below = top + panel_height + kLine / 2;
  canvas.text("Noisy: the query (cyan)", below, lefts[0], kTextScale);
  canvas.text(format("and the %d pixels it sees", static_cast<int>(window.height * window.width)), below + kLine,
              lefts[0], kTextScale);
  canvas.text("Weights: bright where the", below, lefts[1], kTextScale);
  canvas.text("5x5 patch is like the query's", below + kLine, lefts[1], kTextScale);
  canvas.text("Result: the weighted mean,", below, lefts[2], kTextScale);
  canvas.text(format("here of about %.0f pixels", weights.effective_pixels()), below + kLine, lefts[2], kTextScale);
  return canvas.image();
}

Image draw_comparison(const std::vector<Captioned>& columns, Pixel focus) {
  constexpr int64_t kSide = 512, kZoom = 64;
  const Image& first = *columns.front().image;
  const int64_t longest = std::max(first.height, first.width);
  const int64_t factor = (longest + kSide - 1) / kSide;         // to shrink by
  const int64_t scale = std::max<int64_t>(kSide / longest, 1);  // to enlarge by
  const int64_t height = first.height / factor * scale, width = first.width / factor * scale;
  const Box view = around(first, focus, kZoom);
  const int64_t zoom = kSide / std::max(view.height, view.width);
  const int64_t pitch = std::max({width, view.width * zoom, int64_t{340}}) + kMargin;
  const int64_t top = kMargin + kLine, below = top + height + kMargin;
  Canvas canvas(below + view.height * zoom + kMargin, kMargin + pitch * static_cast<int64_t>(columns.size()), kWhite);

  int64_t left = kMargin;
  for (const Captioned& column : columns) {
    canvas.text(column.caption, kMargin / 2, left, kTextScale);
    canvas.paste(shrink(*column.image, factor), top, left, scale);
    canvas.frame({top + view.top / factor * scale, left + view.left / factor * scale, view.height / factor * scale,
                  view.width / factor * scale},
                 2, kCyan);
    canvas.paste(crop(*column.image, view), below, left, zoom);
    canvas.frame({below, left, view.height * zoom, view.width * zoom}, 2, kCyan);
    left += pitch;
  }
  return canvas.image();
}

}  // namespace denoise
