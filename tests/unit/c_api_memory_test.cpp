// The C ABI's rules about memory and threads: versioned structs, workspace, empty tensors, explaining without data,
// the caller's parallel_for; and that `auto` never falls back to a slow engine.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "c_api_cases.h"
#include "nearfield/nearfield.h"

namespace {

using namespace nearfield::test;

nf_explanation empty_explanation() {
  nf_explanation result = {};
  result.struct_size = sizeof result;
  return result;
}

nf_status explain(const Grid& grid, const nf_options* options, nf_explanation* explanation,
                  const nf_modifiers* modifiers = nullptr) {
  return nf_explain(&grid.pattern.pattern, &grid.q, &grid.k, &grid.v, modifiers, options, explanation);
}

size_t workspace_of(const Grid& grid, const nf_options& options) {
  size_t bytes = ~size_t{0};
  EXPECT_EQ(nf_forward_workspace(&grid.pattern.pattern, &grid.q, &grid.k, &grid.v, nullptr, &options, &bytes), NF_OK)
      << nf_last_error();
  return bytes;
}

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
}

// ---- versioned structs
// -----------------------------------------------------------------------------------------------

// A struct as a caller with an older header has it, in memory of exactly that size: a sanitizer sees any overrun.
template <class T>
std::vector<std::byte> older(const T& full, size_t size) {
  std::vector<std::byte> memory(size);
  std::memcpy(memory.data(), &full, size);
  std::memcpy(memory.data(), &size, sizeof size);  // struct_size comes first
  return memory;
}

// Today's are the first versions: whoever passes less has mistaken the size.
TEST(CApiVersions, StructsSmallerThanTheFirstVersionAreRefusedUnread) {
  Grid grid;
  const std::vector<std::byte> options = older(nf_default_options(), offsetof(nf_options, isa));
  EXPECT_EQ(grid.forward(reinterpret_cast<const nf_options*>(options.data())), NF_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(nf_last_error()), "options.struct_size=" + std::to_string(options.size()) +
                                              ": must be at least " + std::to_string(sizeof(nf_options)));
  const std::vector<std::byte> modifiers = older(no_modifiers(), offsetof(nf_modifiers, bias));
  EXPECT_EQ(grid.forward(nullptr, reinterpret_cast<const nf_modifiers*>(modifiers.data())), NF_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(nf_last_error()), "modifiers.struct_size=" + std::to_string(modifiers.size()) +
                                              ": must be at least " + std::to_string(sizeof(nf_modifiers)));
}

TEST(CApiVersions, NewerStructsMustNotUseWhatThisLibraryDoesNotKnow) {
  HandComputed problem;
  struct Newer {
    nf_options known = reference_options();
    int64_t unknown = 0;
  } newer;
  newer.known.struct_size = sizeof newer;
  ASSERT_EQ(problem.forward(newer.known), NF_OK) << nf_last_error();
  problem.expect_out();
  newer.unknown = 1;
  EXPECT_EQ(problem.forward(newer.known), NF_UNSUPPORTED);
  EXPECT_EQ(std::string(nf_last_error()), "options.struct_size=" + std::to_string(sizeof newer) +
                                              ": sets a field that nearfield " + nf_version() + ", whose struct has " +
                                              std::to_string(sizeof(nf_options)) + " bytes, does not know");
}

TEST(CApiVersions, OlderExplanationsAreNotOverrun) {
  const Grid grid;
  const nf_options options = reference_options();
  nf_explanation full = empty_explanation();
  ASSERT_EQ(explain(grid, &options, &full), NF_OK) << nf_last_error();
  for (const size_t size : {offsetof(nf_explanation, isa), offsetof(nf_explanation, useful_pairs),
                            offsetof(nf_explanation, reason), offsetof(nf_explanation, reason) + 16}) {
    std::vector<std::byte> memory = older(nf_explanation{}, size);
    ASSERT_EQ(explain(grid, &options, reinterpret_cast<nf_explanation*>(memory.data())), NF_OK) << nf_last_error();
    std::vector<std::byte> expected = older(full, size);
    if (size > offsetof(nf_explanation, reason)) expected.back() = std::byte{0};  // a cut sentence still ends
    EXPECT_EQ(memory, expected) << size;
  }
}

