// That the emulator's checks would find a mistake in the kernels: each of their barriers, left out, is noticed.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "check/random_problem.h"
#include "emulated_device.h"

namespace nearfield::emulator {
namespace {

// The first one from `seed` on that has some tiles.
core::RandomProblem problem_of(uint64_t seed, bool gradients) {
  core::RandomProblemOptions options;
  options.gradients = options.all_gradients = gradients;
  options.zero_sizes = false;
  options.dtypes = {core::DType::float32};
  options.max_pairs = 6000;
  options.max_multiplies = 300000;
  options.threading.num_threads = 1;
  while (true) {
    core::RandomProblem random(seed++, options);
    if (random.problem().shape.tokens() >= 100) return random;
  }
}

// Whether a run with barrier `skipped` left out of every kernel fails; -1: none is.
bool fails(core::RandomProblem& random, bool gradients, int64_t skipped, Counts* counts = nullptr) {
  EmulatedDevice device(1);
  device.most_blocks = 1;  // tiles follow each other in one block
  device.emulator.fault.skipped_barrier = skipped;
  try {
    if (gradients) {
      run_backward(device, random.problem(), random.backward_inputs(), random.gradients());
    } else {
      run_forward(device, random.problem(), random.outputs());
    }
  } catch (const core::Error&) {
    return true;
  }
  if (counts != nullptr) *counts = device.emulator.counts;
  return false;
}

void expect_every_barrier_to_count(uint64_t seed, bool gradients) {
  core::RandomProblem random = problem_of(seed, gradients);
  Counts counts;
  ASSERT_FALSE(fails(random, gradients, -1, &counts)) << random.describe();
  ASSERT_GE(counts.barriers, 8) << random.describe();
  for (int64_t skipped = 0; skipped < std::min<int64_t>(counts.barriers, 24); ++skipped)
    EXPECT_TRUE(fails(random, gradients, skipped)) << "barrier " << skipped << " of " << counts.barriers << "\n"
                                                   << random.describe();
}

TEST(EmulatorFaults, NoBarrierOfTheForwardCanBeLeftOut) {
  for (const uint64_t seed : {100, 200, 300}) expect_every_barrier_to_count(seed, false);
}

TEST(EmulatorFaults, NoBarrierOfTheBackwardCanBeLeftOut) { expect_every_barrier_to_count(400, true); }

// Rows are padded so that neither products nor sums meet in a bank.
TEST(EmulatorFaults, KernelsHaveFewBankConflicts) {
  core::RandomProblem random = problem_of(500, true);
  EmulatedDevice device(1);
  device.emulator.counts_banks = true;
  run_backward(device, random.problem(), random.backward_inputs(), random.gradients());
  const Counts& counts = device.emulator.counts;
  EXPECT_GT(counts.shared_accesses, 1000);
  EXPECT_LE(counts.bank_conflicts, counts.shared_accesses / 20);
}

// Nothing depends on the order in which threads run, and no sum on which block makes it.
TEST(EmulatorFaults, AnyOrderOfThreadsAndBlocksGivesTheSameBits) {
  core::RandomProblem random = problem_of(600, true);
  const core::TensorView& gradient = random.gradients().key;
  std::vector<std::byte> first;
  for (const uint64_t seed : {1, 2}) {
    EmulatedDevice device(seed);
    device.most_blocks = static_cast<int64_t>(seed);
    random.poison();
    run_backward(device, random.problem(), random.backward_inputs(), random.gradients());
    std::vector<std::byte> bits;
    core::for_each_element(gradient, [&](const auto&, int64_t element) {
      const std::byte* const at = gradient.at(element);
      bits.insert(bits.end(), at, at + core::size_of(gradient.dtype));
    });
    ASSERT_FALSE(bits.empty());
    if (first.empty()) first = bits;
    EXPECT_EQ(first, bits);
  }
}

}  // namespace
}  // namespace nearfield::emulator
