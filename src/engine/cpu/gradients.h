// Where a backward's sums go, shared by its threads: gradients of keys and values in the type that sums are held in,
// which is the caller's tensor where that has it, else a copy; and sums over all queries, to which the tasks of a head
// add one after another, in the order of the tasks, so that they are the same for any number of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/cpu/driver.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/modifiers.h"
#include "engine/problem.h"

namespace nearfield::core {

// Lets tasks pass one at a time, by their numbers from 0 on. Tasks must be begun in that order.
class Turnstile {
 public:
  // The turn of task `number`, from wait() for the rest of its life; passes even if the task fails.
  class Turn {
   public:
    Turn(Turnstile& turnstile, int64_t number) : turnstile_(turnstile), number_(number) {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      wait();
      turnstile_.next_.store(number_ + 1, std::memory_order_release);
    }
    void wait() const;

   private:
    Turnstile& turnstile_;
    const int64_t number_;
  };

  // While nobody waits.
  void restart() { next_.store(0, std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> next_{0};
};

template <class T>
struct SharedGradients {
  TensorView dkey, dvalue;                  // (batch, *grid, heads_kv, channels) of T; null: not wanted
  T* dlog_weights = nullptr;                // [batch][heads_kv][tokens]: sums of dS
  double* dbias = nullptr;                  // [heads][bias_head]
  double* dadditional_keys = nullptr;       // [batch][heads_kv][M][head_dim]
  double* dadditional_values = nullptr;     // [batch][heads_kv][M][head_dim_v]
  std::unique_ptr<Turnstile[]> turnstiles;  // [heads_kv]; the band kernel's are those of its groups of heads

  // Lays what is not the caller's out in `arena`. bias_head: entries of one head's table.
  SharedGradients(Arena& arena, const Problem& problem, const GradientsWanted& wanted, int64_t bias_head);
  // Directs sums to the caller's tensors where they can be; sets all sums to 0 but those that a part stores first.
  void start(const Problem& problem, const Gradients& gradients, const std::vector<CpuPart>& parts);
  // Rounds what was summed elsewhere into the caller's tensors.
  void finish(const Problem& problem, const Gradients& gradients, const KernelTable<T>& kernels);
};

// A task of a backward: one unit of work (column, slab) for one of the groups of heads of one image.
struct BackwardTask {
  int64_t batch, group;
  Turnstile& turnstile;  // of the group
  int64_t number;        // there
};

// A part's backward: its units of work by colour, each for `groups` groups of heads of every image.
// make(memory) makes a slot's pass, once; run(pass, unit, task, next unit, next task) runs one task; the next are what
// the slot will probably run then, null if nothing. Those begun together are of different groups, so that they seldom
// wait for each other.
template <class T, class Unit, class Make, class Run>
void run_by_colour(const Problem& problem, const CpuChoice& choice, SharedGradients<T>& sums, std::byte* slots,
                   const std::vector<std::vector<Unit>>& colours, int64_t groups, Make make, Run run) {
  for (int64_t group = 0; group < groups; ++group) sums.turnstiles[static_cast<size_t>(group)].restart();
  int64_t done = 0;
  for (const std::vector<Unit>& units : colours) {
    const auto count = static_cast<int64_t>(units.size()), tasks = problem.shape.batch * count;  // of a group
    TaskQueue queue(tasks * groups);
    const auto task_at = [&](int64_t index) {
      const int64_t group = index % groups, task = index / groups;
      return BackwardTask{task / count, group, sums.turnstiles[static_cast<size_t>(group)], done + task};
    };
    const auto unit_at = [&](int64_t index) { return &units[static_cast<size_t>(index / groups % count)]; };
    parallel_for(problem.threading, std::min<int64_t>(choice.slots, tasks * groups), [&](int64_t slot) {
      auto pass = make(slots + static_cast<size_t>(slot) * choice.workspace_per_slot);
      for (int64_t index = 0; queue.next(index);) {
        const int64_t next = index + choice.slots;
        const bool any = next < tasks * groups;
        run(pass, *unit_at(index), task_at(index), any ? unit_at(next) : nullptr, task_at(any ? next : index));
      }
    });
    done += tasks;
  }
}

}  // namespace nearfield::core
