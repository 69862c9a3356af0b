#include "image.h"

#include <gtest/gtest.h>

#include <cmath>

namespace denoise {
namespace {

TEST(Image, PsnrOfKnownDifference) {
  Image original(4, 5, 3), other(4, 5, 3);
  for (float& value : original.pixels) value = 0.5f;
  for (float& value : other.pixels) value = 0.6f;
  EXPECT_NEAR(psnr(other, original), 20.0, 1e-5);
  EXPECT_TRUE(std::isinf(psnr(original, original)));
}

TEST(Image, PsnrClipsWhatCannotBeShown) {
  Image original(1, 1, 1), other(1, 1, 1);
  original.pixels = {1.0f};
  other.pixels = {7.0f};
  EXPECT_TRUE(std::isinf(psnr(other, original)));
}

TEST(Image, PsnrOfNanIsNan) {
  Image original(1, 2, 1), other(1, 2, 1);
  other.pixels[1] = NAN;
  EXPECT_TRUE(std::isnan(psnr(other, original)));
}

TEST(Image, PsnrRefusesOtherShapes) { EXPECT_THROW(psnr(Image(2, 3, 1), Image(3, 2, 1)), std::invalid_argument); }

TEST(Image, NoiseHasItsMomentsAndNoCorrelation) {
  Image image(300, 300, 3);
  add_noise(image, 0.25, 7);
  double sum = 0, squares = 0, fourth = 0, neighbours = 0;
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    const double x = image.pixels[i] / 0.25;
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
    if (i > 0) neighbours += x * image.pixels[i - 1] / 0.25;
  }
  const double n = static_cast<double>(image.pixels.size());
  EXPECT_NEAR(sum / n, 0, 0.01);
  EXPECT_NEAR(squares / n, 1, 0.015);
  EXPECT_NEAR(fourth / n, 3, 0.1);
  EXPECT_NEAR(neighbours / n, 0, 0.01);
}

TEST(Image, NoiseDependsOnTheSeedAlone) {
  Image first(9, 7, 1), second(9, 7, 1), other(9, 7, 1);
  add_noise(first, 0.1, 3);
  add_noise(second, 0.1, 3);
  add_noise(other, 0.1, 4);
  EXPECT_EQ(first.pixels, second.pixels);
  EXPECT_NE(first.pixels, other.pixels);
}

}  // namespace
}  // namespace denoise
