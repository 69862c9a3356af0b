#include "image_io.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "test_files.h"

namespace denoise {
namespace {

using test::PngSpec;
using test::TemporaryDirectory;
using test::write_any_png;

// The message if the file is refused, "" if it is read.
std::string refusal(const std::string& path) {
  try {
    const Image image = read_png(path);
    EXPECT_EQ(image.pixels.size(), static_cast<size_t>(image.height * image.width * image.channels));
    return "";
  } catch (const FileError& error) {
    EXPECT_EQ(std::string(error.what()).rfind(path + ": ", 0), 0u) << error.what();
    return std::string(error.what()).substr(path.size() + 2);
  }
}

TEST(ImageIo, PngRoundTripKeepsEveryByte) {
  const TemporaryDirectory directory;
  for (int64_t channels : {1, 3}) {
    Image image(16, 16 * channels, channels);
    for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<float>(i % 256) / 255;
    write_png(directory.file("a.png"), image);
    const Image back = read_png(directory.file("a.png"));
    ASSERT_EQ(back.height, image.height);
    ASSERT_EQ(back.width, image.width);
    ASSERT_EQ(back.channels, channels);
    EXPECT_EQ(back.pixels, image.pixels);
  }
}

TEST(ImageIo, WritingClips) {
  const TemporaryDirectory directory;
  Image image(1, 4, 1);
  image.pixels = {-0.5f, 1.5f, 0.5f, 0.0019f};
  write_png(directory.file("a.png"), image);
  const std::vector<float> expected = {0, 1, static_cast<float>(128 / 255.0), 0};
  EXPECT_EQ(read_png(directory.file("a.png")).pixels, expected);
}

TEST(ImageIo, SixteenBitIsExact) {
  const TemporaryDirectory directory;
  write_any_png(directory.file("a.png"), {.width = 3, .height = 1, .bits = 16, .colour_type = 0},
                {{0xff, 0xff, 0x12, 0x34, 0, 1}});
  const Image image = read_png(directory.file("a.png"));
  ASSERT_EQ(image.channels, 1);
  EXPECT_EQ(image.pixels[0], 1.0f);
  EXPECT_EQ(image.pixels[1], static_cast<float>(0x1234 / 65535.0));
  EXPECT_EQ(image.pixels[2], static_cast<float>(1 / 65535.0));
}

TEST(ImageIo, AlphaIsDropped) {
  const TemporaryDirectory directory;
  write_any_png(directory.file("rgba.png"), {.width = 2, .height = 1, .colour_type = 6},
                {{255, 51, 0, 0, 102, 0, 255, 128}});
  const std::vector<float> colours = {1, 0.2f, 0, 0.4f, 0, 1};
  EXPECT_EQ(read_png(directory.file("rgba.png")).pixels, colours);
  write_any_png(directory.file("grey.png"), {.width = 2, .height = 1, .colour_type = 4}, {{51, 7, 255, 9}});
  const std::vector<float> greys = {0.2f, 1};
  EXPECT_EQ(read_png(directory.file("grey.png")).pixels, greys);
}

TEST(ImageIo, PalettesBecomeColours) {
  const TemporaryDirectory directory;
  PngSpec spec{.width = 4, .height = 1, .bits = 2, .colour_type = 3};
  spec.palette = {255, 0, 0, 0, 51, 0, 0, 0, 102};
  write_any_png(directory.file("a.png"), spec, {{0b00'01'10'00}});
  const std::vector<float> expected = {1, 0, 0, 0, 0.2f, 0, 0, 0, 0.4f, 1, 0, 0};
  EXPECT_EQ(read_png(directory.file("a.png")).pixels, expected);
}

TEST(ImageIo, OneBitIsBlackAndWhite) {
  const TemporaryDirectory directory;
  write_any_png(directory.file("a.png"), {.width = 8, .height = 1, .bits = 1, .colour_type = 0}, {{0b10110001}});
  const std::vector<float> expected = {1, 0, 1, 1, 0, 0, 0, 1};
  EXPECT_EQ(read_png(directory.file("a.png")).pixels, expected);
}

TEST(ImageIo, InterlacedIsTheSameImage) {
  const TemporaryDirectory directory;
  std::vector<std::vector<uint8_t>> rows(11);
  for (size_t y = 0; y < rows.size(); ++y)
    for (size_t i = 0; i < 3 * 13; ++i) rows[y].push_back(static_cast<uint8_t>(y * 31 + i * 7));
  write_any_png(directory.file("plain.png"), {.width = 13, .height = 11}, rows);
  write_any_png(directory.file("laced.png"), {.width = 13, .height = 11, .interlaced = true}, rows);
  EXPECT_EQ(read_png(directory.file("plain.png")).pixels, read_png(directory.file("laced.png")).pixels);
}

TEST(ImageIo, WhatIsNoPngIsNamed) {
  const TemporaryDirectory directory;
  EXPECT_EQ(refusal(directory.file("absent.png")), "cannot open: No such file or directory");
  test::write_bytes(directory.file("empty.png"), {});
  EXPECT_EQ(refusal(directory.file("empty.png")), "not a PNG file");
  test::write_bytes(directory.file("jpeg.png"), {0xff, 0xd8, 0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1});
  EXPECT_EQ(refusal(directory.file("jpeg.png")), "not a PNG file");
  EXPECT_EQ(refusal(directory.file("")), "not a PNG file");  // the directory itself
}

TEST(ImageIo, EveryTruncationIsRefused) {
  const TemporaryDirectory directory;
  write_png(directory.file("whole.png"), test::synthetic(12, 10, 3));
  const std::vector<uint8_t> whole = test::read_bytes(directory.file("whole.png"));
  const std::string path = directory.file("cut.png");
  for (size_t length = 0; length < whole.size(); ++length) {
    test::write_bytes(path, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
    ASSERT_NE(refusal(path), "") << "first " << length << " of " << whole.size() << " bytes";
  }
  test::write_bytes(path, whole);
  EXPECT_EQ(refusal(path), "");
}

TEST(ImageIo, DamagedBytesNeverCrash) {
  const TemporaryDirectory directory;
  write_png(directory.file("whole.png"), test::synthetic(12, 10, 3));
  const std::vector<uint8_t> whole = test::read_bytes(directory.file("whole.png"));
  const std::string path = directory.file("damaged.png");
  size_t refused = 0;
  for (size_t i = 0; i < whole.size(); ++i)
    for (int flip : {0x01, 0x80, 0xff}) {
      std::vector<uint8_t> bytes = whole;
      bytes[i] = static_cast<uint8_t>(bytes[i] ^ flip);
      test::write_bytes(path, bytes);
      refused += refusal(path) != "";
    }
  // All but bytes that say nothing about pixels (ancillary chunks) are covered by checksums.
  EXPECT_GT(refused, 2 * whole.size());
}

TEST(ImageIo, HugeDimensionsAreRefusedBeforeAllocation) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("huge.png");
  test::write_bytes(path, test::png_header(5000, 4000));
  EXPECT_EQ(refusal(path), "5000 x 4000 pixels: at most 16777216 are allowed");
  test::write_bytes(path, test::png_header(1000000, 1000000));
  EXPECT_EQ(refusal(path), "1000000 x 1000000 pixels: at most 16777216 are allowed");
  for (uint32_t width : {0u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    test::write_bytes(path, test::png_header(width, 0x7fffffff));
    EXPECT_EQ(refusal(path).rfind("damaged PNG file: ", 0), 0u) << width;
  }
  // Allowed in size, but without the pixels.
  test::write_bytes(path, test::png_header(4096, 4096));
  EXPECT_EQ(refusal(path).rfind("damaged PNG file: ", 0), 0u);
}

TEST(ImageIo, UnwritablePathsAreNamed) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("absent/a.png");
  for (auto write : {write_png, write_npy}) {
    try {
      write(path, Image(1, 1, 1));
      ADD_FAILURE() << "must throw";
    } catch (const FileError& error) {
      EXPECT_EQ(error.what(), path + ": cannot open: No such file or directory");
    }
  }
}

TEST(ImageIo, FullDiskIsNoticed) {
  for (auto write : {write_png, write_npy}) EXPECT_THROW(write("/dev/full", test::synthetic(64, 64, 3)), FileError);
  EXPECT_THROW(write_text("/dev/full", "text"), FileError);
}

TEST(ImageIo, NpyHoldsTheExactFloats) {
  const TemporaryDirectory directory;
  Image image(2, 3, 3);
  add_noise(image, 1, 4);
  write_npy(directory.file("a.npy"), image);
  const std::vector<uint8_t> bytes = test::read_bytes(directory.file("a.npy"));
  const size_t data = bytes.size() - image.pixels.size() * sizeof(float);
  EXPECT_EQ(data % 64, 0u);
  ASSERT_EQ(std::memcmp(bytes.data(), "\x93NUMPY\x01\x00", 8), 0);
  EXPECT_EQ(bytes[8] + 256u * bytes[9] + 10u, data);
  const std::string header(bytes.begin() + 10, bytes.begin() + static_cast<std::ptrdiff_t>(data));
  EXPECT_EQ(header.rfind("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 3), }", 0), 0u) << header;
  EXPECT_EQ(header.back(), '\n');
  EXPECT_EQ(std::memcmp(bytes.data() + data, image.pixels.data(), image.pixels.size() * sizeof(float)), 0);
}

}  // namespace
}  // namespace denoise
