#include "picture.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "commands.h"
#include "simulation.h"

namespace nearfield::cli {
namespace {

std::string colour_text(Colour colour) {
  return fmt::format("#{:02x}{:02x}{:02x}", colour.red, colour.green, colour.blue);
}

std::string number(double value) {
  std::string text = fmt::format("{:.2f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string path_of(const std::vector<Point>& points) {
  std::string path;
  for (size_t i = 0; i < points.size(); ++i)
    path += fmt::format("{}{} {}", i == 0 ? "M" : "L", number(points[i].x), number(points[i].y));
  return path;
}

std::string escaped(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    if (letter == '<')
      result += "&lt;";
    else if (letter == '>')
      result += "&gt;";
    else if (letter == '&')
      result += "&amp;";
    else
      result += letter;
  }
  return result;
}

// Adjacent shapes of one colour are one element: few bytes, and no seams between them.
struct SvgWriter {
  std::string out, path;
  Colour fill;

  void flush() {
    if (!path.empty()) out += fmt::format("<path fill=\"{}\" d=\"{}\"/>\n", colour_text(fill), path);
    path.clear();
  }
  void operator()(const Polygon& polygon) {
    if (!(polygon.fill == fill)) flush();
    fill = polygon.fill;
    path += path_of(polygon.points) + "Z";
  }
  void operator()(const Line& line) {
    flush();
    out += fmt::format("<path fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\" d=\"{}\"/>\n",
                       colour_text(line.colour), number(line.width), path_of(line.points));
  }
  void operator()(const Text& text) {
    flush();
    constexpr const char* kAnchors[] = {"start", "middle", "end"};
    out +=
        fmt::format("<text x=\"{}\" y=\"{}\" font-size=\"{}\" text-anchor=\"{}\">{}</text>\n", number(text.at.x),
                    number(text.at.y), number(text.size), kAnchors[static_cast<int>(text.anchor)], escaped(text.text));
  }
};

}  // namespace

void Picture::polygon(std::vector<Point> points, Colour fill) {
  shapes_.emplace_back(std::in_place_type<Polygon>, std::move(points), fill);
}
void Picture::line(std::vector<Point> points, Colour colour, double width) {
  shapes_.emplace_back(std::in_place_type<Line>, std::move(points), colour, width);
}
void Picture::text(Point at, std::string text, double size, Anchor anchor) {
  shapes_.emplace_back(std::in_place_type<Text>, at, std::move(text), size, anchor);
}
void Picture::rectangle(double x, double y, double width, double height, Colour fill) {
  polygon({{x, y}, {x + width, y}, {x + width, y + height}, {x, y + height}}, fill);
}

std::string to_svg(const Picture& picture) {
  SvgWriter writer;
  for (const auto& shape : picture.shapes()) std::visit(writer, shape);
  writer.flush();
  const std::string width = number(picture.width()), height = number(picture.height());
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\" fill=\"{2}\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n{3}</svg>\n",
      width, height, colour_text(colours::kText), writer.out);
}

void check_picture_path(const std::string& path) {
  const std::string ending = std::filesystem::path(path).extension().string();
  if (ending != ".svg" && ending != ".png") throw UsageError(fmt::format("out={}: must end in .svg or .png", path));
}

void write_picture(const Picture& picture, const std::string& path) {
  check_picture_path(path);
  write_file(path, path.ends_with(".svg") ? to_svg(picture) : to_png(picture));
}

}  // namespace nearfield::cli
