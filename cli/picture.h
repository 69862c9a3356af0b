// A picture of filled shapes, lines and short texts, written as SVG or PNG. Lengths are in pixels, y downwards.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace nearfield::cli {

struct Colour {
  uint8_t red = 0, green = 0, blue = 0;
  bool operator==(const Colour&) const = default;
};
// Okabe and Ito's, which differ in lightness too: with or without colour vision, and in print.
namespace colours {
inline constexpr Colour kSeen{0x56, 0xb4, 0xe9}, kQuery{0xd5, 0x5e, 0x00}, kFull{0x00, 0x72, 0xb2},
    kMasked{0xe6, 0x9f, 0x00}, kOther{0xec, 0xec, 0xec}, kText{0x22, 0x22, 0x22}, kWhite{255, 255, 255},
    kGrey{0x77, 0x77, 0x77};
}  // namespace colours

struct Point {
  double x = 0, y = 0;
};
struct Polygon {
  std::vector<Point> points;
  Colour fill;
};
struct Line {
  std::vector<Point> points;
  Colour colour;
  double width = 1;
};
enum class Anchor { start, middle, end };
struct Text {
  Point at;  // on the baseline
  std::string text;
  double size = 13;  // of the font, pixels
  Anchor anchor = Anchor::start;
};

class Picture {
 public:
  Picture(double width, double height) : width_(width), height_(height) {}

  void rectangle(double x, double y, double width, double height, Colour fill);
  void polygon(std::vector<Point> points, Colour fill);
  void line(std::vector<Point> points, Colour colour, double width);
  void text(Point at, std::string text, double size = 13, Anchor anchor = Anchor::start);

  double width() const { return width_; }
  double height() const { return height_; }
  const std::vector<std::variant<Polygon, Line, Text>>& shapes() const { return shapes_; }

 private:
  double width_, height_;
  std::vector<std::variant<Polygon, Line, Text>> shapes_;
};

std::string to_svg(const Picture& picture);
// Two pixels a pixel, so that lines are smooth and texts readable.
std::string to_png(const Picture& picture);

// By the file's ending, .svg or .png: UsageError for another, Failure if it can't be written.
void write_picture(const Picture& picture, const std::string& path);
// The same check without a picture, before one is made.
void check_picture_path(const std::string& path);

}  // namespace nearfield::cli
