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

// NEARFIELD_NUM_THREADS if it is a positive integer, else the cores that this process may use (its affinity mask).
int32_t default_num_threads();

// Runs body on min(count, threading.num_threads) threads, the caller's among them. Safe under nested calls (an inner
// call runs on the calling thread alone), concurrent callers, and in the child after fork(). An exception thrown by
// body is rethrown here once all other indices have run or been abandoned.
void parallel_for_raw(const Threading& threading, int64_t count, void (*body)(void*, int64_t), void* body_context);

template <class Body>
void parallel_for(const Threading& threading, int64_t count, Body&& body) {
  parallel_for_raw(
      threading, count,
      [](void* context, int64_t index) { (*static_cast<std::remove_reference_t<Body>*>(context))(index); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace nearfield::core
