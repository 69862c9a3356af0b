// The SIMT kernels on the emulator against the float64 reference, on random problems of every pattern and modifier.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "base/error.h"
#include "check/compare.h"
#include "check/random_problem.h"
#include "emulated_device.h"

namespace nearfield::emulator {
namespace {

using core::concat;

// NEARFIELD_PROPERTY_CASES and NEARFIELD_PROPERTY_FIRST as elsewhere; a hundredth of the cases, since threads are slow.
int64_t environment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoll(text, nullptr, 10);
}

core::RandomProblemOptions small_problems(bool gradients) {
  core::RandomProblemOptions options;
  options.gradients = gradients;
  options.max_pairs = 3000;
  options.max_multiplies = 100000;
  options.threading.num_threads = 1;
  return options;
}

void for_seeds(int64_t cases, const std::function<std::string(uint64_t)>& body) {
  const int64_t first = environment("NEARFIELD_EMULATOR_FIRST", 0),
                count = environment("NEARFIELD_EMULATOR_CASES", cases);
  int failures = 0;
  for (int64_t i = first; i < first + count && failures < 5; ++i) {
    const uint64_t seed = core::Random(static_cast<uint64_t>(i) * 0xd1342543de82ef95u + 5).bits();
    std::string failure;
    try {
      failure = body(seed);
    } catch (const core::Error& error) {
      failure = error.what();
    }
    if (failure.empty()) continue;
    ++failures;
    core::RandomProblem problem(seed, small_problems(false));
    ADD_FAILURE() << failure << "\nrepeat it alone: NEARFIELD_EMULATOR_FIRST=" << i << " NEARFIELD_EMULATOR_CASES=1";
  }
}

TEST(EmulatorSimt, ForwardAgreesWithTheReference) {
  for_seeds(120, [](uint64_t seed) -> std::string {
    core::RandomProblem random(seed, small_problems(false));
    EmulatedDevice device(seed);
    if (seed % 4 == 0) device.most_blocks = 3;
    random.poison();
    const auto fail = [&](const std::string& what) { return concat(what, "\n", random.describe()); };
    try {
      run_forward(device, random.problem(), random.outputs());
    } catch (const core::Error& error) {
      return fail(error.what());
    }
    const std::string failure = core::ExpectedForward(random.problem()).compare(random.outputs()).failure;
    if (!failure.empty()) return fail(failure);
    const std::string damage = random.damage();
    return damage.empty() ? "" : fail("memory was written " + damage);
  });
}

TEST(EmulatorSimt, BackwardAgreesWithTheReference) {
  for_seeds(80, [](uint64_t seed) -> std::string {
    core::RandomProblem random(seed, small_problems(true));
    EmulatedDevice device(seed);
    if (seed % 4 == 0) device.most_blocks = 3;
    random.poison();
    const auto fail = [&](const std::string& what) { return concat(what, "\n", random.describe()); };
    try {
      run_backward(device, random.problem(), random.backward_inputs(), random.gradients());
    } catch (const core::Error& error) {
      return fail(error.what());
    }
    const core::ExpectedGradients expected(random.problem(), random.backward_inputs(), random.gradients());
    const std::string failure = expected.compare(random.gradients()).failure;
    if (!failure.empty()) return fail(failure);
    const std::string damage = random.damage();
    return damage.empty() ? "" : fail("memory was written " + damage);
  });
}

}  // namespace
}  // namespace nearfield::emulator
