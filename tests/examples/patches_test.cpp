#include "patches.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "literal_nonlocal_means.h"
#include "test_files.h"

namespace denoise {
namespace {

// scale q_i.k_j in float64, of the float32 values that the engine gets.
double logit(const Embedding& embedding, double scale, int64_t i, int64_t j) {
  double product = 0;
  for (int64_t d = 0; d < embedding.dim; ++d)
    product += static_cast<double>(embedding.query[static_cast<size_t>(i * embedding.dim + d)]) *
               embedding.key[static_cast<size_t>(j * embedding.dim + d)];
  return scale * product;
}

void expect_identity(const Image& image, double h) {
  const Embedding embedding = embed_patches(image);
  ASSERT_EQ(embedding.dim, 25 * image.channels + 1);
  const int64_t pixels = image.height * image.width;
  for (int64_t i = 0; i < pixels; i += 3) {
    const double own = logit(embedding, attention_scale(h), i, i);
    for (int64_t j = 0; j < pixels; j += 2) {
      const double distance =
          test::patch_distance(image, i / image.width, i % image.width, j / image.width, j % image.width);
      const double error = std::abs(logit(embedding, attention_scale(h), i, j) - own + distance / (h * h));
      // The embedding's values are rounded to float32, relative to a patch's norm.
      ASSERT_TRUE(error <= 3e-7 * (1 / (h * h))) << "pixels " << i << " and " << j << ": " << error;
    }
  }
}

TEST(Patches, ProductIsMinusTheDistanceColour) {
  Image image = test::synthetic(9, 13, 3);
  add_noise(image, 0.08, 11);
  expect_identity(image, 0.068);
}

TEST(Patches, ProductIsMinusTheDistanceGrey) {
  Image image = test::synthetic(11, 8, 1);
  add_noise(image, 0.2, 12);
  expect_identity(image, 0.15);
}

TEST(Patches, SmallestImage) {
  Image image = test::synthetic(3, 3, 3);
  add_noise(image, 0.1, 13);
  expect_identity(image, 0.1);
}

TEST(Patches, TooSmallImageIsNamed) {
  try {
    embed_patches(Image(2, 30, 3));
    FAIL() << "must throw";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "image: 30 x 2 pixels: must be at least 3 on each side");
  }
}

TEST(Patches, BrightnessDoesNotCostPrecision) {
  // The mean is subtracted: with 64 added to every pixel, the keys stay as small as they were.
  Image image = test::synthetic(12, 12, 1);
  const Embedding before = embed_patches(image);
  for (float& value : image.pixels) value += 64;
  const Embedding after = embed_patches(image);
  for (size_t i = 0; i < static_cast<size_t>(before.pixels * before.dim); ++i)
    ASSERT_NEAR(before.key[i], after.key[i], 2e-5) << i;
}

TEST(Patches, ThreadsDoNotChangeABit) {
  Image image = test::synthetic(7, 9, 3);
  add_noise(image, 0.1, 14);
  const Embedding one = embed_patches(image);
  for (int64_t threads : {2, 5, 40}) {
    const Embedding many = embed_patches(image, threads);
    ASSERT_EQ(many.pixels * many.dim, one.pixels * one.dim);
    const auto bytes = static_cast<size_t>(one.pixels * one.dim) * sizeof(float);
    EXPECT_EQ(std::memcmp(one.query.get(), many.query.get(), bytes), 0) << threads;
    EXPECT_EQ(std::memcmp(one.key.get(), many.key.get(), bytes), 0) << threads;
  }
}

TEST(Patches, WeightsAreAGaussianOfSumOne) {
  const std::vector<double> weights = patch_weights();
  ASSERT_EQ(weights.size(), 25u);
  double sum = 0;
  for (double weight : weights) sum += weight;
  EXPECT_NEAR(sum, 1, 1e-12);
  EXPECT_NEAR(weights[0] / weights[12], std::exp(-4.0), 1e-12);
  EXPECT_NEAR(weights[11] / weights[12], std::exp(-0.5), 1e-12);
}

TEST(Patches, ReflectionLeavesTheEdgeOut) {
  EXPECT_EQ(reflect(-2, 5), 2);
  EXPECT_EQ(reflect(-1, 5), 1);
  EXPECT_EQ(reflect(0, 5), 0);
  EXPECT_EQ(reflect(4, 5), 4);
  EXPECT_EQ(reflect(5, 5), 3);
  EXPECT_EQ(reflect(6, 5), 2);
}

}  // namespace
}  // namespace denoise
