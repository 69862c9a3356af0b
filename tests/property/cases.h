// How the property tests draw their problems and report what fails.
//
// Environment: NEARFIELD_PROPERTY_CASES (problems of all tests together, 32000), NEARFIELD_PROPERTY_SEED (1),
// NEARFIELD_PROPERTY_FIRST (0: number of the first problem, to repeat one that failed).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "check/random_problem.h"
#include "check_problem.h"

namespace nearfield::property {

// What one problem came to.
struct Outcome {
  bool ran = false;     // false: this problem cannot show the property (one image, a kernel that cannot run it, ...)
  std::string failure;  // empty: the property holds
};

// Runs `body` on its share of the problems, on all cores, and adds a gtest failure for each that fails (ten at most),
// with its number. Also fails if fewer than `least_ran` of the problems ran: a test that skips everything proves
// nothing. `body` may be called concurrently.
void for_cases(double share, double least_ran, const std::function<Outcome(uint64_t seed)>& body);

// Problems that the CPU engine is meant to run; mostly small ones, now and then one of many steps and tiles.
// gradients: with what a backward needs.
core::RandomProblem draw(uint64_t seed, bool gradients = false);

// The instruction sets to try a problem on: all that this machine has, and for every eighth problem portable16, which
// is slow, and twice as wide as those of most machines.
std::vector<nf_isa> isas_of(uint64_t seed);
nf_isa one_isa_of(uint64_t seed);

// One of this machine's instruction sets (or, now and then, portable16) with one of the kernels.
cli::CheckSetting random_setting(core::Random& random, int32_t threads);

}  // namespace nearfield::property
