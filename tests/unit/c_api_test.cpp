// The C ABI, through its functions alone: names, both passes on a hand-computed case, statuses and messages.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include "c_api_cases.h"
#include "nearfield/nearfield.h"

namespace {

using namespace nearfield::test;

// ---- names ---------------------------------------------------------------------------------------------------------

TEST(CApi, NamesCoverTheEnumerationsAndNothingElse) {
  EXPECT_STREQ(nf_status_name(NF_OK), "ok");
  EXPECT_STREQ(nf_status_name(NF_INTERNAL_ERROR), "internal_error");
  EXPECT_EQ(nf_status_name(static_cast<nf_status>(5)), nullptr);
  EXPECT_STREQ(nf_engine_name(NF_ENGINE_AUTO), "auto");
  EXPECT_STREQ(nf_engine_name(NF_ENGINE_REFERENCE), "reference");
  EXPECT_STREQ(nf_engine_name(NF_ENGINE_CPU), "cpu");
  EXPECT_STREQ(nf_engine_name(NF_ENGINE_BLOCK_SPARSE), "block_sparse");
  EXPECT_STREQ(nf_engine_name(NF_ENGINE_NAIVE), "naive");
  EXPECT_STREQ(nf_engine_name(NF_ENGINE_GEMM), "gemm");
  EXPECT_EQ(nf_engine_name(6), nullptr);
  EXPECT_STREQ(nf_isa_name(NF_ISA_AUTO), "auto");
  EXPECT_STREQ(nf_isa_name(NF_ISA_PORTABLE), "portable");
  EXPECT_STREQ(nf_isa_name(NF_ISA_AVX2), "avx2");
  EXPECT_STREQ(nf_isa_name(NF_ISA_AVX512), "avx512");
  EXPECT_STREQ(nf_isa_name(NF_ISA_NEON), "neon");
  EXPECT_STREQ(nf_isa_name(NF_ISA_PORTABLE16), "portable16");
  EXPECT_EQ(nf_isa_name(-1), nullptr);
  EXPECT_STREQ(nf_kernel_name(NF_KERNEL_AUTO), "auto");
  EXPECT_STREQ(nf_kernel_name(NF_KERNEL_BAND), "band");
  EXPECT_STREQ(nf_kernel_name(NF_KERNEL_TILE), "tile");
  EXPECT_EQ(nf_kernel_name(3), nullptr);
  EXPECT_STREQ(nf_dtype_name(NF_FLOAT64), "float64");
  EXPECT_STREQ(nf_dtype_name(NF_BOOL), "bool");
  EXPECT_EQ(nf_dtype_name(5), nullptr);
  EXPECT_EQ(nf_dtype_name(-1), nullptr);
}

TEST(CApi, TellsOfTheMachine) {
  EXPECT_EQ(std::string(nf_version()), std::to_string(NF_VERSION_MAJOR) + "." + std::to_string(NF_VERSION_MINOR) + "." +
                                           std::to_string(NF_VERSION_PATCH));
  EXPECT_NE(nf_cpu_model(), nullptr);
  EXPECT_GE(nf_default_num_threads(), 1);
  EXPECT_EQ(nf_isa_unavailable(NF_ISA_PORTABLE), nullptr);
  EXPECT_EQ(nf_isa_unavailable(nf_selected_isa()), nullptr);
  EXPECT_STREQ(nf_isa_unavailable(99), "there is no such instruction set");
  EXPECT_EQ(nf_engine_unavailable(NF_ENGINE_REFERENCE), nullptr);
  EXPECT_EQ(nf_engine_unavailable(NF_ENGINE_CPU), nullptr);
  EXPECT_STREQ(nf_engine_unavailable(99), "there is no such engine");
}

TEST(CApi, MeasuresPeakOrSaysWhyNot) {
  double gflops = 0;
  EXPECT_EQ(nf_measure_peak(NF_ISA_PORTABLE, NF_FLOAT32, 0.01, &gflops), NF_OK);
  EXPECT_GT(gflops, 0);
  EXPECT_EQ(nf_measure_peak(NF_ISA_PORTABLE, NF_BFLOAT16, 0.01, &gflops), NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(), "dtype=2: must be NF_FLOAT32 or NF_FLOAT64");
  EXPECT_EQ(nf_measure_peak(99, NF_FLOAT32, 0.01, &gflops), NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(),
               "isa=99: must be 0 (auto), 1 (portable), 2 (avx2), 3 (avx512), 4 (neon) or 5 (portable16)");
  EXPECT_EQ(nf_measure_peak(NF_ISA_PORTABLE, NF_FLOAT32, kNan, &gflops), NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(), "seconds=nan: must be in (0, 60]");
  EXPECT_EQ(nf_measure_peak(NF_ISA_PORTABLE, NF_FLOAT32, 0.01, nullptr), NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(), "gflops: must not be NULL");
}

// No set is skipped in silence, and none is run where it is absent.
TEST(CApi, EveryInstructionSetRunsOrSaysWhyNot) {
  for (int32_t isa = NF_ISA_PORTABLE; nf_isa_name(isa) != nullptr; ++isa) {
    SCOPED_TRACE(nf_isa_name(isa));
    const char* const missing = nf_isa_unavailable(isa);
    Grid grid;
    nf_options options = nf_default_options();
    options.isa = isa;
    EXPECT_EQ(grid.forward(&options), missing == nullptr ? NF_OK : NF_UNSUPPORTED) << nf_last_error();
    if (missing == nullptr) continue;
    EXPECT_EQ(nf_last_error(), std::string("isa=") + nf_isa_name(isa) + ": " + missing);
  }
}

// A model is for tests: the machine's own sets come first, however narrow.
TEST(CApi, Portable16IsNeverChosenUnasked) {
  EXPECT_EQ(nf_isa_unavailable(NF_ISA_PORTABLE16), nullptr);
  EXPECT_NE(nf_selected_isa(), NF_ISA_PORTABLE16);
}

TEST(CApi, ABadIsaInTheEnvironmentIsAnErrorWhereItMatters) {
  const char* const before = std::getenv("NEARFIELD_ISA");
  const std::string kept = before != nullptr ? before : "";
  setenv("NEARFIELD_ISA", "sse9", 1);
  EXPECT_EQ(nf_selected_isa(), NF_ISA_AUTO);
  EXPECT_STREQ(nf_last_error(), "NEARFIELD_ISA=sse9: must be one of auto, portable, avx2, avx512, neon, portable16");
  Grid grid;
  nf_options options = nf_default_options();
  EXPECT_EQ(grid.forward(&options), NF_INVALID_ARGUMENT);
  options.isa = NF_ISA_PORTABLE;
  EXPECT_EQ(grid.forward(&options), NF_OK) << nf_last_error();
  setenv("NEARFIELD_ISA", "portable", 1);
  EXPECT_EQ(nf_selected_isa(), NF_ISA_PORTABLE);
  unsetenv("NEARFIELD_ISA");
  const int32_t unset = nf_selected_isa();
  setenv("NEARFIELD_ISA", "", 1);
  EXPECT_EQ(nf_selected_isa(), unset);
  EXPECT_NE(unset, NF_ISA_AUTO);
  EXPECT_EQ(grid.forward(nullptr), NF_OK) << nf_last_error();
  before != nullptr ? setenv("NEARFIELD_ISA", kept.c_str(), 1) : unsetenv("NEARFIELD_ISA");
}

// ---- both passes, by hand
// --------------------------------------------------------------------------------------------

TEST(CApi, ReferenceForwardGivesTheHandComputedNumbers) {
  HandComputed problem;
  ASSERT_EQ(problem.forward(reference_options()), NF_OK) << nf_last_error();
  problem.expect_out();
}

TEST(CApi, ScaleZeroIsUsedAsGiven) {
  HandComputed problem;
  nf_options options = reference_options();
  options.has_scale = 1;
  options.scale = 0;
  ASSERT_EQ(problem.forward(options), NF_OK) << nf_last_error();
  EXPECT_NEAR(problem.out[0], 3.0, 1e-14);  // the mean of 6 0 3
  EXPECT_NEAR(problem.out[3], 4.0, 1e-14);  // of 0 3 9
}

TEST(CApi, ReferenceBackwardGivesTheHandComputedNumbers) {
  HandComputed problem;
  const nf_options options = reference_options();
  ASSERT_EQ(problem.forward(options), NF_OK) << nf_last_error();
  // dout = 1: dV_j = sum_i P_ij; dS_ij = P_ij (v_j - out_i); dK_j = sum_i dS_ij; dQ_i = sum_j dS_ij k_j.
  const std::array<double, 4> dout = {1, 1, 1, 1};
  std::array<double, 4> dquery = {kNan, kNan, kNan, kNan}, dkey = dquery, dvalue = dquery;
  const nf_tensor d_out = problem.view(dout), dq = problem.view(dquery), dk = problem.view(dkey),
                  dv = problem.view(dvalue);
  nf_gradients gradients = {};
  gradients.struct_size = sizeof gradients;
  gradients.query = &dq, gradients.key = &dk, gradients.value = &dv;
  ASSERT_EQ(nf_backward(&problem.pattern.pattern, &problem.q, &problem.k, &problem.v, nullptr, &options, &problem.o,
                        &problem.l, &d_out, nullptr, &gradients),
            NF_OK)
      << nf_last_error();
  const std::array<double, 4> expected_dvalue = {1.0 / 3, 2.0 / 3 + 4.0 / 9, 1 + 2.0 / 3, 8.0 / 9};
  const std::array<double, 4> expected_dkey = {7.0 / 6, -35.0 / 9, -5.0 / 6, 32.0 / 9};
  const double ln2 = std::log(2.0), ln3 = std::log(3.0), ln4 = std::log(4.0);
  const double low = -2.5 * ln2 / 3 + 0.25 * ln3, high = -10.0 / 9 * ln2 - 2.0 / 3 * ln3 + 16.0 / 9 * ln4;
  const std::array<double, 4> expected_dquery = {low, low, high, high};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(dvalue[i], expected_dvalue[i], 1e-14) << i;
    EXPECT_NEAR(dkey[i], expected_dkey[i], 1e-14) << i;
    EXPECT_NEAR(dquery[i], expected_dquery[i], 1e-14) << i;
  }
}

