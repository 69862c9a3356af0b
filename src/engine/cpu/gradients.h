// Where a backward's sums go, shared by its threads: gradients of keys and values in the type that sums are held in,
// which is the caller's tensor where that has it, else a copy; and sums over all queries, which tasks hand in one
// after another, in the order of the tasks, so that they are the same for any number of threads.
#pragma once

#include <atomic>
#include <cstdint>

#include "engine/cpu/driver.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/modifiers.h"
#include "engine/problem.h"

namespace nearfield::core {

// Lets tasks pass one at a time, by their numbers. Tasks must be begun in that order.
class Turnstile {
 public:
  // The turn of task `number`, for the rest of its life; passes even if the task fails.
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

 private:
  std::atomic<int64_t> next_{0};
};

template <class T>
struct SharedGradients {
  TensorView dkey, dvalue;               // (batch, *grid, heads_kv, channels) of T; null: not wanted
  T* dlog_weights = nullptr;             // [batch][heads_kv][tokens]: sums of dS
  double* dbias = nullptr;               // [heads][bias_head]
  double* dadditional_keys = nullptr;    // [batch][heads_kv][M][head_dim]
  double* dadditional_values = nullptr;  // [batch][heads_kv][M][head_dim_v]
  Turnstile turnstile;

  // Lays what is not the caller's out in `arena`. bias_head: entries of one head's table.
  SharedGradients(Arena& arena, const Problem& problem, const GradientsWanted& wanted, int64_t bias_head);
  // Directs sums to the caller's tensors where they can be; sets all sums to 0.
  void start(const Problem& problem, const Gradients& gradients);
  // Rounds what was summed elsewhere into the caller's tensors.
  void finish(const Problem& problem, const Gradients& gradients, const KernelTable<T>& kernels);
};

}  // namespace nearfield::core