TEST(CApiVersions, NewerExplanationsKeepWhatThisLibraryDoesNotKnow) {
  const Grid grid;
  struct Newer {
    nf_explanation known = {};
    int64_t unknown = 1234;
  } newer;
  newer.known.struct_size = sizeof newer;
  const nf_options options = reference_options();
  ASSERT_EQ(explain(grid, &options, &newer.known), NF_OK) << nf_last_error();
  EXPECT_EQ(newer.known.struct_size, sizeof newer);
  EXPECT_EQ(newer.known.engine, NF_ENGINE_REFERENCE);
  EXPECT_EQ(newer.unknown, 1234);
}

TEST(CApiVersions, AMissingStructSizeIsRefused) {
  const Grid grid;
  nf_explanation explanation = {};
  EXPECT_EQ(explain(grid, nullptr, &explanation), NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(),
               "explanation.struct_size=0: must be sizeof(nf_explanation) as the caller's header has it");
  nf_options options = nf_default_options();
  options.struct_size = 0;
  explanation.struct_size = sizeof explanation;
  EXPECT_EQ(explain(grid, &options, &explanation), NF_INVALID_ARGUMENT);
  EXPECT_EQ(std::string_view(nf_last_error()).find("options.struct_size=0: must be "), 0U) << nf_last_error();
}

// ---- workspace
// -------------------------------------------------------------------------------------------------------

TEST(CApiWorkspace, TheQuerySaysEnoughAtAnyAlignment) {
  Grid grid;
  nf_options options = nf_default_options();
  options.num_threads = 2;
  ASSERT_EQ(grid.forward(&options), NF_OK) << nf_last_error();
  const std::vector<float> expected = grid.out;
  ASSERT_TRUE(all_finite(expected));
  const size_t bytes = workspace_of(grid, options);
  ASSERT_GT(bytes, 0U);
  for (const size_t shift : {0, 1, 7, 33, 63}) {
    std::vector<std::byte> memory(shift + bytes);  // exactly: a sanitizer sees any overrun
    std::fill(memory.begin(), memory.end(), std::byte{0xff});
    std::fill(grid.out.begin(), grid.out.end(), std::numeric_limits<float>::quiet_NaN());
    options.workspace = memory.data() + shift;
    options.workspace_size = bytes;
    ASSERT_EQ(grid.forward(&options), NF_OK) << nf_last_error();
    EXPECT_EQ(grid.out, expected) << "shift " << shift;
  }
}

TEST(CApiWorkspace, TooSmallIsAnErrorThatNamesBothNumbers) {
  Grid grid;
  nf_options options = nf_default_options();
  const size_t bytes = workspace_of(grid, options);
  ASSERT_GT(bytes, 0U);
  std::vector<std::byte> memory(bytes);
  options.workspace = memory.data();
  options.workspace_size = bytes - 1;
  EXPECT_EQ(grid.forward(&options), NF_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(nf_last_error()), "workspace_size=" + std::to_string(bytes - 1) + ": must be at least " +
                                              std::to_string(bytes) +
                                              " bytes for this problem, as nf_forward_workspace says");
  EXPECT_TRUE(std::isnan(grid.out[0]));
}

TEST(CApiWorkspace, TheReferenceEngineNeedsNone) { EXPECT_EQ(workspace_of(Grid(), reference_options()), 0U); }

TEST(CApiWorkspace, ExplainAgreesWithTheQuery) {
  const Grid grid;
  const nf_options options = nf_default_options();
  nf_explanation explanation = empty_explanation();
  ASSERT_EQ(explain(grid, &options, &explanation), NF_OK) << nf_last_error();
  EXPECT_EQ(explanation.workspace, workspace_of(grid, options));
}

// ---- nothing to compute
// ----------------------------------------------------------------------------------------------

