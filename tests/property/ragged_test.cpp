// A ragged call gives the same bits as one call for each piece: random pieces, patterns, modifiers, layouts, engines
// and threads, both passes. Where an engine lacks something, both ways must say so.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cases.h"
#include "check/guarded_buffer.h"
#include "ragged_case.h"
#include "views.h"

namespace nearfield::property {
namespace {

// Bits of every output, in the order of Name; of what a case leaves out, none.
std::vector<std::vector<std::byte>> outputs_of(const RaggedCase& c) {
  std::vector<std::vector<std::byte>> all;
  for (int n = kOut; n < kNames; ++n) {
    const bool is_output = n != kDout && n != kDlogsumexp && c[static_cast<Name>(n)].view.rank > 0;
    all.push_back(is_output ? bits_of(c[static_cast<Name>(n)].view) : std::vector<std::byte>());
  }
  return all;
}

// The pieces one by one, on the same memory; "" or what differs from `together`, which has run before.
std::string compare_alone(RaggedCase& random, const Statuses& together) {
  const auto before = outputs_of(random);
  random.poison();
  const TensorView& dbias = random[kDbias].view;
  int64_t entries = dbias.rank > 0 ? 1 : 0;
  for (int d = 0; d < dbias.rank; ++d) entries *= dbias.sizes[d];
  std::vector<double> bias_sum(static_cast<size_t>(entries), 0.0);
  const Statuses alone = random.run_alone(bias_sum);
  if (alone.forward != together.forward || alone.backward != together.backward || alone.message != together.message)
    return concat("together: ", together.message, "\n  alone: ", alone.message);
  if (dbias.rank > 0) {
    size_t next = 0;
    core::for_each_element(dbias, [&](const core::ElementIndex&, int64_t element) {
      core::store_double(dbias.at(element), dbias.dtype, bias_sum[next++]);
    });
  }
  const auto after = outputs_of(random);
  for (size_t n = 0; n < after.size(); ++n) {
    const bool is_forward = n <= static_cast<size_t>(kLogsumexp - kOut);
    const nf_status status = is_forward ? together.forward : together.backward;
    if (status == NF_OK && together.forward == NF_OK && after[n] != before[n])
      return concat("tensor ", n + kOut, " has other bits than from single calls");
  }
  return "";
}

TEST(Property, RaggedPiecesGiveTheBitsOfSingleCalls) {
  for_cases(0.1, 0.6, [](uint64_t seed) {
    RaggedCase random(seed);
    random.poison();
    const Statuses together = random.run_ragged();
    Outcome outcome = {together.forward == NF_OK, random.damage()};
    for (nf_status status : {together.forward, together.backward})
      if (outcome.failure.empty() && status != NF_OK && status != NF_UNSUPPORTED) outcome.failure = together.message;
    if (outcome.failure.empty()) outcome.failure = compare_alone(random, together);
    if (!outcome.failure.empty()) outcome.failure += "\n  " + random.describe();
    return outcome;
  });
}

}  // namespace
}  // namespace nearfield::property
