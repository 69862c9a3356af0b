// Files and images for the tests of the denoise example.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image.h"

namespace denoise::test {

// A directory of one test, removed with all that is in it at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::vector<uint8_t> read_bytes(const std::string& path);
void write_bytes(const std::string& path, const std::vector<uint8_t>& bytes);

// Any kind of PNG, which the example itself never writes. rows: height rows of packed samples, 16-bit ones big-endian;
// colour_type is libpng's (0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA); palette: RGB bytes.
struct PngSpec {
  int width = 0, height = 0, bits = 8, colour_type = 2;
  bool interlaced = false;
  std::vector<uint8_t> palette = {};
};
void write_any_png(const std::string& path, const PngSpec& spec, const std::vector<std::vector<uint8_t>>& rows);

// A PNG that consists of a signature and a header, correct in form, that promises so many pixels.
std::vector<uint8_t> png_header(uint32_t width, uint32_t height);

// Edges, a slope, a texture and a single dot.
Image synthetic(int64_t height, int64_t width, int64_t channels);

}  // namespace denoise::test
