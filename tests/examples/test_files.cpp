#include "test_files.h"

#include <gtest/gtest.h>
#include <png.h>
#include <stdlib.h>

#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace denoise::test {
namespace {

uint32_t crc_of(const std::vector<uint8_t>& bytes, size_t from) {
  uint32_t crc = 0xffffffff;
  for (size_t i = from; i < bytes.size(); ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
  }
  return ~crc;
}

void append_big_endian(std::vector<uint8_t>& bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(value >> shift));
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  std::string name = ::testing::TempDir() + "nearfield-denoise-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<uint8_t> read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw std::runtime_error("cannot write " + path);
}

// libpng's default error handling ends the test program, which a broken test may do.
void write_any_png(const std::string& path, const PngSpec& spec, const std::vector<std::vector<uint8_t>>& rows) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) throw std::runtime_error("cannot write " + path);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  if (setjmp(png_jmpbuf(png)) != 0) abort();
  png_init_io(png, file);
  png_set_IHDR(png, info, static_cast<png_uint_32>(spec.width), static_cast<png_uint_32>(spec.height), spec.bits,
               spec.colour_type, spec.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  std::vector<png_color> palette;
  for (size_t i = 0; i < spec.palette.size(); i += 3)
    palette.push_back({spec.palette[i], spec.palette[i + 1], spec.palette[i + 2]});
  if (!palette.empty()) png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
  std::vector<png_bytep> pointers;
  for (const auto& row : rows) pointers.push_back(const_cast<png_bytep>(row.data()));
  png_set_rows(png, info, pointers.data());
  png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
}

std::vector<uint8_t> png_header(uint32_t width, uint32_t height) {
  std::vector<uint8_t> bytes = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13};
  const size_t chunk = bytes.size();
  for (char letter : {'I', 'H', 'D', 'R'}) bytes.push_back(static_cast<uint8_t>(letter));
  append_big_endian(bytes, width);
  append_big_endian(bytes, height);
  for (uint8_t byte : {8, 2, 0, 0, 0}) bytes.push_back(byte);  // 8-bit RGB
  append_big_endian(bytes, crc_of(bytes, chunk));
  // The beginning of pixel data, without which a reader does not get to the size.
  const size_t data = bytes.size() + 4;
  append_big_endian(bytes, 2);
  for (char letter : {'I', 'D', 'A', 'T'}) bytes.push_back(static_cast<uint8_t>(letter));
  bytes.push_back(0x78);
  bytes.push_back(0x9c);
  append_big_endian(bytes, crc_of(bytes, data));
  return bytes;
}

Image synthetic(int64_t height, int64_t width, int64_t channels) {
  Image image(height, width, channels);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < channels; ++c) {
        double value = 0.25 + 0.4 * static_cast<double>(x) / static_cast<double>(width);
        if (2 * y > height) value = (x / 4 + y / 4) % 2 == 0 ? 0.8 : 0.3;
        if (x + 2 * y < width / 2) value = 0.9 - 0.3 * static_cast<double>(c);
        image.at(y, x, c) = static_cast<float>(value);
      }
  image.at(height / 4, 3 * width / 4, 0) = 1;
  return image;
}

}  // namespace denoise::test
