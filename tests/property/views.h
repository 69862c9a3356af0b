// Other views of the same attention problem: its output's bits, one of its images, the same numbers in other memory.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "engine/problem.h"

namespace nearfield::property {

// The bytes of a tensor's elements in row-major order, without the gaps.
std::vector<std::byte> bits_of(const core::TensorView& view);

// Bits of out and, if there is one, logsumexp.
struct OutputBits {
  std::vector<std::byte> out, logsumexp;
  explicit OutputBits(const core::ForwardOutputs& outputs) : out(bits_of(outputs.out)) {
    if (outputs.logsumexp) logsumexp = bits_of(outputs.logsumexp);
  }
};

// "" or the first element that differs; rows for which `may_change` holds are not looked at.
using RowPredicate = std::function<bool(int64_t batch, const int64_t* token, int64_t head)>;
std::string first_difference(const core::ForwardOutputs& outputs, int rank, const OutputBits& before,
                             const RowPredicate& may_change = {});

// Image `batch` alone. Shares the memory.
core::Problem image_of(const core::Problem& problem, int64_t batch);
core::ForwardOutputs image_of(const core::ForwardOutputs& outputs, int64_t batch);
core::BackwardInputs image_of(const core::BackwardInputs& inputs, int64_t batch);
core::Gradients image_of(const core::Gradients& gradients, int64_t batch);

// A contiguous copy, aligned to 64 bytes.
class Copy {
 public:
  explicit Copy(const core::TensorView& from);  // of a null view: a null view
  const core::TensorView& view() const { return view_; }

 private:
  std::vector<std::byte> memory_;
  core::TensorView view_;
};

}  // namespace nearfield::property
