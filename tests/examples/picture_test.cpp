#include "picture.h"

#include <gtest/gtest.h>

#include <cmath>

#include "canvas.h"
#include "test_files.h"

namespace denoise {
namespace {

bool has(const Image& image, int64_t y, int64_t x, Colour colour) {
  return image.at(y, x, 0) == colour.red && image.at(y, x, 1) == colour.green && image.at(y, x, 2) == colour.blue;
}

void expect_drawable(const Image& image) {
  ASSERT_EQ(image.channels, 3);
  for (float value : image.pixels) ASSERT_TRUE(value >= 0 && value <= 1) << value;
}

TEST(Canvas, DrawsInsideOnly) {
  Canvas canvas(10, 12, kWhite);
  canvas.fill({-5, -5, 7, 8}, kBlack);
  canvas.fill({8, 10, 100, 100}, kCyan);
  canvas.frame({-1, -1, 30, 30}, 3, kCyan);
  canvas.text("outside", 9, -3, 4);
  canvas.paste(test::synthetic(8, 8, 3), 6, 6, 2);
  EXPECT_TRUE(has(canvas.image(), 0, 0, kBlack));
  EXPECT_TRUE(has(canvas.image(), 3, 3, kWhite));
}

TEST(Canvas, FrameLeavesTheBoxFree) {
  Canvas canvas(20, 20, kWhite);
  canvas.frame({6, 7, 4, 5}, 2, kCyan);
  for (int64_t y = 6; y < 10; ++y)
    for (int64_t x = 7; x < 12; ++x) EXPECT_TRUE(has(canvas.image(), y, x, kWhite));
  EXPECT_TRUE(has(canvas.image(), 5, 6, kBlack));
  EXPECT_TRUE(has(canvas.image(), 4, 8, kCyan));
  EXPECT_TRUE(has(canvas.image(), 11, 8, kCyan));
}

TEST(Canvas, LettersAreWhereTheyShouldBe) {
  Canvas canvas(9, 20, kWhite);
  canvas.text("I\xff\x01L", 1, 1, 1);  // what is no ASCII letter leaves a gap
  EXPECT_TRUE(has(canvas.image(), 1, 3, kBlack));
  EXPECT_TRUE(has(canvas.image(), 4, 3, kBlack));
  EXPECT_TRUE(has(canvas.image(), 4, 2, kWhite));
  EXPECT_TRUE(has(canvas.image(), 3, 19, kBlack));  // L begins 3 * 6 pixels later
}

TEST(Canvas, CropAndShrink) {
  Image image(5, 6, 1);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<float>(i);
  const Image part = crop(image, {1, 2, 2, 3});
  EXPECT_EQ(part.pixels, (std::vector<float>{8, 9, 10, 14, 15, 16}));
  const Image small = shrink(image, 2);
  ASSERT_EQ(small.height, 2);
  ASSERT_EQ(small.width, 3);
  EXPECT_FLOAT_EQ(small.at(0, 0, 0), (0 + 1 + 6 + 7) / 4.0f);
}

TEST(Picture, AttentionShowsTheStrongestKeyBrightest) {
  const Image noisy(60, 60, 3);
  WindowWeights weights{20, 20, 21, 21, std::vector<double>(21 * 21, 0.1 / 440)};
  weights.weights[5 * 21 + 7] = 0.9;
  const Image picture = draw_attention(noisy, noisy, weights, {30, 30});
  expect_drawable(picture);
  // All else is black, white, grey, cyan or the colour scale at the side.
  int64_t brightest = 0;
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x)
      brightest +=
          std::abs(picture.at(y, x, 0) - 252 / 255.0) < 1e-3 && std::abs(picture.at(y, x, 2) - 164 / 255.0) < 1e-3;
  EXPECT_EQ(brightest, 13 * 13 + 20);  // one enlarged pixel, and the top row of the scale
}

TEST(Picture, AnySizeCanBeDrawn) {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{3, 3}, {3, 700}, {1100, 4}, {40, 50}}) {
    SCOPED_TRACE(std::to_string(height) + " x " + std::to_string(width));
    for (int64_t channels : {1, 3}) {
      Image image = test::synthetic(height, width, channels);
      Settings settings;
      settings.h = 0.1;
      const Filtered filtered = nonlocal_means(image, settings);
      for (const Pixel query : {Pixel{0, 0}, Pixel{height - 1, width - 1}, interesting_query(filtered, settings)}) {
        expect_drawable(draw_attention(image, filtered.image, window_weights(filtered, settings, query), query));
        expect_drawable(draw_comparison({{"a", &image}, {"b", &filtered.image}}, query));
      }
    }
  }
}

}  // namespace
}  // namespace denoise
