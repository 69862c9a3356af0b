#include "trainer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>
#include <stdexcept>

#include "canvas.h"

namespace train {
namespace {

void check(const TrainingPlan& plan) {
  std::ostringstream text;
  if (!(plan.sigma > 0) || !std::isfinite(plan.sigma))
    text << "sigma=" << plan.sigma << ": must be greater than 0";
  else if (plan.steps < 1)
    text << "steps=" << plan.steps << ": must be at least 1";
  else if (plan.side < denoise::kMinSide)
    text << "side=" << plan.side << ": must be at least " << denoise::kMinSide;
  else if (!(plan.learning_rate > 0) || !std::isfinite(plan.learning_rate))
    text << "learning_rate=" << plan.learning_rate << ": must be greater than 0";
  if (!text.str().empty()) throw std::invalid_argument(text.str());
}

}  // namespace

Trainer::Trainer(const Image& clean, const Model& start, const TrainingPlan& plan)
    : clean_(clean),
      model_(start),
      plan_(plan),
      random_(plan.seed),
      mean_(start.parameters.size()),
      square_(start.parameters.size()) {
  check(plan);
}

double Trainer::advance() {
  const int64_t height = std::min(plan_.side, clean_.height), width = std::min(plan_.side, clean_.width);
  const auto position = [this](int64_t places) {
    return static_cast<int64_t>(random_.next() % static_cast<uint64_t>(places));
  };
  const int64_t top = position(clean_.height - height + 1), left = position(clean_.width - width + 1);
  const Image piece = denoise::crop(clean_, {top, left, height, width});
  Image noisy = piece;
  denoise::add_noise(noisy, plan_.sigma, random_.next());
  const Loss loss = loss_of<float>(model_, noisy, piece, plan_.options);
  descend(loss.gradient);
  return loss.value;
}

void Trainer::descend(const std::vector<double>& gradient) {
  constexpr double kMeanDecay = 0.9, kSquareDecay = 0.99, kTiny = 1e-12;
  const double progress = static_cast<double>(step_) / static_cast<double>(plan_.steps);
  const double rate = plan_.learning_rate * (1 + std::cos(std::numbers::pi * progress)) / 2;
  ++step_;
  const double mean_filled = 1 - std::pow(kMeanDecay, step_), square_filled = 1 - std::pow(kSquareDecay, step_);
  for (size_t i = 0; i < gradient.size(); ++i) {
    mean_[i] += (1 - kMeanDecay) * (gradient[i] - mean_[i]);
    square_[i] += (1 - kSquareDecay) * (gradient[i] * gradient[i] - square_[i]);
    model_.parameters[i] -= rate * (mean_[i] / mean_filled) / (std::sqrt(square_[i] / square_filled) + kTiny);
  }
}

}  // namespace train
