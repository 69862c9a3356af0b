// The baseline engine, which computes by blocks: the same attention as the reference's, forward, without modifiers.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "cases.h"
#include "check/compare.h"
#include "engine/reference/rows.h"
#include "views.h"

namespace nearfield::property {
namespace {

using cli::CheckSetting;
using core::concat;

core::RandomProblem draw_plain(uint64_t seed) {
  core::RandomProblemOptions options;
  options.spheres = false;
  options.additional_keys = options.key_mask = options.key_weights = options.bias = options.softcap = false;
  if (seed % 4 == 0) options.max_pairs *= 4, options.max_multiplies *= 8;  // several blocks on each side
  return core::RandomProblem(seed, options);
}

Outcome run(core::RandomProblem& random, const CheckSetting& setting) {
  random.poison();
  const cli::CallOutcome call = cli::run_forward(random.problem(), random.outputs(), setting);
  if (call.status != NF_OK) return {true, concat(nf_status_name(call.status), ": ", call.message)};
  const std::string damage = random.damage();
  return {true, damage.empty() ? "" : "memory was written " + damage};
}

CheckSetting block_sparse(nf_isa isa, int32_t threads) {
  return {isa, NF_KERNEL_AUTO, threads, NF_ENGINE_BLOCK_SPARSE};
}

Outcome failed(const core::RandomProblem& random, const CheckSetting& setting, const std::string& what) {
  return {true, concat(what, "\n  ", cli::describe(setting), "\n  ", random.describe())};
}

TEST(Property, BlockSparseAgreesWithTheReference) {
  for_cases(0.05, 1.0, [](uint64_t seed) {
    core::RandomProblem random = draw_plain(seed);
    const core::ExpectedForward expected(random.problem());
    for (nf_isa isa : isas_of(seed)) {
      const CheckSetting setting = block_sparse(isa, 1);
      Outcome outcome = run(random, setting);
      if (outcome.failure.empty()) outcome.failure = expected.compare(random.outputs()).failure;
      if (!outcome.failure.empty()) return failed(random, setting, outcome.failure);
    }
    return Outcome{true, ""};
  });
}

TEST(Property, BlockSparseGivesTheSameBitsWithAnyThreads) {
  for_cases(0.02, 1.0, [](uint64_t seed) {
    core::RandomProblem random = draw_plain(seed);
    const nf_isa isa = one_isa_of(seed);
    Outcome outcome = run(random, block_sparse(isa, 1));
    const OutputBits alone(random.outputs());
    if (outcome.failure.empty()) outcome = run(random, block_sparse(isa, 3));
    if (outcome.failure.empty())
      outcome.failure = first_difference(random.outputs(), random.problem().shape.rank, alone);
    return outcome.failure.empty() ? outcome : failed(random, block_sparse(isa, 3), outcome.failure);
  });
}

// A key that is no number: who sees it is told, nobody else.
TEST(Property, BlockSparseKeepsNanFromQueriesThatDoNotSeeIt) {
  for_cases(0.02, 0.6, [](uint64_t seed) {
    core::RandomProblem random = draw_plain(seed);
    core::Problem& problem = random.problem();
    const int rank = problem.shape.rank;
    if (problem.shape.batch * problem.shape.tokens() == 0 || problem.value.strides[0] == 0) return Outcome{};
    core::Random choice(seed + 1);
    core::GridIndex token{};
    for (int a = 0; a < rank; ++a) token[static_cast<size_t>(a)] = choice.below(problem.shape.grid[a]);
    const int64_t kv_head = choice.below(problem.shape.heads_kv);
    const CheckSetting setting = block_sparse(NF_ISA_AUTO, 1);
    Outcome outcome = run(random, setting);
    const OutputBits clean(random.outputs());
    const int64_t element = core::grid_element(problem.value, rank, 0, token, kv_head);
    core::store_double(problem.value.at(element), problem.value.dtype, std::numeric_limits<double>::quiet_NaN());
    if (outcome.failure.empty()) outcome = run(random, setting);
    const auto seers = core::queries_that_see(problem, token);
    const RowPredicate may_change = [&](int64_t batch, const int64_t* query, int64_t head) {
      core::GridIndex index{};
      std::copy_n(query, rank, index.begin());
      return batch == 0 && problem.shape.kv_head(head) == kv_head &&
             std::find(seers.begin(), seers.end(), index) != seers.end();
    };
    if (outcome.failure.empty()) outcome.failure = first_difference(random.outputs(), rank, clean, may_change);
    if (outcome.failure.empty()) outcome.failure = core::ExpectedForward(problem).compare(random.outputs()).failure;
    return outcome.failure.empty() ? outcome : failed(random, setting, outcome.failure);
  });
}

}  // namespace
}  // namespace nearfield::property