TEST(CApiEmpty, AnEmptyBatchOrGridSucceeds) {
  const int64_t window = 3;
  const nf_neighborhood pattern = nf_make_neighborhood(1, &window);
  for (const auto& [batch, length] : {std::array<int64_t, 2>{0, 5}, std::array<int64_t, 2>{2, 0}}) {
    const nf_tensor empty = tensor(nullptr, NF_FLOAT32, {batch, length, 2, 8});
    const nf_tensor lse = tensor(nullptr, NF_FLOAT32, {batch, length, 2});
    EXPECT_EQ(nf_forward(&pattern.pattern, &empty, &empty, &empty, nullptr, nullptr, &empty, &lse), NF_OK)
        << nf_last_error();
    size_t bytes = 1;
    EXPECT_EQ(nf_forward_workspace(&pattern.pattern, &empty, &empty, &empty, nullptr, nullptr, &bytes), NF_OK);
    EXPECT_EQ(bytes, 0U);
    nf_explanation explanation = empty_explanation();
    EXPECT_EQ(nf_explain(&pattern.pattern, &empty, &empty, &empty, nullptr, nullptr, &explanation), NF_OK);
    EXPECT_EQ(explanation.engine, NF_ENGINE_AUTO);
    EXPECT_EQ(explanation.useful_pairs, 0);
    EXPECT_STREQ(explanation.reason, "There is no query: batch or a grid axis is 0. No engine runs.");
  }
}

TEST(CApiEmpty, GradientsWithElementsAreZeroedAllTheSame) {
  const int64_t window = 3;
  const nf_neighborhood pattern = nf_make_neighborhood(1, &window);
  const nf_tensor empty = tensor(nullptr, NF_FLOAT32, {0, 5, 2, 8}), lse = tensor(nullptr, NF_FLOAT32, {0, 5, 2});
  const std::vector<float> bias_values(2 * 5, 1.F), weight_values(5, 1.F);
  std::vector<float> dbias(2 * 5, 7.F), dweights(5, 7.F);
  const nf_tensor bias = tensor(bias_values.data(), NF_FLOAT32, {2, 5});
  const nf_tensor weights = tensor(weight_values.data(), NF_FLOAT32, {5});
  const nf_tensor db = tensor(dbias.data(), NF_FLOAT32, {2, 5}), dw = tensor(dweights.data(), NF_FLOAT32, {5});
  nf_modifiers modifiers = no_modifiers();
  modifiers.bias = &bias;
  modifiers.key_weights = &weights;
  nf_gradients gradients = {};
  gradients.struct_size = sizeof gradients;
  gradients.query = &empty;
  gradients.bias = &db;
  gradients.key_weights = &dw;
  EXPECT_EQ(nf_backward(&pattern.pattern, &empty, &empty, &empty, &modifiers, nullptr, &empty, &lse, &empty, nullptr,
                        &gradients),
            NF_OK)
      << nf_last_error();
  EXPECT_EQ(dbias, std::vector<float>(2 * 5, 0.F));
  EXPECT_EQ(dweights, std::vector<float>(5, 0.F));
}

// ---- explaining
// ------------------------------------------------------------------------------------------------------

TEST(CApiExplain, NeedsNoData) {
  Grid grid;
  nf_explanation with_data = empty_explanation(), without = empty_explanation();
  ASSERT_EQ(explain(grid, nullptr, &with_data), NF_OK) << nf_last_error();
  grid.q.data = grid.k.data = grid.v.data = nullptr;
  ASSERT_EQ(explain(grid, nullptr, &without), NF_OK) << nf_last_error();
  EXPECT_EQ(std::memcmp(&with_data, &without, sizeof without), 0);
  EXPECT_EQ(without.engine, NF_ENGINE_CPU);
  EXPECT_NE(nf_isa_name(without.isa), nullptr);
  EXPECT_NE(without.kernel, NF_KERNEL_AUTO);
  EXPECT_GE(without.waste, 1);
  EXPECT_GT(without.predicted_seconds, 0);
  EXPECT_GT(std::strlen(without.reason), 0U);
}

TEST(CApiExplain, TheReferenceEngineSaysThatItIsSlow) {
  const Grid grid;
  const nf_options options = reference_options();
  nf_explanation explanation = empty_explanation();
  ASSERT_EQ(explain(grid, &options, &explanation), NF_OK) << nf_last_error();
  EXPECT_EQ(explanation.engine, NF_ENGINE_REFERENCE);
  EXPECT_EQ(explanation.isa, NF_ISA_AUTO);
  EXPECT_EQ(explanation.tiles, 9 * 10);
  EXPECT_EQ(explanation.useful_pairs, 2.0 * 90 * 3 * 5);  // heads, queries, window
  EXPECT_EQ(explanation.waste, 1);
  EXPECT_NE(std::string_view(explanation.reason).find("slow"), std::string_view::npos) << explanation.reason;
}

