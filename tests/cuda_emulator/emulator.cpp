#include "emulator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <set>

#include "base/error.h"

namespace nearfield::emulator {

using core::concat;

thread_local Emulator* Emulator::current_ = nullptr;

// ---- global memory --------------------------------------------------------------------------------------------------

void GlobalMemory::add(const void* start, size_t size, bool writable) {
  const auto at = reinterpret_cast<uintptr_t>(start);
  last_ = nullptr;
  ranges_[at] = {at, at + size, writable};
}

void GlobalMemory::remove(const void* start) {
  last_ = nullptr;
  ranges_.erase(reinterpret_cast<uintptr_t>(start));
}

const GlobalMemory::Range* GlobalMemory::find(const void* address, size_t size) const {
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (last_ != nullptr && last_->start <= at && at + size <= last_->end) return last_;
  auto after = ranges_.upper_bound(at);
  if (after == ranges_.begin()) return nullptr;
  const Range& range = std::prev(after)->second;
  return last_ = at + size <= range.end ? &range : nullptr;
}

std::string GlobalMemory::complaint(const void* address, size_t size, bool writes) const {
  if (reinterpret_cast<uintptr_t>(address) % size != 0) return concat("global access to ", address, " is misaligned");
  const Range* range = find(address, size);
  if (range == nullptr) return concat("global access to ", address, ", which nobody allocated");
  return writes && !range->writable ? "write to read-only global memory" : "";
}

// ---- blocks
// ----------------------------------------------------------------------------------------------------------

void Emulator::launch(int64_t blocks, int threads, size_t shared_bytes, const std::function<void()>& body) {
  if (shared_bytes > kMostShared) throw core::Error(core::Status::internal_error, "emulator: too much shared memory");
  current_ = this;
  threads_.resize(static_cast<size_t>(threads));
  warps_.resize(static_cast<size_t>(threads / kLanes));
  shared_bytes_ = shared_bytes;
  blocks_ = blocks;
  failure_.clear();
  for (block_ = 0; block_ < blocks && failure_.empty(); ++block_) run_block(body);
  if (failure_.empty()) return;
  threads_.clear();  // and the stacks of those that will never end
  throw core::Error(core::Status::internal_error, "emulator: " + failure_);
}

void Emulator::enter(void* self) {
  auto& emulator = *static_cast<Emulator*>(self);
  (*emulator.body_)();
  Thread& thread = emulator.threads_[static_cast<size_t>(emulator.running_)];
  thread.state = State::done;
  ++emulator.done_;
  emulator.counts.barriers = std::max(emulator.counts.barriers, thread.barriers);
}

void Emulator::run_block(const std::function<void()>& body) {
  body_ = &body;
  ++counts.blocks;
  std::memset(shared_, 0xff, sizeof shared_);
  touches_.assign(shared_bytes_ / 4 + 1, {});
  at_block_ = done_ = 0;
  all_[0] = all_[1] = true;
  for (Warp& warp : warps_) warp = {};
  for (Thread& thread : threads_) {
    thread.state = State::ready;
    thread.barriers = thread.epoch = thread.exchanges = 0;
    thread.accesses.clear();
    thread.fiber.start(enter, this);
  }
  std::vector<int> order(threads_.size());
  std::iota(order.begin(), order.end(), 0);
  while (done_ < static_cast<int>(threads_.size())) {
    for (size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[static_cast<size_t>(random_.below(static_cast<int64_t>(i)))]);
    bool any = false;
    for (const int t : order) {
      Thread& thread = threads_[static_cast<size_t>(t)];
      if (thread.state != State::ready) continue;
      any = true;
      running_ = t;
      thread.fiber.resume();
      if (!failure_.empty()) return;
    }
    if (!any) {
      failure_ = concat("block ", block_, ": threads wait for ever: ", describe_waiting());
      return;
    }
  }
}

std::string Emulator::describe_waiting() const {
  int at_block = 0, at_warp = 0, left = 0;
  for (const Thread& thread : threads_) {
    at_block += thread.state == State::at_block;
    at_warp += thread.state == State::at_warp;
    left += thread.state == State::done;
  }
  return concat(at_block, " at a barrier, ", at_warp, " at a warp's exchange, ", left, " have left");
}

void Emulator::fail(const std::string& what) {
  failure_ = concat("block ", block_, ", thread ", running_, ": ", what);
  while (true) threads_[static_cast<size_t>(running_)].fiber.suspend();  // for good: launch() throws
}

void Emulator::release(State from, int first, int count) {
  for (int t = first; t < first + count; ++t)
    if (threads_[static_cast<size_t>(t)].state == from) threads_[static_cast<size_t>(t)].state = State::ready;
}

bool Emulator::wait_for_block(bool x, bool is_vote) {
  Thread& thread = threads_[static_cast<size_t>(running_)];
  if (!is_vote && thread.barriers++ == fault.skipped_barrier) return x;
  const size_t turn = static_cast<size_t>(++thread.epoch % 2);
  all_[turn] = all_[turn] && x;
  if (++at_block_ == static_cast<int>(threads_.size())) {
    at_block_ = 0;
    all_[1 - turn] = true;
    for (size_t w = 0; w < warps_.size() && counts_banks; ++w) count_banks(static_cast<int>(w) * kLanes);
    release(State::at_block, 0, static_cast<int>(threads_.size()));
  } else {
    thread.state = State::at_block;
    thread.fiber.suspend();
  }
  return all_[turn];
}

const uint64_t* Emulator::exchange(uint64_t value, int operation) {
  const int first = running_ / kLanes * kLanes;
  Thread& thread = threads_[static_cast<size_t>(running_)];
  Warp& warp = warps_[static_cast<size_t>(running_ / kLanes)];
  auto& values = warp.values[thread.exchanges++ % 2];
  values[running_ - first] = value;
  thread.operation = operation;
  if (++warp.arrived == kLanes) {
    warp.arrived = 0;
    for (int t = first; t < first + kLanes; ++t)
      if (threads_[static_cast<size_t>(t)].operation != operation) fail("a warp's lanes exchange different things");
    if (counts_banks) count_banks(first);
    release(State::at_warp, first, kLanes);
  } else {
    thread.state = State::at_warp;
    thread.fiber.suspend();
  }
  return values;
}

// ---- accesses
// --------------------------------------------------------------------------------------------------------

void Emulator::check_global(const void* address, size_t size, bool writes) {
  const std::string complaint = memory.complaint(address, size, writes);
  if (!complaint.empty()) fail(complaint);
}

void Emulator::check_shared(const void* array, int64_t index, int64_t count, size_t size, size_t accessed,
                            bool writes) {
  const auto elements = static_cast<int64_t>(accessed / size);
  if (index < 0 || index + elements > count)
    fail(concat("shared array of ", count, " elements: ", elements, " at ", index));
  const auto* const at = static_cast<const std::byte*>(array) + index * static_cast<int64_t>(size);
  const int64_t offset = at - shared_;
  if (offset < 0 || offset + static_cast<int64_t>(accessed) > static_cast<int64_t>(shared_bytes_))
    fail(concat("beyond the ", shared_bytes_, " bytes of shared memory"));
  if (offset % static_cast<int64_t>(accessed) != 0) fail("misaligned access to shared memory");
  note(static_cast<size_t>(offset), accessed, writes);
  if (counts_banks)
    threads_[static_cast<size_t>(running_)].accesses.emplace_back(static_cast<uint32_t>(offset),
                                                                  static_cast<uint32_t>(accessed));
}

void Emulator::note(size_t offset, size_t bytes, bool writes) {
  const int64_t epoch = threads_[static_cast<size_t>(running_)].epoch;
  for (size_t word = offset / 4; word <= (offset + bytes - 1) / 4; ++word) {
    Touch& touch = touches_[word];
    const bool after_write = touch.write_epoch == epoch && touch.writer != running_;
    const bool after_read = touch.read_epoch == epoch && touch.reader != running_;
    if (after_write || (writes && after_read))
      fail(concat("race at byte ", word * 4, " of shared memory: ", writes ? "written" : "read", " after thread ",
                  after_write ? touch.writer : touch.reader, after_write ? " wrote" : " read", " it"));
    if (writes) {
      touch.write_epoch = epoch;
      touch.writer = running_;
    } else {
      touch.reader = touch.read_epoch == epoch && touch.reader != running_ ? -2 : running_;
      touch.read_epoch = epoch;
    }
  }
}

// Accesses that the lanes made one after the other since they last met, taken as the warp's instructions. A bank gives
// one word at a time, to all that want it; accesses of 8 and 16 bytes go by half and quarter warps.
void Emulator::count_banks(int first_thread) {
  size_t most = 0;
  for (int t = first_thread; t < first_thread + kLanes; ++t)
    most = std::max(most, threads_[static_cast<size_t>(t)].accesses.size());
  for (size_t i = 0; i < most; ++i) {
    std::array<std::array<std::set<uint32_t>, kLanes>, 4> banks;
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto& accesses = threads_[static_cast<size_t>(first_thread + lane)].accesses;
      if (i >= accesses.size()) continue;
      const auto [offset, bytes] = accesses[i];
      const size_t group = static_cast<size_t>(lane) * std::max<uint32_t>(bytes, 4) / 128;
      for (uint32_t word = offset / 4; word <= (offset + bytes - 1) / 4; ++word)
        banks[group][word % kLanes].insert(word);
    }
    ++counts.shared_accesses;
    for (const auto& group : banks) {
      size_t turns = 1;
      for (const auto& words : group) turns = std::max(turns, words.size());
      counts.bank_conflicts += static_cast<int64_t>(turns) - 1;
    }
  }
  for (int t = first_thread; t < first_thread + kLanes; ++t) threads_[static_cast<size_t>(t)].accesses.clear();
}

}  // namespace nearfield::emulator
