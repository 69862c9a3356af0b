// The train example's model and trainer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "denoiser.h"
#include "literal_nonlocal_means.h"
#include "nonlocal_means.h"
#include "random.h"
#include "test_files.h"
#include "trainer.h"

namespace train {
namespace {

constexpr double kSigma = 0.08;

nearfield::Options threads(int32_t count) { return nearfield::Options().with_threads(count); }

Image noisy_copy(const Image& clean, uint64_t seed) {
  Image noisy = clean;
  denoise::add_noise(noisy, kSigma, seed);
  return noisy;
}

// Off the identity, so that no part of the gradient is small by symmetry.
Model random_model(double own, denoise::Random& random) {
  Model model = plain_model(kSigma, 0.9 * kSigma);
  for (double& parameter : model.parameters) parameter += 0.1 * (random.uniform() - 0.5);
  model.parameters.back() = own;
  return model;
}

std::string refusal(auto&& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(TrainDenoiser, UntrainedIsPlainNonlocalMeans) {
  const Image noisy = noisy_copy(denoise::test::synthetic(27, 31, 3), 1);
  for (double factor : {0.6, 0.85, 1.5}) {
    SCOPED_TRACE(factor);
    const Model model = plain_model(kSigma, factor * kSigma);
    const std::vector<double> expected = denoise::test::literal_nonlocal_means(noisy, factor * kSigma, kSigma);
    Denoiser<double> exact(noisy, threads(2));
    const std::vector<double>& result = exact.run(model);
    ASSERT_EQ(result.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      // The patches are float32.
      const double error = std::abs(result[i] - expected[i]);
      ASSERT_TRUE(error <= 5e-6) << i << ": " << result[i] << " instead of " << expected[i];
    }
    // Dividing by a lonely pixel's own factor enlarges the rounding errors of both.
    const double tolerance = 2e-6 / own_factor(model);
    const Image plain = denoise::nonlocal_means(noisy, {factor * kSigma, kSigma, threads(1)}).image;
    const Image single = denoise_with(model, noisy, threads(1));
    ASSERT_EQ(single.pixels.size(), plain.pixels.size());
    for (size_t i = 0; i < plain.pixels.size(); ++i) {
      const double error = std::abs(static_cast<double>(single.pixels[i]) - plain.pixels[i]);
      ASSERT_TRUE(error <= tolerance) << i << ": " << single.pixels[i] << " instead of " << plain.pixels[i];
    }
  }
}

TEST(TrainDenoiser, GradientIsThatOfFiniteDifferences) {
  constexpr double kStep = 1e-4;
  const Image clean = denoise::test::synthetic(13, 25, 3);
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    denoise::Random random(seed);
    const Image noisy = noisy_copy(clean, random.next());
    // An own factor of 0.05 and one near 1.
    const Model model = random_model(seed == 3 ? 3 : -3, random);
    const std::vector<double> gradient = loss_of<double>(model, noisy, clean, threads(2)).gradient;
    const auto check = [&](const std::vector<double>& direction, const std::string& name) {
      Model up = model, down = model;
      double expected = 0;
      for (size_t i = 0; i < direction.size(); ++i) {
        up.parameters[i] += kStep * direction[i];
        down.parameters[i] -= kStep * direction[i];
        expected += gradient[i] * direction[i];
      }
      Denoiser<double> denoiser(noisy, threads(2));
      const auto loss = [&](const Model& moved) {
        const std::vector<double>& result = denoiser.run(moved);
        double sum = 0;
        for (size_t i = 0; i < result.size(); ++i) sum += std::pow(result[i] - clean.pixels[i], 2);
        return sum / static_cast<double>(result.size());
      };
      const double found = (loss(up) - loss(down)) / (2 * kStep);
      const double error = std::abs(found - expected);
      EXPECT_TRUE(error <= 1e-6 * std::abs(expected) + 1e-12)
          << "seed " << seed << ", " << name << ": " << expected << ", by differences " << found;
      EXPECT_GT(std::abs(expected), 1e-9) << "seed " << seed << ", " << name << ": proves nothing";
    };
    for (int i = 0; i < 4; ++i) {
      std::vector<double> direction(kParameters);
      for (double& x : direction) x = random.uniform() - 0.5;
      check(direction, "direction " + std::to_string(i));
    }
    for (int i = 0; i <= 6; ++i) {
      std::vector<double> direction(kParameters);
      const size_t single = i == 6 ? kParameters - 1 : random.next() % kParameters;
      direction[single] = 1;
      check(direction, "parameter " + std::to_string(single));
    }
  }
}

TEST(TrainDenoiser, SameBitsForAnyNumberOfThreads) {
  const Image clean = denoise::test::synthetic(30, 37, 3), noisy = noisy_copy(clean, 5);
  denoise::Random random(5);
  const Model model = random_model(-2, random);
  const Loss one = loss_of<float>(model, noisy, clean, threads(1));
  for (int32_t count : {2, 3, 100}) {
    SCOPED_TRACE(count);
    const Loss many = loss_of<float>(model, noisy, clean, threads(count));
    EXPECT_EQ(many.value, one.value);
    EXPECT_EQ(many.gradient, one.gradient);
  }
}

TEST(TrainDenoiser, OwnFactorStaysBetweenItsFloorAndOne) {
  Model model = plain_model(kSigma, kSigma);
  EXPECT_NEAR(own_factor(model), std::exp(-2.0), 1e-12);
  model.parameters.back() = -1000;
  EXPECT_EQ(own_factor(model), kOwnFloor);
  model.parameters.back() = 1000;
  EXPECT_EQ(own_factor(model), 1);
}

TEST(TrainDenoiser, NamesWhatItRefuses) {
  const Image image = denoise::test::synthetic(8, 9, 3);
  const Model model = plain_model(kSigma, kSigma);
  EXPECT_EQ(refusal([] { plain_model(0, 1); }), "sigma=0: must be greater than 0");
  EXPECT_EQ(refusal([] { plain_model(0.1, 0.05); }), "h=0.05: must be at least 0.6 * sigma = 0.06");
  EXPECT_EQ(refusal([] { plain_model(0.1, NAN); }), "h=nan: must be at least 0.6 * sigma = 0.06");
  EXPECT_EQ(refusal([&] { denoise_with(model, Image(8, 9, 1), {}); }), "image: has 1 channels: must have 3");
  EXPECT_EQ(refusal([&] { denoise_with(model, Image(2, 9, 3), {}); }),
            "image: 9 x 2 pixels: must be at least 3 on each side");
  EXPECT_EQ(refusal([&] { denoise_with(model, image, threads(-1)); }), "num_threads=-1: must be at least 0");
  EXPECT_EQ(refusal([&] { denoise_with({1, {1, 2}}, image, {}); }), "model: has 2 parameters: must have 5626");
  EXPECT_EQ(refusal([&] { loss_of<float>(model, image, Image(9, 8, 3), {}); }),
            "clean: must have the shape of the noisy image");
  Denoiser<float> denoiser(image, {});
  EXPECT_THROW(denoiser.gradient({}), std::logic_error);
  denoiser.run(model);
  EXPECT_EQ(refusal([&] { denoiser.gradient({1}); }), "dresult: has 1 values: must have 216");
}

TrainingPlan short_plan(int32_t count) {
  TrainingPlan plan;
  plan.sigma = kSigma;
  plan.steps = 12;
  plan.side = 24;
  plan.options = threads(count);
  return plan;
}

struct Training {
  std::vector<double> losses;
  Model model;
};
Training train_on(const Image& clean, const TrainingPlan& plan) {
  Trainer trainer(clean, plain_model(kSigma, 0.9 * kSigma), plan);
  Training run;
  while (!trainer.done()) run.losses.push_back(trainer.advance());
  run.model = trainer.model();
  return run;
}

TEST(Trainer, AFewStepsLowerTheLossOnUnseenNoise) {
  const Image clean = denoise::test::synthetic(40, 44, 3), noisy = noisy_copy(clean, 999);
  const double before = loss_of<float>(plain_model(kSigma, 0.9 * kSigma), noisy, clean, threads(2)).value;
  const Training run = train_on(clean, short_plan(2));
  const double after = loss_of<float>(run.model, noisy, clean, threads(2)).value;
  EXPECT_TRUE(after < 0.9 * before) << "from " << before << " to " << after;
}

TEST(Trainer, RepeatsItselfWithAnyNumberOfThreads) {
  const Image clean = denoise::test::synthetic(40, 44, 3);
  const Training one = train_on(clean, short_plan(1)), two = train_on(clean, short_plan(2));
  EXPECT_EQ(one.losses, two.losses);
  EXPECT_EQ(one.model.parameters, two.model.parameters);
  TrainingPlan other = short_plan(2);
  other.seed = 2;
  EXPECT_NE(train_on(clean, other).losses, one.losses);
}

TEST(Trainer, TakesAPhotographSmallerThanAPieceWhole) {
  TrainingPlan plan = short_plan(1);
  plan.steps = 2;
  plan.side = 1000;
  const Training run = train_on(denoise::test::synthetic(9, 30, 3), plan);
  for (double loss : run.losses) EXPECT_TRUE(loss > 0 && loss < 1) << loss;
}

TEST(Trainer, NamesWhatItRefuses) {
  const Image clean = denoise::test::synthetic(8, 9, 3);
  const auto refusal_of = [&](void (*change)(TrainingPlan&)) {
    TrainingPlan plan;
    change(plan);
    return refusal([&] { Trainer(clean, plain_model(kSigma, kSigma), plan); });
  };
  EXPECT_EQ(refusal_of([](TrainingPlan& plan) { plan.sigma = 0; }), "sigma=0: must be greater than 0");
  EXPECT_EQ(refusal_of([](TrainingPlan& plan) { plan.steps = 0; }), "steps=0: must be at least 1");
  EXPECT_EQ(refusal_of([](TrainingPlan& plan) { plan.side = 2; }), "side=2: must be at least 3");
  EXPECT_EQ(refusal_of([](TrainingPlan& plan) { plan.learning_rate = NAN; }),
            "learning_rate=nan: must be greater than 0");
}

}  // namespace
}  // namespace train
