// The emulator's own words, one by one: what they compute, and that misuse is found.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "device.h"

namespace nearfield::emulator {
namespace {

constexpr int kThreads = 64;

struct Words {
  device::SharedArray<float, 64> a;
  device::SharedArray<float, 64 * 33> b;
};

// What a kernel of one block of 64 threads comes to: "" or the failure.
std::string failure_of(const std::function<void()>& body, Emulator& emulator) {
  try {
    emulator.launch(1, kThreads, sizeof(Words), body);
  } catch (const core::Error& error) {
    return error.what();
  }
  return "";
}
std::string failure_of(const std::function<void()>& body) {
  Emulator emulator;
  return failure_of(body, emulator);
}
bool mentions(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

TEST(Emulator, ThreadsMeetAtBarriers) {
  std::vector<float> seen(kThreads);
  const std::string failure = failure_of([&] {
    Words& words = device::shared<Words>();
    const int t = device::thread_index();
    words.a.set(t, static_cast<float>(t));
    device::synchronize();
    seen[static_cast<size_t>(t)] = words.a.get(kThreads - 1 - t);
  });
  EXPECT_EQ(failure, "");
  for (int t = 0; t < kThreads; ++t) EXPECT_EQ(seen[static_cast<size_t>(t)], static_cast<float>(kThreads - 1 - t));
}

TEST(Emulator, VotesAndShuffles) {
  std::vector<int> all(kThreads), almost(kThreads), warps(kThreads);
  std::vector<double> shuffled(kThreads);
  const std::string failure = failure_of([&] {
    const int t = device::thread_index();
    const auto i = static_cast<size_t>(t);
    shuffled[i] = device::shuffle_xor(static_cast<double>(t), 4);
    shuffled[i] += 100 * device::shuffle_xor(static_cast<double>(t), 1);
    warps[i] = device::all_of_warp(t < 32);
    all[i] = device::synchronize_and(t >= 0);
    almost[i] = device::synchronize_and(t != 40);
  });
  EXPECT_EQ(failure, "");
  for (int t = 0; t < kThreads; ++t) {
    const auto i = static_cast<size_t>(t);
    EXPECT_EQ(shuffled[i], (t ^ 4) + 100 * (t ^ 1));
    EXPECT_EQ(warps[i], t < 32);
    EXPECT_TRUE(all[i]);
    EXPECT_FALSE(almost[i]);
  }
}

TEST(Emulator, SharedMemoryStartsAsNan) {
  bool is_nan = false;
  EXPECT_EQ(failure_of([&] { is_nan = std::isnan(device::shared<Words>().a.get(device::thread_index())); }), "");
  EXPECT_TRUE(is_nan);
}

TEST(Emulator, FindsAccessesOutOfBounds) {
  EXPECT_PRED2(mentions, failure_of([] { device::shared<Words>().a.get(64); }), "64 elements: 1 at 64");
  EXPECT_PRED2(mentions, failure_of([] { device::shared<Words>().a.set(-1, 0); }), "1 at -1");
  EXPECT_PRED2(mentions, failure_of([] { device::shared<Words>().a.pack(62); }), "4 at 62");
  EXPECT_PRED2(mentions, failure_of([] { device::shared<Words>().a.pack(2); }), "misaligned");
  Emulator emulator;
  std::vector<float> memory(8);
  emulator.memory.add(memory.data(), 6 * sizeof(float), false);
  EXPECT_EQ(failure_of([&] { device::load(memory.data() + 5); }, emulator), "");
  EXPECT_PRED2(mentions, failure_of([&] { device::load(memory.data() + 6); }, emulator), "nobody allocated");
  EXPECT_PRED2(mentions, failure_of([&] { device::store(memory.data(), 0.0f); }, emulator), "read-only");
  const auto* const askew = reinterpret_cast<const float*>(reinterpret_cast<const std::byte*>(memory.data()) + 2);
  EXPECT_PRED2(mentions, failure_of([&] { device::load(askew); }, emulator), "misaligned");
}

TEST(Emulator, FindsRaces) {
  // Written and read, read and written, written twice.
  EXPECT_PRED2(mentions, failure_of([] {
                 Words& words = device::shared<Words>();
                 words.a.set(device::thread_index(), 1);
                 words.a.get((device::thread_index() + 1) % kThreads);
               }),
               "race");
  EXPECT_PRED2(mentions, failure_of([] {
                 Words& words = device::shared<Words>();
                 words.a.get(0);
                 if (device::thread_index() == 9) words.a.set(0, 1);
               }),
               "race");
  EXPECT_PRED2(mentions, failure_of([] { device::shared<Words>().a.set(7, 1); }), "race");
}

TEST(Emulator, FindsThreadsThatWaitForEver) {
  EXPECT_PRED2(mentions, failure_of([] {
                 if (device::thread_index() != 3) device::synchronize();
               }),
               "63 at a barrier, 0 at a warp's exchange, 1 have left");
  EXPECT_PRED2(mentions, failure_of([] {
                 if (device::thread_index() < 16) device::all_of_warp(true);
               }),
               "16 at a warp's exchange");
  EXPECT_PRED2(mentions, failure_of([] { device::shuffle_xor(1.0f, device::thread_index() < 16 ? 1 : 2); }),
               "exchange different things");
}

TEST(Emulator, LeavesOutABarrier) {
  Emulator emulator;
  emulator.fault.skipped_barrier = 1;
  const auto body = [] {
    Words& words = device::shared<Words>();
    device::synchronize();
    words.a.set(device::thread_index(), 1);
    device::synchronize();
    words.a.get((device::thread_index() + 1) % kThreads);
  };
  EXPECT_PRED2(mentions, failure_of(body, emulator), "race");
  emulator.fault.skipped_barrier = 0;
  EXPECT_EQ(failure_of(body, emulator), "");
  EXPECT_EQ(emulator.counts.barriers, 2);
}

// Conflicts of a warp's 32 reads of b at `stride` times the lane.
int64_t conflicts(int stride) {
  Emulator emulator;
  emulator.counts_banks = true;
  const std::string failure = failure_of(
      [&] {
        Words& words = device::shared<Words>();
        if (device::thread_index() < 32) words.b.get(device::thread_index() * stride);
        device::synchronize();
      },
      emulator);
  EXPECT_EQ(failure, "");
  return emulator.counts.bank_conflicts;
}

TEST(Emulator, CountsBankConflicts) {
  EXPECT_EQ(conflicts(1), 0);
  EXPECT_EQ(conflicts(0), 0);  // one word for all
  EXPECT_EQ(conflicts(2), 1);
  EXPECT_EQ(conflicts(32), 31);
  EXPECT_EQ(conflicts(33), 0);
}

TEST(Emulator, GoesOnAfterAFailure) {
  Emulator emulator;
  EXPECT_NE(failure_of([] { device::shared<Words>().a.get(64); }, emulator), "");
  EXPECT_EQ(failure_of([] { device::synchronize(); }, emulator), "");
}

}  // namespace
}  // namespace nearfield::emulator
