#include "cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "base/thread_pool.h"

namespace nearfield::property {
namespace {

int64_t environment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoll(text, nullptr, 10);
}

}  // namespace

void for_cases(double share, double least_ran, const std::function<Outcome(uint64_t seed)>& body) {
  constexpr int kMostReports = 10;
  const int64_t all = environment("NEARFIELD_PROPERTY_CASES", 32000);
  const int64_t cases = std::max<int64_t>(1, std::llround(share * static_cast<double>(all)));
  const int64_t first = environment("NEARFIELD_PROPERTY_FIRST", 0);
  const auto base_seed = static_cast<uint64_t>(environment("NEARFIELD_PROPERTY_SEED", 1));
  std::vector<Outcome> outcomes(static_cast<size_t>(cases));
  core::Threading threading;
  threading.num_threads = core::default_num_threads();
  core::parallel_for(threading, cases, [&](int64_t i) {
    const uint64_t seed = core::Random(base_seed + static_cast<uint64_t>(first + i) * 0xd1342543de82ef95u).bits();
    outcomes[static_cast<size_t>(i)] = body(seed);
  });
  int64_t ran = 0, failed = 0;
  for (int64_t i = 0; i < cases; ++i) {
    const Outcome& outcome = outcomes[static_cast<size_t>(i)];
    ran += outcome.ran ? 1 : 0;
    if (outcome.failure.empty() || ++failed > kMostReports) continue;
    ADD_FAILURE() << outcome.failure << "\nrepeat it alone: NEARFIELD_PROPERTY_SEED=" << base_seed
                  << " NEARFIELD_PROPERTY_FIRST=" << first + i << " NEARFIELD_PROPERTY_CASES=1";
  }
  EXPECT_EQ(failed, 0) << "of " << ran << " problems that ran";
  if (cases >= 100) {
    EXPECT_GE(static_cast<double>(ran), least_ran * static_cast<double>(cases));
  }
  ::testing::Test::RecordProperty("ran", std::to_string(ran));
}

core::RandomProblem draw(uint64_t seed, bool gradients) {
  core::RandomProblemOptions options;
  const bool plain = seed % 3 == 0;
  if (plain) options.additional_keys = options.key_mask = options.key_weights = options.bias = options.softcap = false;
  options.gradients = gradients;
  const bool large = seed % 8 == 0 && !gradients;
  options.max_pairs = large ? 200000 : 20000;
  options.max_multiplies = large ? 2000000 : 200000;
  return core::RandomProblem(seed, options);
}

std::vector<nf_isa> isas_of(uint64_t seed) {
  std::vector<nf_isa> isas = cli::available_isas();
  if (seed % 8 == 1 && nf_isa_unavailable(NF_ISA_PORTABLE16) == nullptr) isas.push_back(NF_ISA_PORTABLE16);
  return isas;
}

nf_isa one_isa_of(uint64_t seed) {
  const std::vector<nf_isa> isas = isas_of(seed);
  return isas[seed / 8 % isas.size()];
}

cli::CheckSetting random_setting(core::Random& random, int32_t threads) {
  const nf_isa isa = one_isa_of(random.bits());
  const auto kernel = static_cast<nf_kernel>(random.between(NF_KERNEL_AUTO, NF_KERNEL_TILE));
  return {isa, kernel, threads};
}

}  // namespace nearfield::property
