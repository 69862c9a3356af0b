// The thread pool: every index once, whoever calls, forks, throws or nests.
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

// ThreadSanitizer forbids threads in the child of a threaded process by default; that is what some tests are about.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

namespace nearfield::core {
namespace {

using namespace std::chrono_literals;

Threading on(int32_t threads) { return {.num_threads = threads}; }

// How often each index was run must be exactly once.
void expect_each_once(const Threading& threading, int64_t count) {
  std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
  parallel_for(threading, count, [&](int64_t i) { runs[static_cast<size_t>(i)].fetch_add(1); });
  for (int64_t i = 0; i < count; ++i)
    ASSERT_EQ(runs[static_cast<size_t>(i)].load(), 1) << i << " of " << count << " on " << threading.num_threads;
}

// Runs `body` in a forked child and returns its exit code, or -1 if it had to be killed: it hung.
template <class Body>
int in_child(Body&& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  for (int waited = 0; waited < 2000; ++waited) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
    std::this_thread::sleep_for(10ms);
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return -1;
}

int64_t sum_of(int32_t threads, int64_t count) {
  std::atomic<int64_t> sum = 0;
  parallel_for(on(threads), count, [&](int64_t i) { sum.fetch_add(i); });
  return sum.load();
}

TEST(ThreadPool, RunsEveryIndexOnce) {
  for (int32_t threads : {1, 2, 3, 8, 17, 64})
    for (int64_t count : {0, 1, 2, 3, 7, 64, 1000, 20000}) expect_each_once(on(threads), count);
}

TEST(ThreadPool, RunsNothingForNonPositiveCounts) {
  for (int64_t count : {int64_t{0}, int64_t{-1}, INT64_MIN})
    parallel_for(on(4), count, [&](int64_t) { ADD_FAILURE() << count; });
}

TEST(ThreadPool, ManyShortLoops) {
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(sum_of(3, 5), 10) << i;
}

// Loops after the workers have fallen asleep must wake them or do without.
TEST(ThreadPool, WakesAfterIdleness) {
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(1ms);
    ASSERT_EQ(sum_of(4, 100), 4950);
  }
}

TEST(ThreadPool, UsesSeveralThreadsButNotMoreThanAsked) {
  std::mutex mutex;
  std::set<std::thread::id> ids;
  std::atomic<int> arrived = 0;
  // Every index waits for all: only as many threads as indices get past it.
  parallel_for(on(4), 4, [&](int64_t) {
    arrived.fetch_add(1);
    while (arrived.load() < 4) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(ids.size(), 4u);
  EXPECT_TRUE(ids.count(std::this_thread::get_id()));

  ids.clear();
  std::atomic<int> now = 0, most = 0;
  parallel_for(on(3), 500, [&](int64_t) {
    const int running = now.fetch_add(1) + 1;
    for (int seen = most.load(); seen < running && !most.compare_exchange_weak(seen, running);) continue;
    std::this_thread::yield();
    now.fetch_sub(1);
  });
  EXPECT_LE(most.load(), 3);
}

TEST(ThreadPool, ToleratesAbsurdThreadCounts) {
  std::atomic<int> now = 0, most = 0;
  parallel_for(on(INT32_MAX), 3, [&](int64_t) { most = std::max(most.load(), ++now); });
  EXPECT_LE(most.load(), 3);
  expect_each_once(on(0), 10);
  expect_each_once(on(-5), 10);
}

TEST(ThreadPool, NestedCallsStayOnTheirThread) {
  std::atomic<int64_t> total = 0;
  parallel_for(on(4), 20, [&](int64_t) {
    const auto self = std::this_thread::get_id();
    parallel_for(on(4), 30, [&](int64_t) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      parallel_for(on(4), 2, [&](int64_t) { total.fetch_add(1); });
    });
  });
  EXPECT_EQ(total.load(), 20 * 30 * 2);
  EXPECT_EQ(sum_of(4, 100), 4950);
}

TEST(ThreadPool, EightCallersAtOnce) {
  std::vector<std::thread> callers;
  for (int c = 0; c < 8; ++c) {
    callers.emplace_back([c] {
      for (int round = 0; round < 100; ++round) expect_each_once(on(2 + c % 3), 1 + 13 * c + round % 7);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

// All workers are held up by the first caller; the second must not need them.
TEST(ThreadPool, ACallerNeedsNoWorker) {
  std::atomic<bool> release = false;
  std::atomic<int> held = 0;
  std::thread first([&] {
    parallel_for(on(70), 70, [&](int64_t) {
      held.fetch_add(1);
      while (!release.load()) std::this_thread::sleep_for(1ms);
    });
  });
  while (held.load() < 70) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(sum_of(70, 1000), 499500);
  release = true;
  first.join();
}

TEST(ThreadPool, RethrowsTheBodysException) {
  for (int32_t threads : {1, 2, 5}) {
    for (int64_t bad : {0, 1, 50, 99}) {
      std::atomic<int> running = 0;
      try {
        parallel_for(on(threads), 100, [&](int64_t i) {
          running.fetch_add(1);
          if (i == bad) {
            running.fetch_sub(1);
            throw std::out_of_range("index " + std::to_string(i));
          }
          running.fetch_sub(1);
        });
        FAIL() << "no exception";
      } catch (const std::out_of_range& error) {
        EXPECT_EQ(error.what(), "index " + std::to_string(bad));
        EXPECT_EQ(running.load(), 0);  // nobody is at work any more
      }
    }
    // All of them throw: one arrives. The pool is good for more afterwards.
    EXPECT_THROW(parallel_for(on(threads), 64, [](int64_t) { throw std::bad_alloc(); }), std::bad_alloc);
    EXPECT_EQ(sum_of(threads, 100), 4950);
  }
}

TEST(ThreadPool, WorksInAForkedChild) {
  ASSERT_EQ(sum_of(4, 1000), 499500);
  EXPECT_EQ(in_child([] { return sum_of(4, 1000) == 499500 ? 7 : 8; }), 7);
  // And in a child's child.
  EXPECT_EQ(in_child([] {
              if (sum_of(3, 100) != 4950) return 8;
              return in_child([] { return sum_of(4, 1000) == 499500 ? 7 : 9; });
            }),
            7);
  EXPECT_EQ(sum_of(4, 1000), 499500);
}

TEST(ThreadPool, ForksWhileOthersAreInside) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c) {
    callers.emplace_back([&] {
      while (!stop.load()) ASSERT_EQ(sum_of(3, 50), 1225);
    });
  }
  for (int round = 0; round < 10; ++round)
    EXPECT_EQ(in_child([] { return sum_of(4, 200) == 19900 ? 7 : 8; }), 7) << round;
  stop = true;
  for (std::thread& caller : callers) caller.join();
}

TEST(ThreadPool, ForksInsideABody) {
  const pid_t parent = getpid();
  // Alone at work: the child finishes the loop, and can start others.
  std::atomic<int> code = 0;
  parallel_for(on(1), 3, [&](int64_t i) {
    if (i == 1) code = in_child([] { return sum_of(4, 100) == 4950 ? 7 : 8; });
  });
  EXPECT_EQ(code.load(), 7);

  // Another thread is in the midst of an index, which the child lacks.
  std::atomic<int> arrived = 0;
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> forked = false;
  const auto fork_in_caller = [&](int64_t) {
    arrived.fetch_add(1);
    while (arrived.load() < 2) std::this_thread::yield();
    if (std::this_thread::get_id() == caller) {
      if (fork() != 0) forked = true;
    } else {
      while (!forked.load()) std::this_thread::yield();
    }
  };
  bool refused = false;
  try {
    parallel_for(on(2), 2, fork_in_caller);
  } catch (const Error& error) {
    refused = error.status() == Status::internal_error;
  }
  if (getpid() != parent) _exit(refused && sum_of(4, 100) == 4950 ? 7 : 8);
  EXPECT_FALSE(refused);
  int status = 0;
  ASSERT_GT(wait(&status), 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
  EXPECT_EQ(sum_of(4, 100), 4950);
}

TEST(ThreadPool, ForksInsideAWorkersBody) {
  std::atomic<int> arrived = 0, code = -5;
  const auto caller = std::this_thread::get_id();
  parallel_for(on(2), 2, [&](int64_t) {
    arrived.fetch_add(1);
    while (arrived.load() < 2) std::this_thread::yield();
    if (std::this_thread::get_id() != caller) code = in_child([] { return sum_of(4, 100) == 4950 ? 7 : 8; });
  });
  EXPECT_EQ(code.load(), 7);
}

TEST(ThreadPool, ExitEndsCleanlyWhereverItIsCalled) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // in a process of its own
  EXPECT_EXIT((sum_of(4, 100), std::exit(7)), testing::ExitedWithCode(7), "");
  EXPECT_EXIT(parallel_for(on(4), 4, [](int64_t i) { i == 2 ? std::exit(7) : std::this_thread::sleep_for(5ms); }),
              testing::ExitedWithCode(7), "");
}

TEST(ThreadPool, WorkersHaveTheCallersRoundingMode) {
  sum_of(4, 100);  // the workers exist already, in the default mode
  const int before = std::fegetround();
  std::fesetround(FE_UPWARD);
  std::atomic<int> arrived = 0, wrong = 0;
  parallel_for(on(4), 4, [&](int64_t) {
    arrived.fetch_add(1);
    while (arrived.load() < 4) std::this_thread::yield();
    if (std::fegetround() != FE_UPWARD) wrong.fetch_add(1);
  });
  std::fesetround(before);
  EXPECT_EQ(wrong.load(), 0);
}

// ---- the caller's own parallel_for ---------------------------------------------------------------------------------

struct Foreign {
  int calls = 0;
  int64_t count = 0;
  bool leave_one_out = false;
};

// Two threads, indices backwards; C would have no way to let an exception through.
void foreign_parallel_for(void* context, int64_t count, void (*body)(void*, int64_t), void* body_context) noexcept {
  Foreign& foreign = *static_cast<Foreign*>(context);
  ++foreign.calls;
  foreign.count = count;
  std::thread odd([&] {
    for (int64_t i = count - 1; i >= 0; --i)
      if (i % 2 == 1) body(body_context, i);
  });
  for (int64_t i = count - 1; i >= (foreign.leave_one_out ? 1 : 0); --i)
    if (i % 2 == 0) body(body_context, i);
  odd.join();
}

TEST(ThreadPool, UsesTheInjectedFunction) {
  Foreign foreign;
  const Threading threading{.num_threads = 4, .function = foreign_parallel_for, .context = &foreign};
  expect_each_once(threading, 101);
  EXPECT_EQ(foreign.calls, 1);
  EXPECT_EQ(foreign.count, 101);

  // A nested loop neither calls it nor the pool.
  parallel_for(threading, 4, [&](int64_t) {
    const auto self = std::this_thread::get_id();
    parallel_for(threading, 4, [&](int64_t) { EXPECT_EQ(std::this_thread::get_id(), self); });
    parallel_for(on(4), 4, [&](int64_t) { EXPECT_EQ(std::this_thread::get_id(), self); });
  });
  EXPECT_EQ(foreign.calls, 2);
}

TEST(ThreadPool, ExceptionsSkipTheInjectedFunction) {
  Foreign foreign;
  const Threading threading{.num_threads = 4, .function = foreign_parallel_for, .context = &foreign};
  for (int64_t bad : {0, 1, 7}) {
    EXPECT_THROW(parallel_for(threading, 8,
                              [&](int64_t i) {
                                if (i == bad) throw std::out_of_range("bad");
                              }),
                 std::out_of_range);
  }
  expect_each_once(threading, 10);
}

TEST(ThreadPool, NoticesAnInjectedFunctionThatSkipsWork) {
  Foreign foreign{.leave_one_out = true};
  const Threading threading{.num_threads = 4, .function = foreign_parallel_for, .context = &foreign};
  try {
    parallel_for(threading, 8, [](int64_t) {});
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "parallel_for: ran 7 of 8 indices");
  }
}

// ---- the number of threads -----------------------------------------------------------------------------------------

class Environment {
 public:
  explicit Environment(const char* value) {
    if (const char* before = std::getenv(kName)) before_ = before, had_one_ = true;
    value != nullptr ? setenv(kName, value, 1) : unsetenv(kName);
  }
  ~Environment() { had_one_ ? setenv(kName, before_.c_str(), 1) : unsetenv(kName); }

 private:
  static constexpr const char* kName = "NEARFIELD_NUM_THREADS";
  std::string before_;
  bool had_one_ = false;
};

TEST(DefaultNumThreads, ComesFromTheEnvironment) {
  for (int32_t value : {1, 3, 17, 2147483647}) {
    const Environment environment(std::to_string(value).c_str());
    EXPECT_EQ(default_num_threads(), value);
  }
}

TEST(DefaultNumThreads, RefusesAnythingButAPositiveInteger) {
  for (const std::string value : {"0", "-2", "abc", "4x", " 4", "4 ", "2.5", "+4", "2147483648", "0x4"}) {
    const Environment environment(value.c_str());
    try {
      default_num_threads();
      ADD_FAILURE() << "accepted '" << value << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::invalid_argument);
      EXPECT_EQ(error.what(), "NEARFIELD_NUM_THREADS=" + value + ": must be a positive integer");
    }
  }
}

TEST(DefaultNumThreads, EmptyIsAsIfUnset) {
  int32_t unset = 0;
  {
    const Environment environment(nullptr);
    unset = default_num_threads();
  }
  const Environment environment("");
  EXPECT_EQ(default_num_threads(), unset);
}

TEST(DefaultNumThreads, ElseObeysTheAffinityMask) {
  const Environment environment(nullptr);
  std::thread([] {
    cpu_set_t all, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    EXPECT_EQ(default_num_threads(), CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
      if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(default_num_threads(), 1);
  }).join();
}

}  // namespace
}  // namespace nearfield::core
