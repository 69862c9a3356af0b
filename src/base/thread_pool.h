// Threads: the library's own persistent pool, or the caller's parallel_for.
#pragma once

#include <cstdint>
#include <type_traits>

namespace nearfield::core {

// Runs body(body_context, i) once for every i in [0, count), on any threads, and returns when all are done. The same
// type as nf_parallel_for.
using ParallelForFunction = void (*)(void* context, int64_t count, void (*body)(void*, int64_t), void* body_context);

// How a call may use threads; a POD that travels with the problem.
struct Threading {
  int32_t num_threads = 1;                 // >= 1; already resolved from the options and the environment
  ParallelForFunction function = nullptr;  // nullptr: the library's pool
  void* context = nullptr;
};

// More threads than this are never run, whatever is asked for.
inline constexpr int32_t kMaxThreads = 1024;

// NEARFIELD_NUM_THREADS if it is set and not empty (an Error unless it is a positive integer), else the cores that this
// process may use (its affinity mask).
int32_t default_num_threads();

// Runs body on at most min(count, threading.num_threads) threads, the caller's among them; which thread runs an index
// is decided as they go. Safe under nested calls (an inner call runs on the calling thread alone), concurrent callers
// (each works through its own indices, helped by the workers that are free), and in the child after fork(), whose pool
// starts anew. An exception thrown by body is rethrown here once all other indices have run or been abandoned.
// Workers compute in the caller's floating-point environment (rounding, flushing of subnormals), so that results do
// not depend on who computed them. With threading.function that is up to the function.
// If body itself forks, the child runs what is left of the indices on its one thread, or, if another thread was in the
// middle of one, gets an Error.
void parallel_for_raw(const Threading& threading, int64_t count, void (*body)(void*, int64_t), void* body_context);

template <class Body>
void parallel_for(const Threading& threading, int64_t count, Body&& body) {
  parallel_for_raw(
      threading, count,
      [](void* context, int64_t index) { (*static_cast<std::remove_reference_t<Body>*>(context))(index); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace nearfield::core