// Whatever the CPU engine can do today, `auto` is either that engine or a refusal that names the way out.
TEST(CApiExplain, AutoNeverTakesTheSlowEngine) {
  const float one = 1;
  const std::vector<float> bias_values(2 * 5 * 9, 0.5F);
  const std::vector<uint8_t> mask_values(90, 1);
  const nf_tensor bias = tensor(bias_values.data(), NF_FLOAT32, {2, 5, 9});
  const nf_tensor mask = tensor(mask_values.data(), NF_BOOL, {1, 9, 10});
  nf_tensor weights = tensor(&one, NF_FLOAT32, {9, 10});
  weights.strides[0] = weights.strides[1] = 0;
  nf_modifiers plain = no_modifiers(), capped = plain, biased = plain, masked = plain, weighted = plain;
  capped.softcap = 2;
  biased.bias = &bias;
  masked.key_mask = &mask;
  weighted.key_weights = &weights;
  for (const nf_modifiers* modifiers : {&plain, &capped, &biased, &masked, &weighted}) {
    Grid grid;
    nf_explanation explanation = empty_explanation();
    const nf_status status = explain(grid, nullptr, &explanation, modifiers);
    EXPECT_EQ(status, NF_OK) << nf_last_error();
    EXPECT_EQ(grid.forward(nullptr, modifiers), NF_OK) << nf_last_error();
    EXPECT_EQ(explanation.engine, NF_ENGINE_CPU);
    EXPECT_TRUE(all_finite(grid.out));
  }
}

// ---- threads
// ---------------------------------------------------------------------------------------------------------

struct Count {
  int64_t calls = 0, indices = 0;
};

void counting_parallel_for(void* context, int64_t count, void (*body)(void*, int64_t), void* body_context) {
  auto* counts = static_cast<Count*>(context);
  counts->calls += 1;
  counts->indices += count;
  for (int64_t i = count; i-- > 0;) body(body_context, i);  // any order is allowed
}

TEST(CApiThreads, TheCallersParallelForDoesTheWork) {
  for (const int32_t engine : {NF_ENGINE_REFERENCE, NF_ENGINE_CPU}) {
    Grid grid;
    nf_options options = nf_default_options();
    options.engine = engine;
    options.num_threads = 3;
    ASSERT_EQ(grid.forward(&options), NF_OK) << nf_last_error();
    const std::vector<float> expected = grid.out;
    std::fill(grid.out.begin(), grid.out.end(), std::numeric_limits<float>::quiet_NaN());
    Count counts;
    options.parallel_for = counting_parallel_for;
    options.parallel_for_context = &counts;
    ASSERT_EQ(grid.forward(&options), NF_OK) << nf_last_error();
    EXPECT_GE(counts.calls, 1) << nf_engine_name(engine);
    EXPECT_GE(counts.indices, 2) << nf_engine_name(engine);
    EXPECT_EQ(grid.out, expected);
  }
}

TEST(CApiThreads, ABadEnvironmentIsAnErrorWhereItMatters) {
  const char* const before = std::getenv("NEARFIELD_NUM_THREADS");
  const std::string kept = before != nullptr ? before : "";
  setenv("NEARFIELD_NUM_THREADS", "many", 1);
  EXPECT_EQ(nf_default_num_threads(), 0);
  const std::string message = nf_last_error();
  EXPECT_EQ(message.find("NEARFIELD_NUM_THREADS=many: must be "), 0U) << message;
  Grid grid;
  nf_options options = nf_default_options();
  EXPECT_EQ(grid.forward(&options), NF_INVALID_ARGUMENT);
  EXPECT_EQ(nf_last_error(), message);
  options.num_threads = 1;
  EXPECT_EQ(grid.forward(&options), NF_OK) << nf_last_error();
  setenv("NEARFIELD_NUM_THREADS", "", 1);
  EXPECT_GE(nf_default_num_threads(), 1);
  EXPECT_EQ(grid.forward(nullptr), NF_OK) << nf_last_error();
  before != nullptr ? setenv("NEARFIELD_NUM_THREADS", kept.c_str(), 1) : unsetenv("NEARFIELD_NUM_THREADS");
}

}  // namespace
