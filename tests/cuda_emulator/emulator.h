// A GPU's thread block on one thread of a CPU, for tests: the threads are fibers, in random order, and every access is
// checked. What it finds, and throws as an Error when the block is left:
//
//   - an index outside of a shared array, an access to global memory that nobody allocated, misaligned, or a write to
//     what is read-only
//   - a race: two threads meet at one place of shared memory without a barrier between, and one of them writes
//   - threads that wait where others have left or wait for something else; warps whose lanes do
//   - what was never written: shared memory starts as NaN, and integers as -1
//
// It counts bank conflicts. It can leave out a barrier, to see that the tests notice (Fault).
//
// One emulator runs at a time on a thread; launch() makes it the current one, to which device.h speaks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "check/random.h"
#include "fiber.h"

namespace nearfield::emulator {

// What is planted in a kernel: the block's barrier of this number (from 0, in the order in which a thread meets them,
// votes not counted) is passed without waiting.
struct Fault {
  int64_t skipped_barrier = -1;
};

struct Counts {
  int64_t blocks = 0, barriers = 0;  // barriers: of one thread, the most in a block
  int64_t shared_accesses = 0;       // of warps, where counts_banks
  int64_t bank_conflicts = 0;        // accesses to shared memory beyond those that the bytes themselves need
};

// Global memory of the emulated device: whole allocations, so that one element beyond them is an error.
class GlobalMemory {
 public:
  void add(const void* start, size_t size, bool writable);
  void remove(const void* start);
  bool holds(const void* address) const { return find(address, 1) != nullptr; }
  // "" or what is wrong with an access.
  std::string complaint(const void* address, size_t size, bool writes) const;

 private:
  struct Range {
    uintptr_t start, end;
    bool writable;
  };
  const Range* find(const void* address, size_t size) const;
  std::map<uintptr_t, Range> ranges_;
  mutable const Range* last_ = nullptr;  // found
};

class Emulator {
 public:
  explicit Emulator(uint64_t seed = 1) : random_(seed) {}

  GlobalMemory memory;
  Fault fault;
  Counts counts;
  bool counts_banks = false;

  // Runs body() once for each thread of each block. shared_bytes: at most 48 KiB. Throws std::runtime_error.
  void launch(int64_t blocks, int threads, size_t shared_bytes, const std::function<void()>& body);

  // ---- what device.h asks for, on a fiber ----
  static Emulator& current() { return *current_; }
  int thread() const { return running_; }
  int64_t block() const { return block_; }
  int64_t blocks() const { return blocks_; }
  std::byte* shared() { return shared_; }
  // At the barrier of the block; returns whether x held for all. is_vote: that is what it is for.
  bool wait_for_block(bool x, bool is_vote);
  // At the warp's next exchange of values; returns the slots of all 32 lanes.
  const uint64_t* exchange(uint64_t value, int operation);
  void check_global(const void* address, size_t size, bool writes);
  // index of count elements of `size` bytes at `array`.
  void check_shared(const void* array, int64_t index, int64_t count, size_t size, size_t accessed, bool writes);
  [[noreturn]] void fail(const std::string& what);

 private:
  static constexpr size_t kMostShared = size_t{48} << 10;
  static constexpr int kLanes = 32;
  enum class State { ready, at_block, at_warp, done };
  struct Thread {
    Fiber fiber;
    State state = State::done;
    int64_t barriers = 0, epoch = 0, exchanges = 0;       // epoch: barriers that were not left out
    int operation = 0;                                    // of the exchange
    std::vector<std::pair<uint32_t, uint32_t>> accesses;  // offset and bytes, since it last met its warp
  };
  struct Warp {
    uint64_t values[2][kLanes];
    int arrived = 0;
  };
  // Who touched a word of shared memory since a barrier.
  struct Touch {
    int64_t read_epoch = -1, write_epoch = -1;
    int reader = -1, writer = -1;  // reader -2: several
  };

  static void enter(void* self);
  void run_block(const std::function<void()>& body);
  void release(State from, int first, int count);
  void note(size_t offset, size_t bytes, bool writes);
  void count_banks(int first_thread);
  std::string describe_waiting() const;

  static thread_local Emulator* current_;
  core::Random random_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<Touch> touches_;
  alignas(128) std::byte shared_[kMostShared];
  size_t shared_bytes_ = 0;
  int64_t block_ = 0, blocks_ = 0;
  int running_ = 0, at_block_ = 0, done_ = 0;
  bool all_[2] = {true, true};
  const std::function<void()>* body_ = nullptr;
  std::string failure_;
};

}  // namespace nearfield::emulator
