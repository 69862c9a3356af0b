// What must hold for every problem, on random ones: the CPU engine, every instruction set that this machine has and
// every kernel, through the C ABI.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "base/error.h"
#include "cases.h"
#include "check/compare.h"
#include "engine/reference/rows.h"
#include "views.h"

namespace nearfield::property {
namespace {

using cli::CheckSetting;
using core::concat;

// Runs on poisoned outputs; "" or what went wrong, element values aside. ran: false if the kernel that the setting
// asks for cannot do this problem; without a kernel asked for that is a failure.
Outcome run(core::RandomProblem& random, const CheckSetting& setting) {
  random.poison();
  const cli::CallOutcome call = cli::run_forward(random.problem(), random.outputs(), setting);
  if (call.status == NF_UNSUPPORTED && setting.kernel != NF_KERNEL_AUTO) return {};
  if (call.status != NF_OK) return {true, concat(nf_status_name(call.status), ": ", call.message)};
  const std::string damage = random.damage();
  return {true, damage.empty() ? "" : "memory was written " + damage};
}

Outcome failed(const core::RandomProblem& random, const CheckSetting& setting, const std::string& what) {
  return {true, concat(what, "\n  ", cli::describe(setting), "\n  ", random.describe())};
}

TEST(Property, EveryInstructionSetAndKernelAgreesWithTheReference) {
  for_cases(0.3, 1.0, [](uint64_t seed) {
    core::RandomProblem random = draw(seed);
    const core::ExpectedForward expected(random.problem());
    for (nf_isa isa : isas_of(seed)) {
      for (nf_kernel kernel : {NF_KERNEL_AUTO, NF_KERNEL_BAND, NF_KERNEL_TILE}) {
        const CheckSetting setting = {isa, kernel, 1};
        Outcome outcome = run(random, setting);
        if (!outcome.ran) continue;
        if (outcome.failure.empty()) outcome.failure = expected.compare(random.outputs()).failure;
        if (!outcome.failure.empty()) return failed(random, setting, outcome.failure);
      }
    }
    return Outcome{true, ""};
  });
}

TEST(Property, AnyNumberOfThreadsGivesTheSameBits) {
  for_cases(0.08, 0.6, [](uint64_t seed) {
    core::RandomProblem random = draw(seed);
    core::Random choice(seed + 1);
    CheckSetting setting = random_setting(choice, 1);
    Outcome outcome = run(random, setting);
    if (!outcome.ran) return outcome;
    const OutputBits alone(random.outputs());
    for (int32_t threads : {2, 3}) {
      if (!outcome.failure.empty()) break;
      setting.threads = threads;
      outcome = run(random, setting);
      if (outcome.failure.empty())
        outcome.failure = first_difference(random.outputs(), random.problem().shape.rank, alone);
    }
    return outcome.failure.empty() ? outcome : failed(random, setting, outcome.failure);
  });
}

TEST(Property, AnImageAloneGivesTheSameBitsAsInABatch) {
  for_cases(0.06, 0.3, [](uint64_t seed) {
    core::RandomProblem random = draw(seed);
    const int64_t batch = random.problem().shape.batch;
    if (batch < 2) return Outcome{};
    core::Random choice(seed + 1);
    const CheckSetting setting = random_setting(choice, 1 + static_cast<int32_t>(seed % 2));
    Outcome outcome = run(random, setting);
    if (!outcome.ran) return outcome;
    const OutputBits together(random.outputs());
    random.poison();
    for (int64_t b = 0; b < batch && outcome.failure.empty(); ++b) {
      const core::Problem image = image_of(random.problem(), b);
      const cli::CallOutcome call = cli::run_forward(image, image_of(random.outputs(), b), setting);
      if (call.status != NF_OK) outcome.failure = concat("image ", b, " alone: ", call.message);
    }
    if (outcome.failure.empty())
      outcome.failure = first_difference(random.outputs(), random.problem().shape.rank, together);
    return outcome.failure.empty() ? outcome : failed(random, setting, outcome.failure);
  });
}

// Random problems have strides of any order and sign, and pointers at odd bytes; their values in aligned, contiguous
// memory must give the same bits.
TEST(Property, AnyLayoutAndAlignmentGivesTheSameBits) {
  for_cases(0.06, 0.6, [](uint64_t seed) {
    core::RandomProblem random = draw(seed);
    core::Random choice(seed + 1);
    const CheckSetting setting = random_setting(choice, 1);
    Outcome outcome = run(random, setting);
    if (!outcome.ran) return outcome;
    const Copy query(random.problem().query), key(random.problem().key), value(random.problem().value);
    const Copy out(random.outputs().out), logsumexp(random.outputs().logsumexp);
    core::Problem aligned = random.problem();
    aligned.query = query.view();
    aligned.key = key.view();
    aligned.value = value.view();
    const core::ForwardOutputs outputs = {out.view(), logsumexp.view()};
    const cli::CallOutcome call = cli::run_forward(aligned, outputs, setting);
    if (outcome.failure.empty()) outcome.failure = call.message;
    if (outcome.failure.empty())
      outcome.failure = first_difference(random.outputs(), aligned.shape.rank, OutputBits(outputs));
    return outcome.failure.empty() ? outcome : failed(random, setting, outcome.failure);
  });
}

// One element of one token of query, key or value that is no longer a number.
struct Plant {
  const core::TensorView* tensor = nullptr;
  std::string name;
  int64_t batch = 0, head = 0, channel = 0;  // head: of the tensor
  core::GridIndex token{};
  double value = 0;
};

Plant plant(core::Problem& problem, core::Random& random) {
  const std::pair<const char*, const core::TensorView*> tensors[] = {
      {"query", &problem.query}, {"key", &problem.key}, {"value", &problem.value}};
  const double values[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity()};
  Plant result;
  std::tie(result.name, result.tensor) = tensors[random.below(3)];
  const core::TensorView& tensor = *result.tensor;
  const int rank = problem.shape.rank;
  result.value = values[random.below(3)];
  result.batch = random.below(tensor.sizes[0]);
  result.head = random.below(tensor.sizes[rank + 1]);
  result.channel = random.below(tensor.sizes[rank + 2]);
  for (int a = 0; a < rank; ++a) result.token[static_cast<size_t>(a)] = random.below(tensor.sizes[a + 1]);
  const int64_t element = core::grid_element(tensor, rank, result.batch, result.token, result.head) + result.channel;
  core::store_double(tensor.at(element), tensor.dtype, result.value);
  return result;
}

// Which rows of the output may know of it.
RowPredicate rows_that_see(const core::Problem& problem, const Plant& plant) {
  const int rank = problem.shape.rank;
  const bool is_query = plant.tensor == &problem.query;
  std::set<core::GridIndex> tokens = {plant.token};
  if (!is_query) {
    const auto queries = core::queries_that_see(problem, plant.token);
    tokens = {queries.begin(), queries.end()};
  }
  const bool all_batches = plant.tensor->strides[0] == 0;  // one image for all of them
  return [=, shape = problem.shape](int64_t batch, const int64_t* token, int64_t head) {
    core::GridIndex index{};
    std::copy_n(token, rank, index.begin());
    const int64_t own_head = is_query ? head : shape.kv_head(head);
    return (all_batches || batch == plant.batch) && own_head == plant.head && tokens.count(index) == 1;
  };
}

std::string describe(const Plant& plant) {
  return concat(plant.value, " in ", plant.name, " of batch ", plant.batch, ", token ", plant.token[0], ",",
                plant.token[1], ",", plant.token[2], ", head ", plant.head, ", channel ", plant.channel);
}

TEST(Property, NanAndInfinityReachOnlyTheQueriesThatSeeThem) {
  for_cases(0.1, 0.6, [](uint64_t seed) {
    core::RandomProblem random = draw(seed);
    const core::Shape& shape = random.problem().shape;
    if (shape.batch * shape.tokens() == 0) return Outcome{};
    core::Random choice(seed + 1);
    const CheckSetting setting = random_setting(choice, 1);
    Outcome outcome = run(random, setting);
    if (!outcome.ran) return outcome;
    const OutputBits clean(random.outputs());
    const Plant planted = plant(random.problem(), choice);
    if (outcome.failure.empty()) outcome = run(random, setting);
    if (outcome.failure.empty())
      outcome.failure = first_difference(random.outputs(), shape.rank, clean, rows_that_see(random.problem(), planted));
    // And a NaN is not lost on those that do see it.
    if (outcome.failure.empty() && std::isnan(planted.value))
      outcome.failure = core::ExpectedForward(random.problem()).compare(random.outputs()).failure;
    return outcome.failure.empty() ? outcome : failed(random, setting, describe(planted) + ": " + outcome.failure);
  });
}

}  // namespace
}  // namespace nearfield::property
