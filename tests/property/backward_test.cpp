// What must hold for the gradients of every problem, on random ones: the CPU engine, every instruction set that this
// machine has and every kernel, through the C ABI.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "cases.h"
#include "check/compare.h"
#include "engine/reference/rows.h"
#include "views.h"

namespace nearfield::property {
namespace {

using cli::CheckSetting;
using core::concat;
using core::TensorView;

constexpr std::array kNames = {"query", "key", "value", "additional_keys", "additional_values", "key_weights", "bias"};

std::array<const TensorView*, 7> views_of(const core::Gradients& g) {
  return {&g.query, &g.key, &g.value, &g.additional_keys, &g.additional_values, &g.key_weights, &g.bias};
}

Outcome run(core::RandomProblem& random, const CheckSetting& setting) {
  random.poison();
  const cli::CallOutcome call =
      cli::run_backward(random.problem(), random.backward_inputs(), random.gradients(), setting);
  if (call.status == NF_UNSUPPORTED && setting.kernel != NF_KERNEL_AUTO) return {};
  if (call.status != NF_OK) return {true, concat(nf_status_name(call.status), ": ", call.message)};
  const std::string damage = random.damage();
  return {true, damage.empty() ? "" : "memory was written " + damage};
}

Outcome failed(const core::RandomProblem& random, const CheckSetting& setting, const std::string& what) {
  return {true, concat(what, "\n  ", cli::describe(setting), "\n  ", random.describe())};
}

using GradientBits = std::array<std::vector<std::byte>, 7>;
GradientBits bits_of(const core::Gradients& gradients) {
  GradientBits bits;
  const auto views = views_of(gradients);
  for (size_t i = 0; i < views.size(); ++i)
    if (*views[i]) bits[i] = property::bits_of(*views[i]);
  return bits;
}

// "" or which gradient differs. `which`: the number of those that are compared, from query on.
std::string difference(const GradientBits& a, const GradientBits& b, size_t which = 7) {
  for (size_t i = 0; i < which; ++i)
    if (a[i] != b[i]) return concat("the bits of the gradient of ", kNames[i], " differ");
  return "";
}

TEST(Property, GradientsOfEveryInstructionSetAndKernelAgreeWithTheReference) {
  for_cases(0.2, 1.0, [](uint64_t seed) {
    core::RandomProblem random = draw(seed, true);
    const core::ExpectedGradients expected(random.problem(), random.backward_inputs(), random.gradients());
    for (nf_isa isa : isas_of(seed)) {
      for (nf_kernel kernel : {NF_KERNEL_AUTO, NF_KERNEL_BAND, NF_KERNEL_TILE}) {
        const CheckSetting setting = {isa, kernel, 1};
        Outcome outcome = run(random, setting);
        if (!outcome.ran) continue;
        if (outcome.failure.empty()) outcome.failure = expected.compare(random.gradients()).failure;
        if (!outcome.failure.empty()) return failed(random, setting, outcome.failure);
      }
    }
    return Outcome{true, ""};
  });
}

TEST(Property, AnyNumberOfThreadsGivesTheSameGradientBits) {
  for_cases(0.08, 0.6, [](uint64_t seed) {
    core::RandomProblem random = draw(seed, true);
    core::Random choice(seed + 1);
    CheckSetting setting = random_setting(choice, 1);
    Outcome outcome = run(random, setting);
    if (!outcome.ran) return outcome;
    const GradientBits alone = bits_of(random.gradients());
    for (int32_t threads : {2, 3, 7}) {
      if (!outcome.failure.empty()) break;
      setting.threads = threads;
      outcome = run(random, setting);
      if (outcome.failure.empty()) outcome.failure = difference(bits_of(random.gradients()), alone);
    }
    return outcome.failure.empty() ? outcome : failed(random, setting, outcome.failure);
  });
}

// Gradients of tensors that the images do not share.
TEST(Property, AnImageAloneGivesTheSameGradientBitsAsInABatch) {
  for_cases(0.06, 0.3, [](uint64_t seed) {
    core::RandomProblem random = draw(seed, true);
    const int64_t batch = random.problem().shape.batch;
    if (batch < 2) return Outcome{};
    core::Random choice(seed + 1);
    const CheckSetting setting = random_setting(choice, 1 + static_cast<int32_t>(seed % 2));
    Outcome outcome = run(random, setting);
    if (!outcome.ran) return outcome;
    const GradientBits together = bits_of(random.gradients());
    random.poison();
    for (int64_t b = 0; b < batch && outcome.failure.empty(); ++b) {
      const cli::CallOutcome call =
          cli::run_backward(image_of(random.problem(), b), image_of(random.backward_inputs(), b),
                            image_of(random.gradients(), b), setting);
      if (call.status != NF_OK) outcome.failure = concat("image ", b, " alone: ", call.message);
    }
    constexpr size_t kOwn = 5;  // key weights may be shared, bias is
    if (outcome.failure.empty()) outcome.failure = difference(bits_of(random.gradients()), together, kOwn);
    return outcome.failure.empty() ? outcome : failed(random, setting, outcome.failure);
  });
}

// Of the tensor's own grid.
int64_t tokens_of(const TensorView& tensor, int grid_rank) {
  int64_t tokens = 1;
  for (int a = 0; a < grid_rank; ++a) tokens *= tensor.sizes[a + 1];
  return tokens;
}
core::GridIndex token_of(const TensorView& tensor, int grid_rank, int64_t number) {
  core::GridIndex token{};
  for (int a = grid_rank - 1; a >= 0; number /= tensor.sizes[1 + a--])
    token[static_cast<size_t>(a)] = number % tensor.sizes[a + 1];
  return token;
}

// A gradient of `out` that is not a number reaches the query's own gradient, and those of the keys that it sees.
TEST(Property, NanInAnOutputGradientReachesOnlyWhatTheQuerySees) {
  for_cases(0.06, 0.5, [](uint64_t seed) {
    core::RandomProblem random = draw(seed, true);
    const core::Problem& problem = random.problem();
    const core::Shape& shape = problem.shape;
    const core::Gradients& gradients = random.gradients();
    if (shape.batch * shape.tokens() == 0 || !gradients.query || !gradients.key || !gradients.value) return Outcome{};
    const TensorView& dout = random.backward_inputs().dout;
    if (dout.strides[0] == 0) return Outcome{};  // all images share it
    core::Random choice(seed + 1);
    const CheckSetting setting = random_setting(choice, 1);
    Outcome outcome = run(random, setting);
    if (!outcome.ran || !outcome.failure.empty()) return outcome;
    const Copy dquery(gradients.query), dkey(gradients.key), dvalue(gradients.value);

    const int64_t batch = choice.below(shape.batch), head = choice.below(shape.heads);
    const core::GridIndex token = core::token_at(shape, choice.below(shape.tokens()));
    core::store_double(dout.at(core::grid_element(dout, shape.rank, batch, token, head)), dout.dtype,
                       std::numeric_limits<double>::quiet_NaN());
    outcome = run(random, setting);
    const auto check = [&](const char* name, const Copy& before, const TensorView& after, auto may_change) {
      for (int64_t b = 0; b < shape.batch; ++b)
        for (int64_t i = 0; i < tokens_of(after, shape.rank); ++i)
          for (int64_t h = 0; h < after.sizes[shape.rank + 1]; ++h) {
            const core::GridIndex at = token_of(after, shape.rank, i);
            if (!outcome.failure.empty() || may_change(b, at, h)) continue;
            const size_t size = static_cast<size_t>(after.sizes[shape.rank + 2] * core::size_of(after.dtype));
            const TensorView& old = before.view();
            if (std::memcmp(old.at(core::grid_element(old, shape.rank, b, at, h)),
                            after.at(core::grid_element(after, shape.rank, b, at, h)), size) != 0)
              outcome.failure = concat("NaN in dout of batch ", batch, ", token ", token[0], ",", token[1], ",",
                                       token[2], ", head ", head, " changed the gradient of ", name, " of token ",
                                       at[0], ",", at[1], ",", at[2], ", head ", h);
          }
    };
    check("query", dquery, gradients.query,
          [&](int64_t b, const core::GridIndex& at, int64_t h) { return b == batch && at == token && h == head; });
    const auto sees = [&](int64_t b, const core::GridIndex& at, int64_t h) {
      if (b != batch || h != shape.kv_head(head)) return false;
      const auto queries = core::queries_that_see(problem, at);
      return std::find(queries.begin(), queries.end(), token) != queries.end();
    };
    check("key", dkey, gradients.key, sees);
    check("value", dvalue, gradients.value, sees);
    return outcome.failure.empty() ? outcome : failed(random, setting, outcome.failure);
  });
}

}  // namespace
}  // namespace nearfield::property
