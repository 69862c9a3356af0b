// Fits a model by gradient descent: every step takes a random piece of the photograph, adds fresh noise to it, and
// moves the parameters against the gradient of the mean squared error (Adam: Kingma and Ba, 2015).
#pragma once

#include <cstdint>
#include <vector>

#include "denoiser.h"
#include "random.h"

namespace train {

struct TrainingPlan {
  double sigma = 0.08;  // standard deviation of the noise
  int64_t steps = 250;
  int64_t side = 96;            // of the pieces, in pixels; smaller photographs are taken whole
  double learning_rate = 0.01;  // of the first steps; it falls to 0 along half a cosine
  uint64_t seed = 1;
  nearfield::Options options;
};

class Trainer {
 public:
  // `clean` must outlive the trainer. Throws std::invalid_argument for a plan that makes no sense.
  Trainer(const Image& clean, const Model& start, const TrainingPlan& plan);

  bool done() const { return step_ == plan_.steps; }
  int64_t step() const { return step_; }
  // One step. Returns the loss before it: the mean squared error of the piece. The same for the same plan, whatever the
  // number of threads.
  double advance();
  const Model& model() const { return model_; }

 private:
  void descend(const std::vector<double>& gradient);

  const Image& clean_;
  Model model_;
  TrainingPlan plan_;
  denoise::Random random_;
  int64_t step_ = 0;
  std::vector<double> mean_, square_;  // of the gradient, running
};

}  // namespace train