// ---- errors
// ----------------------------------------------------------------------------------------------------------

TEST(CApi, InvalidArgumentNamesArgumentValueAndRule) {
  HandComputed problem;
  problem.pattern = problem.window(0);
  EXPECT_EQ(problem.forward(reference_options()), NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(), "kernel_size[0]=0: must be at least 1");
  EXPECT_TRUE(std::isnan(problem.out[0]));
}

TEST(CApi, NullResultsAreInvalid) {
  Grid grid;
  EXPECT_EQ(nf_explain(&grid.pattern.pattern, &grid.q, &grid.k, &grid.v, nullptr, nullptr, nullptr),
            NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(), "explanation: must not be NULL");
  EXPECT_EQ(nf_forward_workspace(&grid.pattern.pattern, &grid.q, &grid.k, &grid.v, nullptr, nullptr, nullptr),
            NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(), "bytes: must not be NULL");
}

TEST(CApi, OptionsOutsideTheirEnumerationsAreInvalid) {
  Grid grid;
  const auto expect_refused = [&](int32_t nf_options::*field, int32_t value, const std::string& beginning) {
    nf_options options = nf_default_options();
    options.*field = value;
    EXPECT_EQ(grid.forward(&options), NF_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(nf_last_error()).rfind(beginning, 0), 0U) << nf_last_error();
  };
  expect_refused(&nf_options::engine, 7, "engine=7: must be ");
  expect_refused(&nf_options::isa, -1, "isa=-1: must be ");
  expect_refused(&nf_options::kernel, 3, "kernel=3: must be ");
}

