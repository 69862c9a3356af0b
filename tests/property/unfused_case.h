// Random problems of the unfused operators: a random attention problem, weights and gradients for it in any layout, and
// the operators through the C ABI beside the reference's products on float64 outputs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "check/compare.h"
#include "check/random_problem.h"
#include "check_problem.h"
#include "engine/reference/unfused.h"

namespace nearfield::property {

struct UnfusedOptions {
  bool not_finite = false;  // now and then a NaN or an infinity in a tensor
};

class UnfusedCase {
 public:
  UnfusedCase(uint64_t seed, const UnfusedOptions& options);

  // False where weights would be too many, or there are none (zero sizes).
  bool is_usable() const { return usable_; }
  // Runs all operators and their gradients; "" or what is wrong: a status, a value, memory that was written.
  std::string check(const cli::CheckSetting& setting);
  // The bits of all outputs of a run.
  std::vector<std::byte> bits(const cli::CheckSetting& setting, std::string& failure);
  std::string describe() const;

 private:
  enum Output {
    kWeights,
    kOut,
    kDquery,
    kDkey,
    kDadditionalKeys,
    kDbias,
    kDweights,
    kDvalue,
    kDadditionalValues,
    kOutputs
  };

  core::TensorView place(std::vector<std::unique_ptr<core::GuardedBuffer>>& buffers, core::DType dtype,
                         const core::TensorView& like, bool keep_last);
  void draw_weights();
  void plant();
  void expect();
  std::string run(const cli::CheckSetting& setting);
  core::Tolerance tolerance(Output output);

  core::Random choice_;
  core::RandomProblem random_;
  bool usable_ = false;
  core::UnfusedProblem problem_;
  core::TensorView weights_, dweights_, dout_;
  core::TensorView outputs_[kOutputs];
  core::DenseTensor expected_[kOutputs], magnitudes_[kOutputs];
  std::vector<std::unique_ptr<core::GuardedBuffer>> sources_, targets_;
  std::string planted_;
};

}  // namespace nearfield::property
