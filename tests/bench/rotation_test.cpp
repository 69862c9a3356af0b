// The copies behind the cold numbers: how many, whether each is a problem of its own, and whether a wrong one is seen.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>

#include "bench_rotation.h"

namespace nearfield::cli {
namespace {

constexpr int64_t kMega = int64_t{1} << 20;
constexpr int64_t kPlenty = std::numeric_limits<int64_t>::max();

TEST(BenchRotation, CopiesExceed64MegabytesTogether) {
  for (int64_t bytes = kMega; bytes < 70 * kMega; bytes += kMega / 3) {
    const int64_t copies = Rotation::copies_for(bytes, kPlenty);
    if (copies < 64) {
      EXPECT_GT(copies * bytes, 64 * kMega) << bytes;
    }
    if (copies > 1) {
      EXPECT_LE((copies - 1) * bytes, 64 * kMega) << bytes;
    }
  }
}

TEST(BenchRotation, CopiesHaveLimits) {
  EXPECT_EQ(Rotation::copies_for(1000, kPlenty), 64);
  EXPECT_EQ(Rotation::copies_for(0, kPlenty), 64);
  EXPECT_EQ(Rotation::copies_for(64 * kMega, kPlenty), 2);
  EXPECT_EQ(Rotation::copies_for(64 * kMega + 1, kPlenty), 1);
  EXPECT_EQ(Rotation::copies_for(8 * kMega, kPlenty), 9);
  EXPECT_EQ(Rotation::copies_for(8 * kMega, 100 * kMega), 3);  // a quarter holds 25 MiB
  EXPECT_EQ(Rotation::copies_for(8 * kMega, 8 * kMega), 1);
  EXPECT_EQ(Rotation::copies_for(8 * kMega, 0), 1);
}

class Rotating : public testing::TestWithParam<Direction> {
 protected:
  // Solved, so that a copy has what the backward reads.
  Rotating() : problem(small_case(), NF_FLOAT32, GetParam()) {
    problem.prepare(options);
    problem.run(options);
  }
  static BenchCase small_case() {
    return {.name = "small", .batch = 2, .grid = {5, 7}, .heads = 3, .head_dim = 8, .kernel_size = {3, 5}};
  }
  Buffer& last_output(BenchProblem& of) { return GetParam() == Direction::forward ? of.logsumexp : of.dvalue; }

  const Options options = Options().with_engine(NF_ENGINE_REFERENCE).with_threads(1);
  BenchProblem problem;
};
INSTANTIATE_TEST_SUITE_P(, Rotating, testing::Values(Direction::forward, Direction::backward),
                         [](const auto& info) { return info.param == Direction::forward ? "Forward" : "Backward"; });

TEST_P(Rotating, CopiesAreProblemsOfTheirOwn) {
  Rotation rotation(problem, 3);
  ASSERT_EQ(rotation.size(), 3);
  for (int64_t i = 0; i < 3; ++i) {
    BenchProblem& copy = rotation.copy(i);
    EXPECT_NE(copy.query.data(), problem.query.data());
    EXPECT_NE(copy.query.data(), rotation.copy((i + 1) % 3).query.data());
    for (const auto& [mine, original] : {std::pair(&copy.query, &problem.query),
                                         {&copy.key, &problem.key},
                                         {&copy.value, &problem.value},
                                         {&copy.dout, &problem.dout}})
      EXPECT_EQ(mine->fingerprint(), original->fingerprint());
    EXPECT_TRUE(std::isnan(last_output(copy).at(0))) << "not poisoned";
  }
  EXPECT_FALSE(std::isnan(last_output(problem).at(0)));
}

TEST_P(Rotating, CallsOneAfterTheOther) {
  Rotation rotation(problem, 3);
  for (int64_t call = 0; call < 5; ++call) {
    const bool is_first = call < 3;
    EXPECT_EQ(std::isnan(last_output(rotation.copy(call % 3)).at(0)), is_first) << call;
    rotation.run(options);
    EXPECT_FALSE(std::isnan(last_output(rotation.copy(call % 3)).at(0))) << call;
  }
}

TEST_P(Rotating, SeesOneWrongCopy) {
  const uint64_t right = problem.fingerprint();
  Rotation rotation(problem, 3);
  EXPECT_FALSE(rotation.agrees_with(right)) << "nothing was called";
  rotation.run(options);
  rotation.run(options);
  EXPECT_TRUE(rotation.agrees_with(right));  // the third, not called, is no copy to be judged
  rotation.run(options);
  rotation.run(options);
  EXPECT_TRUE(rotation.agrees_with(right));
  EXPECT_FALSE(rotation.agrees_with(right + 1));
  for (int64_t i = 0; i < 3; ++i) {
    std::byte& byte = static_cast<std::byte*>(last_output(rotation.copy(i)).data())[5];
    byte ^= std::byte{1};
    EXPECT_FALSE(rotation.agrees_with(right)) << i;
    byte ^= std::byte{1};
  }
  EXPECT_TRUE(rotation.agrees_with(right));
}

}  // namespace
}  // namespace nearfield::cli