TEST(CApi, BackwardOfEveryEngineGivesTheSameNumbers) {
  for (const int32_t engine : {NF_ENGINE_REFERENCE, NF_ENGINE_CPU, NF_ENGINE_AUTO}) {
    HandComputed problem;
    nf_options options = nf_default_options();
    options.engine = engine;
    ASSERT_EQ(problem.forward(options), NF_OK);
    const std::array<double, 4> dout = {1, 1, 1, 1};
    std::array<double, 4> dvalue = {kNan, kNan, kNan, kNan};
    const nf_tensor d_out = problem.view(dout), dv = problem.view(dvalue);
    nf_gradients gradients = {};
    gradients.struct_size = sizeof gradients;
    gradients.value = &dv;
    size_t bytes = 1;
    ASSERT_EQ(nf_backward_workspace(&problem.pattern.pattern, &problem.q, &problem.k, &problem.v, nullptr, &options,
                                    &gradients, &bytes),
              NF_OK);
    EXPECT_EQ(bytes == 0, engine == NF_ENGINE_REFERENCE);
    std::vector<std::byte> workspace(bytes);
    if (bytes > 0) options.workspace = workspace.data(), options.workspace_size = bytes;
    ASSERT_EQ(nf_backward(&problem.pattern.pattern, &problem.q, &problem.k, &problem.v, nullptr, &options, &problem.o,
                          &problem.l, &d_out, nullptr, &gradients),
              NF_OK)
        << nf_last_error();
    const std::array<double, 4> expected = {1.0 / 3, 2.0 / 3 + 4.0 / 9, 1 + 2.0 / 3, 8.0 / 9};
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(dvalue[i], expected[i], 1e-14) << engine << ": " << i;
    if (bytes == 0) continue;
    options.workspace_size = bytes - 1;
    EXPECT_EQ(nf_backward(&problem.pattern.pattern, &problem.q, &problem.k, &problem.v, nullptr, &options, &problem.o,
                          &problem.l, &d_out, nullptr, &gradients),
              NF_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(nf_last_error()), "workspace_size=" + std::to_string(bytes - 1) + ": must be at least " +
                                                std::to_string(bytes) +
                                                " bytes for this problem, as nf_backward_workspace says");
  }
}

