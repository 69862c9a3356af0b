// Pictures as pixels: polygons by scan lines, four to a pixel's height; lines as polygons; letters as dots.
#include <png.h>

#include <algorithm>
#include <cmath>

#include "commands.h"
#include "picture.h"
#include "picture_font.h"

namespace nearfield::cli {
namespace {

constexpr int kScale = 2, kLinesOfPixel = 4;

class Raster {
 public:
  explicit Raster(const Picture& picture)
      : width_(static_cast<int64_t>(std::ceil(picture.width() * kScale))),
        height_(static_cast<int64_t>(std::ceil(picture.height() * kScale))),
        pixels_(static_cast<size_t>(3 * width_ * height_), 255),
        cover_(static_cast<size_t>(width_)) {}

  void operator()(const Polygon& polygon) { fill(polygon.points, polygon.fill); }
  void operator()(const Line& line) {
    for (size_t i = 1; i < line.points.size(); ++i) {
      const Point a = line.points[i - 1], b = line.points[i];
      const double length = std::hypot(b.x - a.x, b.y - a.y), half = line.width / 2;
      if (!(length > 0)) continue;
      // Half a width beyond both ends, so that joints are filled.
      const double dx = (b.x - a.x) / length * half, dy = (b.y - a.y) / length * half;
      fill({{a.x - dx - dy, a.y - dy + dx},
            {b.x + dx - dy, b.y + dy + dx},
            {b.x + dx + dy, b.y + dy - dx},
            {a.x - dx + dy, a.y - dy - dx}},
           line.colour);
    }
  }
  void operator()(const Text& text) {
    const double dot = std::max(2.0, std::floor(text.size * kScale / 12)) / kScale;  // readable, if small
    const double advance = (kLetterWidth + 1) * dot, width = advance * static_cast<double>(text.text.size()) - dot;
    double x = text.at.x - (text.anchor == Anchor::start ? 0 : text.anchor == Anchor::middle ? width / 2 : width);
    x = std::round(x * kScale) / kScale;
    const double top = std::round((text.at.y - kLetterHeight * dot) * kScale) / kScale;
    for (const char letter : text.text) {
      const auto& columns = kLetters[letter >= ' ' && letter <= '~' ? letter - ' ' : 0];
      for (int c = 0; c < kLetterWidth; ++c)
        for (int r = 0; r < kLetterHeight; ++r)
          if ((columns[c] >> r & 1) != 0) {
            const double left = x + c * dot, up = top + r * dot;
            fill({{left, up}, {left + dot, up}, {left + dot, up + dot}, {left, up + dot}}, colours::kText);
          }
      x += advance;
    }
  }

  std::string encode() const {
    png_image image = {};
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(width_);
    image.height = static_cast<png_uint_32>(height_);
    image.format = PNG_FORMAT_RGB;
    png_alloc_size_t size = 0;
    std::string bytes;
    // Asked first for the size, then for the bytes.
    for (int pass = 0; pass < 2; ++pass) {
      bytes.resize(size);
      if (png_image_write_to_memory(&image, pass == 0 ? nullptr : bytes.data(), &size, 0, pixels_.data(), 0, nullptr) ==
          0)
        throw Failure(std::string("PNG: ") + image.message);
    }
    return bytes;
  }

 private:
  // Even-odd, by the share of each pixel that is covered.
  void fill(const std::vector<Point>& points, Colour colour) {
    double top = 1e300, bottom = -1e300;
    for (const Point& point : points) top = std::min(top, point.y), bottom = std::max(bottom, point.y);
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(std::floor(top * kScale)));
    const auto last = std::min<int64_t>(height_ - 1, static_cast<int64_t>(std::floor(bottom * kScale)));
    for (int64_t y = first; y <= last; ++y) {
      int64_t left = width_, right = -1;
      for (int line = 0; line < kLinesOfPixel; ++line)
        cover_line(points, (static_cast<double>(y) + (line + 0.5) / kLinesOfPixel) / kScale, left, right);
      blend(y, left, right, colour);
    }
  }

  void cover_line(const std::vector<Point>& points, double y, int64_t& left, int64_t& right) {
    crossings_.clear();
    for (size_t i = 0; i < points.size(); ++i) {
      const Point a = points[i], b = points[(i + 1) % points.size()];
      if ((a.y <= y) == (b.y <= y)) continue;
      crossings_.push_back((a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x)) * kScale);
    }
    std::sort(crossings_.begin(), crossings_.end());
    for (size_t i = 0; i + 1 < crossings_.size(); i += 2) {
      const double begin = std::max(crossings_[i], 0.0);
      const double end = std::min(crossings_[i + 1], static_cast<double>(width_));
      for (auto x = static_cast<int64_t>(begin); x < width_ && static_cast<double>(x) < end; ++x) {
        const double covered = std::min(end, static_cast<double>(x + 1)) - std::max(begin, static_cast<double>(x));
        cover_[static_cast<size_t>(x)] += static_cast<float>(covered / kLinesOfPixel);
        left = std::min(left, x);
        right = std::max(right, x);
      }
    }
  }

  void blend(int64_t y, int64_t left, int64_t right, Colour colour) {
    for (int64_t x = left; x <= right; ++x) {
      const float covered = std::min(cover_[static_cast<size_t>(x)], 1.0f);
      cover_[static_cast<size_t>(x)] = 0;
      uint8_t* const pixel = &pixels_[static_cast<size_t>(3 * (y * width_ + x))];
      const uint8_t channels[3] = {colour.red, colour.green, colour.blue};
      for (int c = 0; c < 3; ++c)
        pixel[c] = static_cast<uint8_t>(
            std::lround((1 - covered) * static_cast<float>(pixel[c]) + covered * static_cast<float>(channels[c])));
    }
  }

  int64_t width_, height_;
  std::vector<uint8_t> pixels_;
  std::vector<float> cover_;  // of one row of pixels
  std::vector<double> crossings_;
};

}  // namespace

std::string to_png(const Picture& picture) {
  Raster raster(picture);
  for (const auto& shape : picture.shapes()) std::visit(raster, shape);
  return raster.encode();
}

}  // namespace nearfield::cli
