// The check that stands before every number: it passes what is right and names what is wrong.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "base/dtype.h"
#include "bench_problem.h"

namespace nearfield::cli {
namespace {

constexpr nf_dtype kDTypes[] = {NF_FLOAT64, NF_FLOAT32, NF_BFLOAT16, NF_FLOAT16};

// Small enough for the reference engine, with everything that a case can have.
BenchCase small_case() {
  return {.name = "small",
          .batch = 2,
          .grid = {5, 12},
          .heads = 3,
          .head_dim = 8,
          .kernel_size = {3, 5},
          .stride = {2, 1},
          .dilation = {1, 2},
          .boundary = {NF_CUT, NF_WRAP}};
}

BenchProblem solved(nf_dtype dtype, Direction direction) {
  BenchProblem problem(small_case(), dtype, direction);
  const Options options = Options().with_engine(NF_ENGINE_REFERENCE);
  problem.prepare(options);
  problem.run(options);
  return problem;
}

void add(Buffer& tensor, int64_t element, double difference) {
  const auto dtype = static_cast<core::DType>(tensor.dtype());
  std::byte* address = static_cast<std::byte*>(tensor.data()) + element * core::size_of(dtype);
  core::store_double(address, dtype, core::load_double(address, dtype) + difference);
}

TEST(BenchCheck, PassesTheReference) {
  for (nf_dtype dtype : kDTypes) {
    for (Direction direction : {Direction::forward, Direction::backward}) {
      const CheckReport report = check_output(solved(dtype, direction));
      EXPECT_EQ(report.failure, "") << nf_dtype_name(dtype);
      EXPECT_EQ(report.rows, 2 * 5 * 12 * 3);  // fewer than the sample: all
      EXPECT_LT(report.error_max, 2e-2);
    }
  }
}

TEST(BenchCheck, NamesAWrongElement) {
  for (nf_dtype dtype : kDTypes) {
    BenchProblem problem = solved(dtype, Direction::forward);
    add(problem.out, problem.row(problem.out, 1, 4 * 12 + 11, 2) * 8 + 7, 0.1);  // the last corner
    const std::string failure = check_output(problem).failure;
    EXPECT_NE(failure.find("out at batch 1, head 2, query (4, 11), channel 7 is "), std::string::npos) << failure;
  }
}

TEST(BenchCheck, NamesAWrongLogsumexp) {
  BenchProblem problem = solved(NF_FLOAT32, Direction::forward);
  add(problem.logsumexp, problem.row(problem.logsumexp, 0, 13, 1), 0.01);
  const std::string failure = check_output(problem).failure;
  EXPECT_NE(failure.find("logsumexp at batch 0, head 1, query (1, 1), channel 0 is "), std::string::npos) << failure;
}

TEST(BenchCheck, NamesWhatWasNotWritten) {
  BenchProblem problem = solved(NF_BFLOAT16, Direction::forward);
  add(problem.out, problem.row(problem.out, 1, 30, 0) * 8 + 3, std::nan(""));
  const std::string failure = check_output(problem).failure;
  EXPECT_NE(failure.find("out at batch 1, head 0, token (2, 6), channel 3 is nan: not written"), std::string::npos)
      << failure;
  problem.poison_outputs();
  EXPECT_NE(check_output(problem).failure, "");
}

TEST(BenchCheck, NamesAWrongGradient) {
  for (const char* name : {"dquery", "dkey", "dvalue"}) {
    BenchProblem problem = solved(NF_FLOAT32, Direction::backward);
    Buffer& gradient = *name == 'd' && name[1] == 'q' ? problem.dquery : name[1] == 'k' ? problem.dkey : problem.dvalue;
    add(gradient, problem.row(gradient, 0, 0, 1) * 8, 0.1);
    const std::string failure = check_output(problem).failure;
    EXPECT_EQ(failure.find(std::string(name) + " at batch 0, head 1, "), 0u) << failure;
  }
}

TEST(BenchData, InputsAreNormalAndTheSameEveryTime) {
  Buffer first(300001, NF_FLOAT32), second(300001, NF_FLOAT32), third(300001, NF_FLOAT32);
  first.fill_normal(1);
  second.fill_normal(1);
  third.fill_normal(2);
  EXPECT_EQ(first.fingerprint(), second.fingerprint());
  EXPECT_NE(first.fingerprint(), third.fingerprint());
  double sum = 0, squares = 0, product = 0;
  for (int64_t i = 0; i < first.elements(); ++i) {
    sum += first.at(i);
    squares += first.at(i) * first.at(i);
    product += first.at(i) * third.at(i);
  }
  const double n = static_cast<double>(first.elements());
  EXPECT_NEAR(sum / n, 0, 0.01);
  EXPECT_NEAR(squares / n, 1, 0.02);
  EXPECT_NEAR(product / n, 0, 0.01);
}

TEST(BenchData, FingerprintsNoticeEveryBit) {
  Buffer tensor(7, NF_BFLOAT16);
  tensor.fill_normal(1);
  const uint64_t before = tensor.fingerprint();
  for (int64_t byte = 0; byte < 14; ++byte) {
    static_cast<unsigned char*>(tensor.data())[byte] ^= 1;
    EXPECT_NE(tensor.fingerprint(), before) << byte;
    static_cast<unsigned char*>(tensor.data())[byte] ^= 1;
  }
  EXPECT_EQ(tensor.fingerprint(), before);
}

TEST(BenchData, AvailableMemoryIsWhatTheMachineHasAtMost) {
  const int64_t all = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  const std::optional<int64_t> available = available_memory();
  if (!available) return;  // not every system says
  EXPECT_GT(*available, 0);
  EXPECT_LE(*available, all);
}

TEST(BenchData, PoisonIsNaNInEveryType) {
  for (nf_dtype dtype : kDTypes) {
    Buffer tensor(3, dtype);
    tensor.poison();
    for (int64_t i = 0; i < 3; ++i) EXPECT_TRUE(std::isnan(tensor.at(i))) << nf_dtype_name(dtype);
    EXPECT_EQ(tensor.first_nonfinite(), 0);
  }
}

}  // namespace
}  // namespace nearfield::cli