TEST(CApi, BackwardWithoutAWishDoesNothing) {
  HandComputed problem;
  const nf_options options = nf_default_options();
  ASSERT_EQ(problem.forward(options), NF_OK);
  nf_gradients none = {};
  none.struct_size = sizeof none;
  EXPECT_EQ(nf_backward(&problem.pattern.pattern, &problem.q, &problem.k, &problem.v, nullptr, &options, &problem.o,
                        &problem.l, &problem.o, nullptr, &none),
            NF_OK);
  size_t bytes = 1;
  EXPECT_EQ(nf_backward_workspace(&problem.pattern.pattern, &problem.q, &problem.k, &problem.v, nullptr, &options,
                                  &none, &bytes),
            NF_OK);
  EXPECT_EQ(bytes, 0u);
  nf_explanation explanation = {};
  explanation.struct_size = sizeof explanation;
  EXPECT_EQ(nf_explain_backward(&problem.pattern.pattern, &problem.q, &problem.k, &problem.v, nullptr, &options, &none,
                                &explanation),
            NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(), "gradients: must ask for one at least, else there is nothing to explain");
}

TEST(CApi, ExplainBackwardSaysWhatRuns) {
  HandComputed problem;
  const nf_options options = nf_default_options();
  nf_gradients gradients = {};
  gradients.struct_size = sizeof gradients;
  gradients.key = &problem.k;
  nf_explanation explanation = {};
  explanation.struct_size = sizeof explanation;
  ASSERT_EQ(nf_explain_backward(&problem.pattern.pattern, &problem.q, &problem.k, &problem.v, nullptr, &options,
                                &gradients, &explanation),
            NF_OK);
  EXPECT_EQ(explanation.engine, NF_ENGINE_CPU);
  EXPECT_GT(explanation.workspace, 0u);
  EXPECT_NE(std::string(explanation.reason).find("one pass"), std::string::npos) << explanation.reason;
}

// A stand-in for the caller's threads that breaks its promise: what it throws has to stop at the C ABI.
template <class Exception>
void throwing_parallel_for(void* exception, int64_t, void (*)(void*, int64_t), void*) {
  throw *static_cast<Exception*>(exception);
}

template <class Exception>
nf_status forward_that_throws(Exception exception) {
  HandComputed problem;
  nf_options options = reference_options();
  options.num_threads = 2;
  options.parallel_for = throwing_parallel_for<Exception>;
  options.parallel_for_context = &exception;
  return problem.forward(options);
}

TEST(CApi, NoExceptionCrosses) {
  EXPECT_EQ(forward_that_throws(std::bad_alloc()), NF_OUT_OF_MEMORY);
  EXPECT_STREQ(nf_last_error(), "out of memory");
  EXPECT_EQ(forward_that_throws(std::length_error("too long")), NF_OUT_OF_MEMORY);
  EXPECT_EQ(forward_that_throws(std::runtime_error("the host's threads are gone")), NF_INTERNAL_ERROR);
  EXPECT_STREQ(nf_last_error(), "the host's threads are gone");
  EXPECT_EQ(forward_that_throws(42), NF_INTERNAL_ERROR);
  EXPECT_STREQ(nf_last_error(), "an exception of unknown type");
}

TEST(CApi, LastErrorBelongsToTheThreadAndSurvivesSuccess) {
  HandComputed problem;
  problem.pattern = problem.window(0);
  ASSERT_EQ(problem.forward(reference_options()), NF_INVALID_ARGUMENT);
  std::string before = "unset", after = "unset";
  std::thread([&] {
    before = nf_last_error();
    HandComputed other;
    other.pattern = other.window(-5);
    other.forward(reference_options());
    after = nf_last_error();
  }).join();
  EXPECT_EQ(before, "");
  EXPECT_EQ(after, "kernel_size[0]=-5: must be at least 1");
  problem.pattern = problem.window(3);
  ASSERT_EQ(problem.forward(reference_options()), NF_OK);
  EXPECT_STREQ(nf_last_error(), "kernel_size[0]=0: must be at least 1");
}

}  // namespace
