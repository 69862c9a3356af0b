// A device of the emulator, behind the table through which the library sees a GPU (engine/cuda/table.h), and problems
// whose tensors lie in its memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "emulator.h"
#include "engine/cuda/table.h"
#include "engine/problem.h"

namespace nearfield::emulator {

// One at a time on a thread. Its table is the same for all of them.
class EmulatedDevice {
 public:
  explicit EmulatedDevice(uint64_t seed);
  ~EmulatedDevice();
  EmulatedDevice(const EmulatedDevice&) = delete;
  EmulatedDevice& operator=(const EmulatedDevice&) = delete;

  static const cuda::Table& table();
  Emulator emulator;
  int64_t most_blocks = int64_t{1} << 31;  // that run side by side: the others' work is theirs, too
  int64_t launches = 0;
  int memory_left = 1 << 20;  // allocations until there is no memory
  int pending_error = 0;      // what an earlier call left behind
};

// A tensor's elements in memory of the device, with the same strides, aligned to its elements.
class DeviceCopy {
 public:
  DeviceCopy() = default;
  DeviceCopy(Emulator& emulator, const core::TensorView& host, bool writable);
  ~DeviceCopy();
  DeviceCopy(DeviceCopy&&) = delete;
  const core::TensorView& view() const { return view_; }
  // Elements back to where they came from.
  void copy_back() const;

 private:
  Emulator* emulator_ = nullptr;
  core::TensorView host_, view_;
  std::vector<double> memory_;  // of doubles for their alignment
};

// Views of a problem on the device.
class DeviceProblem {
 public:
  DeviceProblem(EmulatedDevice& device, const core::Problem& host);
  const core::Problem& problem() const { return problem_; }
  core::TensorView add(const core::TensorView& host, bool writable);
  core::ForwardOutputs add(const core::ForwardOutputs& host);
  core::BackwardInputs add(const core::BackwardInputs& host);
  core::Gradients add(const core::Gradients& host);
  // Memory that is nobody's copy, full of NaN.
  std::byte* workspace(size_t bytes);
  void copy_back() const;

 private:
  EmulatedDevice& device_;
  core::Problem problem_;
  std::vector<std::unique_ptr<DeviceCopy>> copies_;
  std::vector<std::byte> workspace_;
};

// Both passes on the device; outputs and gradients come back to host memory.
void run_forward(EmulatedDevice& device, const core::Problem& problem, const core::ForwardOutputs& outputs);
void run_backward(EmulatedDevice& device, const core::Problem& problem, const core::BackwardInputs& inputs,
                  const core::Gradients& gradients);

}  // namespace nearfield::emulator
