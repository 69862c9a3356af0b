#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "bench_time.h"

namespace nearfield::cli {
namespace {

TEST(BenchTime, QuantilesAreLinearBetweenNeighbours) {
  EXPECT_DOUBLE_EQ(quantile({3}, 0.9), 3);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0), 1);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 1), 4);
  EXPECT_DOUBLE_EQ(quantile({0, 10}, 0.9), 9);
}

// Calls slow enough that each is a repetition of its own; the first of each subject warms it up.
TEST(BenchTime, SubjectsAlternate) {
  std::string calls;
  const auto slow = [&](char name) {
    return [&calls, name] {
      calls += name;
      std::this_thread::sleep_for(std::chrono::milliseconds(110));
    };
  };
  const std::function<void()> subjects[] = {slow('a'), slow('b')};
  const std::vector<Timing> timings = time_alternately(subjects, {.seconds = 1e9, .repetitions = 2});
  EXPECT_EQ(calls, "ababab");
  ASSERT_EQ(timings.size(), 2u);
  EXPECT_EQ(timings[0].repetitions, 2);
  EXPECT_EQ(timings[0].calls, 1);
  EXPECT_GE(timings[0].median, 0.11);
}

TEST(BenchTime, TheHookFollowsEachRepetition) {
  std::string calls;
  const auto slow = [&](char name) {
    return [&calls, name] {
      calls += name;
      std::this_thread::sleep_for(std::chrono::milliseconds(110));
    };
  };
  const std::function<void()> subjects[] = {slow('a'), slow('b')};
  const auto after = [&](size_t subject) { calls += subject == 0 ? '0' : '1'; };
  time_alternately(subjects, {.seconds = 1e9, .repetitions = 2}, after);
  EXPECT_EQ(calls, "aba0b1a0b1");
}

TEST(BenchTime, ThreeRepetitionsWhateverTheBudget) {
  int calls = 0;
  const std::function<void()> subjects[] = {[&] {
    ++calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(110));
  }};
  EXPECT_EQ(time_alternately(subjects, {.seconds = 0, .repetitions = 20})[0].repetitions, 3);
  EXPECT_EQ(calls, 4);
}

TEST(BenchTime, ShortCallsAreTimedInGroups) {
  int calls = 0;
  const std::function<void()> subjects[] = {[&] { ++calls; }};
  const Timing timing = time_alternately(subjects, {.seconds = 10, .repetitions = 3})[0];
  EXPECT_GT(timing.calls, 1);
  EXPECT_GE(calls, 3 * timing.calls);
  EXPECT_GT(timing.median, 0);
}

}  // namespace
}  // namespace nearfield::cli
