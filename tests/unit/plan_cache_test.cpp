// The plan cache: same plan again, least recently used dropped first, limits kept, threads welcome.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "plan/cache.h"

namespace nearfield::core {
namespace {

PlanKey key_of(int64_t length, int64_t near = 4) {
  PlanKey key;
  key.pattern.rank = 1;
  key.pattern.axes[0] = NeighborhoodAxis{length, length, 3};
  key.shape.near[0] = near;
  key.shape.far[0] = 8;
  return key;
}

TEST(PlanCache, ReturnsTheSamePlanForTheSameQuestion) {
  PlanCache cache(8, size_t{1} << 20);
  const auto plan = cache.get(key_of(100));
  EXPECT_EQ(cache.get(key_of(100)), plan);
  EXPECT_EQ(cache.entries(), 1u);
  EXPECT_EQ(cache.bytes(), plan->bytes());

  PlanKey transposed = key_of(100), laps = key_of(100);
  transposed.transposed = true;
  laps.keep_laps = true;
  EXPECT_TRUE(cache.get(transposed)->transposed());
  EXPECT_TRUE(cache.get(laps)->keep_laps());
  EXPECT_NE(cache.get(key_of(101)), plan);
  EXPECT_NE(cache.get(key_of(100, 5)), plan);
  EXPECT_EQ(cache.entries(), 5u);
}

TEST(PlanCache, DropsTheLeastRecentlyUsed) {
  PlanCache cache(2, size_t{1} << 20);
  const auto first = cache.get(key_of(10)), second = cache.get(key_of(20));
  cache.get(key_of(10));  // now the second is the oldest
  cache.get(key_of(30));
  EXPECT_EQ(cache.entries(), 2u);
  EXPECT_EQ(cache.get(key_of(10)), first);
  EXPECT_NE(cache.get(key_of(20)), second);
  EXPECT_EQ(second->axis(0).near, 20);  // ours outlives its eviction
}

TEST(PlanCache, KeepsToItsBytes) {
  const size_t one = Plan(key_of(1000).pattern, key_of(1000).shape).bytes();
  PlanCache cache(64, 3 * one + one / 2);
  for (int64_t near = 1; near <= 20; ++near) {
    cache.get(key_of(1000, 3 + near));
    EXPECT_LE(cache.bytes(), 3 * one + one / 2);
    EXPECT_GE(cache.entries(), 1u);
  }
  EXPECT_GT(cache.entries(), 1u);
}

TEST(PlanCache, APlanLargerThanTheCacheIsNotKept) {
  const auto small = key_of(10);
  PlanCache cache(64, Plan(small.pattern, small.shape).bytes());
  const auto kept = cache.get(small);
  EXPECT_EQ(cache.get(key_of(100000))->axis(0).near, 100000);
  EXPECT_EQ(cache.entries(), 1u);
  EXPECT_EQ(cache.get(small), kept);
}

TEST(PlanCache, KeepsNothingThatFailed) {
  PlanCache cache(8, size_t{1} << 20);
  EXPECT_THROW(cache.get(key_of(10, 0)), Error);
  EXPECT_EQ(cache.entries(), 0u);
}

TEST(PlanCache, ThreadsShareIt) {
  PlanCache cache(4, size_t{1} << 20);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const int64_t length = 10 + (i * (t + 1)) % 7;
        const auto plan = cache.get(key_of(length));
        if (plan->axis(0).near != length || plan->tile_count() != ceil_div(length, 4)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(cache.entries(), 4u);
}

TEST(CachedPlan, IsOneCacheForTheProcess) {
  const PlanKey key = key_of(77);
  const auto plan = cached_plan(key.pattern, key.shape);
  EXPECT_EQ(cached_plan(key.pattern, key.shape), plan);
  EXPECT_NE(cached_plan(key.pattern, key.shape, true), plan);
  EXPECT_EQ(plan->statistics().useful_pairs, 77 * 3);
}

}  // namespace
}  // namespace nearfield::core
