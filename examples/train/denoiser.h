// Non-local means with learnt patches, and its gradient.
//
// examples/denoise compares the patches P_i and P_j by |P_i - P_j|^2/h^2. Here a linear map W of the patches is learnt:
//   e_i = (sqrt(2)/h) P_i W                        weights  p_ij = softmax over j of -|e_i - e_j|^2 / 2
//   out_i = sum_j p_ij v_j,   v_j = noisy pixel    result_i = (out_i - r_i v_i) / (1 - r_i),   r_i = (1 - c) p_ii
// which is attention with q_i = [e_i, 1], k_j = [e_j, -|e_j|^2/2] and scale 1, over a 21x21 window cut at the border.
// The last step gives a pixel's own weight the factor c, which is learnt too: c = floor + (1 - floor)/(1 + exp(-t)).
// p_ii = exp(|e_i|^2/2 - logsumexp_i) makes result a function of out and of logsumexp; nearfield::backward takes the
// gradients of both. With W = 1 and c = exp(-2 sigma^2/h^2) it is the plain filter.
#pragma once

#include <cstdint>
#include <vector>

#include "image.h"
#include "nearfield/nearfield.hpp"
#include "patches.h"

namespace train {

using denoise::Image;

inline constexpr int64_t kChannels = 3;
inline constexpr int64_t kPatch = denoise::kPatchSize * denoise::kPatchSize * kChannels;
inline constexpr int64_t kParameters = kPatch * kPatch + 1;
// What c never falls below, for it divides the rounding errors of float32. Just below the plain filter's smallest.
inline constexpr double kOwnFloor = 0.003;

struct Model {
  double h = 0;                    // fixed: the unit in which W measures, as plain non-local means' strength
  std::vector<double> parameters;  // kParameters: W, row-major (kPatch, kPatch), and t
};

// The model that equals denoise::nonlocal_means. Throws std::invalid_argument unless sigma > 0 and h >= 0.6 sigma.
Model plain_model(double sigma, double h);
// c of a model.
double own_factor(const Model& model);

// One noisy image: its patches are taken once, models come and go. Real is float or double; double is for tests.
template <class Real>
class Denoiser {
 public:
  // Throws std::invalid_argument for a negative number of threads and an image that is not RGB or smaller than
  // denoise::kMinSide. Of options, the scale is replaced.
  Denoiser(const Image& noisy, const nearfield::Options& options);

  // The filtered pixels, (height, width, kChannels). The same bits for any number of threads, as is the gradient.
  const std::vector<Real>& run(const Model& model);
  // The gradient of the last run's model, (kParameters), from that of its result; std::logic_error if none has run.
  std::vector<double> gradient(const std::vector<Real>& dresult);

 private:
  nearfield::Tensor view(const std::vector<Real>& memory, int64_t channels) const;
  void embed();
  void reweigh_own_pixels();
  void reweigh_own_pixels_backward(const std::vector<Real>& dresult);
  void embed_backward(std::vector<double>& gradient);

  int64_t height_, width_, pixels_;
  nearfield::Options options_;
  std::vector<Real> patches_, value_;             // (pixels, kPatch), (pixels, kChannels)
  std::vector<Real> weights_;                     // of the last run: (sqrt(2)/h) W
  double unit_ = 0, own_ = 0, own_slope_ = 0;     // sqrt(2)/h, c, dc/dt
  std::vector<Real> query_, key_;                 // (pixels, kPatch + 1)
  std::vector<Real> out_, logsumexp_, share_;     // (pixels, kChannels), (pixels), (pixels): p_ii
  std::vector<Real> result_;                      // (pixels, kChannels)
  std::vector<Real> dquery_, dkey_;               // as query
  std::vector<Real> dout_, dlogsumexp_, dlogit_;  // as out, logsumexp; dlogit: of |e_i|^2/2
  double down_ = 0;                               // gradient of c
};

// The whole filter, in float32.
Image denoise_with(const Model& model, const Image& noisy, const nearfield::Options& options);

// Mean squared error over all values of the image, and its gradient for the model's parameters. Throws
// std::invalid_argument if the images have different shapes.
struct Loss {
  double value = 0;
  std::vector<double> gradient;
};
template <class Real>
Loss loss_of(const Model& model, const Image& noisy, const Image& clean, const nearfield::Options& options);

}  // namespace train
