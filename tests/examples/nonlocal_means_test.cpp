#include "nonlocal_means.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "literal_nonlocal_means.h"
#include "test_files.h"

namespace denoise {
namespace {

Settings settings_of(double h, double sigma) {
  Settings settings;
  settings.h = h;
  settings.sigma = sigma;
  return settings;
}

double largest_error(const Image& image, const std::vector<double>& expected) {
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::abs(image.pixels[i] - expected[i]);
    if (!(error <= largest)) largest = error;  // NaN stays
    if (std::isnan(error)) break;
  }
  return largest;
}

struct Case {
  int64_t height, width, channels;
  double sigma, strength;  // h = strength * sigma
};

// As documented: at least kMinStrength, where the pixel's own weight is put right with the largest error.
TEST(NonlocalMeans, EqualsTheLiteralDefinition) {
  const Case cases[] = {{40, 48, 3, 0.08, 0.85}, {40, 48, 3, 0.08, 0.6}, {33, 27, 1, 0.1, 1.0},
                        {5, 60, 3, 0.05, 0.8},   {3, 3, 1, 0.1, 0.9},    {24, 24, 3, 0.3, 0.7}};
  uint64_t seed = 100;
  for (const Case& c : cases) {
    SCOPED_TRACE("seed " + std::to_string(++seed) + ", " + std::to_string(c.height) + " x " + std::to_string(c.width) +
                 " x " + std::to_string(c.channels) + ", strength " + std::to_string(c.strength));
    Image noisy = test::synthetic(c.height, c.width, c.channels);
    add_noise(noisy, c.sigma, seed);
    const Settings settings = settings_of(c.strength * c.sigma, c.sigma);
    const Filtered filtered = nonlocal_means(noisy, settings);
    const double error = largest_error(filtered.image, test::literal_nonlocal_means(noisy, settings.h, c.sigma));
    // A logit's error of a few 1e-6 becomes the own weight's, and is divided by what is left of it.
    const double copy = std::exp(-2 / (c.strength * c.strength));
    EXPECT_TRUE(error <= 2e-5 + 4e-6 / copy) << error;
  }
}

TEST(NonlocalMeans, WithoutSigmaItIsPlainAttention) {
  Image noisy = test::synthetic(30, 30, 3);
  add_noise(noisy, 0.08, 5);
  const Filtered filtered = nonlocal_means(noisy, settings_of(0.08, 0));
  const double error = largest_error(filtered.image, test::literal_nonlocal_means(noisy, 0.08, 0));
  EXPECT_TRUE(error <= 2e-5) << error;
}

TEST(NonlocalMeans, TheReferenceEngineAgrees) {
  Image noisy = test::synthetic(24, 30, 3);
  add_noise(noisy, 0.08, 6);
  Settings settings = settings_of(0.068, 0.08);
  settings.options.engine = NF_ENGINE_REFERENCE;
  const Filtered filtered = nonlocal_means(noisy, settings);
  const double error = largest_error(filtered.image, test::literal_nonlocal_means(noisy, 0.068, 0.08));
  EXPECT_TRUE(error <= 2e-4) << error;
}

TEST(NonlocalMeans, RemovesNoise) {
  const Image original = test::synthetic(64, 64, 3);
  Image noisy = original;
  add_noise(noisy, 0.08, 8);
  const Filtered filtered = nonlocal_means(noisy, settings_of(0.068, 0.08));
  EXPECT_GT(psnr(filtered.image, original), psnr(noisy, original) + 7);
  // What the pixel's own weight is for: without it much of the noise stays.
  EXPECT_GT(psnr(filtered.image, original), psnr(nonlocal_means(noisy, settings_of(0.068, 0)).image, original) + 2);
}

TEST(NonlocalMeans, ThreadsDoNotChangeABit) {
  Image noisy = test::synthetic(45, 50, 3);
  add_noise(noisy, 0.08, 9);
  Settings settings = settings_of(0.068, 0.08);
  settings.options.num_threads = 1;
  const Filtered one = nonlocal_means(noisy, settings);
  settings.options.num_threads = 5;
  EXPECT_EQ(one.image.pixels, nonlocal_means(noisy, settings).image.pixels);
}

TEST(NonlocalMeans, AnOutlierIsKept) {
  // Nothing resembles it: all of its weight is its own, and removing nearly all of that must not divide noise by zero.
  Image noisy(32, 32, 3);
  for (float& value : noisy.pixels) value = 0.2f;
  add_noise(noisy, 0.02, 10);
  for (int64_t c = 0; c < 3; ++c) noisy.at(16, 16, c) = 1;
  const Filtered filtered = nonlocal_means(noisy, settings_of(0.012, 0.02));
  for (int64_t c = 0; c < 3; ++c) EXPECT_NEAR(filtered.image.at(16, 16, c), 1, 1e-3);
}

TEST(NonlocalMeans, WindowWeightsGiveTheResult) {
  Image noisy = test::synthetic(34, 37, 3);
  add_noise(noisy, 0.08, 14);
  const Settings settings = settings_of(0.068, 0.08);
  const Filtered filtered = nonlocal_means(noisy, settings);
  for (const Pixel query : {Pixel{0, 0}, Pixel{17, 20}, Pixel{33, 36}, Pixel{5, 30}}) {
    SCOPED_TRACE(std::to_string(query.y) + "," + std::to_string(query.x));
    const WindowWeights window = window_weights(filtered, settings, query);
    ASSERT_EQ(window.top, std::max<int64_t>(query.y - 10, 0));
    ASSERT_EQ(window.top + window.height, std::min<int64_t>(query.y + 11, 34));
    ASSERT_EQ(window.left, std::max<int64_t>(query.x - 10, 0));
    ASSERT_EQ(window.left + window.width, std::min<int64_t>(query.x + 11, 37));
    double total = 0, red = 0;
    for (int64_t y = 0; y < window.height; ++y)
      for (int64_t x = 0; x < window.width; ++x) {
        total += window.at(y, x);
        red += window.at(y, x) * noisy.at(window.top + y, window.left + x, 0);
      }
    EXPECT_NEAR(total, 1, 2e-4);
    EXPECT_NEAR(red, filtered.image.at(query.y, query.x, 0), 2e-4);
  }
}

TEST(NonlocalMeans, EffectivePixels) {
  WindowWeights window;
  window.weights = {0.25, 0.25, 0.25, 0.25, 0};
  EXPECT_DOUBLE_EQ(window.effective_pixels(), 4);
}

TEST(NonlocalMeans, InterestingQueryLiesOnAnEdge) {
  Image original(60, 60, 1);
  for (int64_t y = 0; y < 60; ++y)
    for (int64_t x = 0; x < 60; ++x) original.at(y, x, 0) = x < 27 ? 0.2f : 0.8f;
  add_noise(original, 0.05, 15);
  const Settings settings = settings_of(0.0425, 0.05);
  const Pixel query = interesting_query(nonlocal_means(original, settings), settings);
  EXPECT_TRUE(query.x == 26 || query.x == 27) << query.x;
  const Pixel tiny = interesting_query(nonlocal_means(Image(3, 4, 1), settings), settings);
  EXPECT_TRUE(tiny.y >= 0 && tiny.y < 3 && tiny.x >= 0 && tiny.x < 4);
}

TEST(NonlocalMeans, CountsPairs) {
  EXPECT_EQ(count_pairs(Image(3, 4, 1)), 12 * 12);
  int64_t on_axis = 0;
  for (int64_t i = 0; i < 30; ++i)
    for (int64_t j = 0; j < 30; ++j) on_axis += std::abs(i - j) <= 10;
  EXPECT_EQ(count_pairs(Image(30, 5, 3)), on_axis * 25);
  EXPECT_EQ(count_flops(Image(30, 5, 3)), 2.0 * static_cast<double>(on_axis) * 25 * (76 + 3));
}

void expect_refused(const Settings& settings, const std::string& message) {
  try {
    nonlocal_means(test::synthetic(16, 16, 1), settings);
    ADD_FAILURE() << "must throw: " << message;
  } catch (const std::invalid_argument& error) {
    EXPECT_EQ(error.what(), message);
  }
}

TEST(NonlocalMeans, BadSettingsAreNamed) {
  expect_refused(settings_of(0, 0.1), "h=0: must be greater than 0");
  expect_refused(settings_of(-1, 0), "h=-1: must be greater than 0");
  expect_refused(settings_of(NAN, 0), "h=nan: must be greater than 0");
  expect_refused(settings_of(0.1, -0.5), "sigma=-0.5: must be at least 0");
  expect_refused(settings_of(0.1, NAN), "sigma=nan: must be at least 0");
  expect_refused(settings_of(0.05, 0.1), "h=0.05: must be at least 0.6 * sigma = 0.06");
}

TEST(NonlocalMeans, QueryOutsideIsNamed) {
  EXPECT_NO_THROW(check_query(Image(4, 6, 1), {3, 5}));
  for (const Pixel query : {Pixel{4, 0}, Pixel{0, 6}, Pixel{-1, 0}, Pixel{0, -1}})
    EXPECT_THROW(check_query(Image(4, 6, 1), query), std::invalid_argument) << query.y << "," << query.x;
}

}  // namespace
}  // namespace denoise
