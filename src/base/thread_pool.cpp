#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cfenv>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>

#include "base/error.h"

namespace nearfield::core {
namespace {

using Clock = std::chrono::steady_clock;

// How long a thread that waits looks again and again before it sleeps: longer than the serial code between two loops
// of one call, and than the few microseconds that waking a sleeper costs; too short to matter when idle.
constexpr auto kSpin = std::chrono::microseconds(40);

thread_local bool inside_body = false;

class InsideBody {
 public:
  InsideBody() { inside_body = true; }
  ~InsideBody() { inside_body = before_; }
  InsideBody(const InsideBody&) = delete;
  InsideBody& operator=(const InsideBody&) = delete;

 private:
  const bool before_ = inside_body;
};

// One parallel_for, on its caller's stack.
struct Job {
  void (*const body)(void*, int64_t);
  void* const context;
  const int64_t count;
  std::fenv_t environment{};
  uint32_t generation = 0;        // of the pool, when it began
  std::atomic<int64_t> next = 0;  // index to be taken
  std::atomic<bool> failed = false;
  std::exception_ptr error{};  // written by the one that set `failed`

  // Changed under the pool's mutex only.
  int32_t wanted = 0;               // helpers that may still join
  std::atomic<int32_t> active = 0;  // helpers that have joined and not left; the caller looks without the mutex
  Job* later = nullptr;

  bool exhausted() const { return next.load(std::memory_order_relaxed) >= count; }
  void keep_exception() {
    if (!failed.exchange(true)) error = std::current_exception();
    next.store(count, std::memory_order_relaxed);  // abandon the rest
  }
};

// All of it is constant-initialised and trivially destroyed: usable from any static constructor or destructor.
struct Pool {
  std::mutex mutex;
  pthread_cond_t work = PTHREAD_COND_INITIALIZER;  // workers sleep here
  pthread_cond_t done = PTHREAD_COND_INITIALIZER;  // callers wait here for their last helper
  Job* jobs = nullptr;                             // oldest first
  int32_t workers = 0;
  int32_t seekers = 0;   // workers that are awake and look for a job
  int32_t sleepers = 0;  // workers in `work`
  int32_t waiting_callers = 0;
  std::atomic<int32_t> open_slots = 0;  // sum of `wanted`; changed under the mutex, looked at without
  std::atomic<bool> closed = false;
  std::atomic<uint32_t> generation = 0;  // one more in each forked child
  pthread_t threads[kMaxThreads - 1] = {};
};
constinit Pool pool;

template <class Condition>
void spin_until(Condition&& condition) {
  for (const auto end = Clock::now() + kSpin; !condition() && Clock::now() < end;) sched_yield();
}

// ---- the worker's side -----------------------------------------------------------------------------------------

void work_on(Job& job, bool as_helper) {
  const InsideBody inside;
  try {
    // A helper whose pool ends, or who finds itself in a forked child, leaves the rest to the caller.
    while (!as_helper || (!pool.closed.load(std::memory_order_relaxed) && job.generation == pool.generation.load())) {
      const int64_t index = job.next.fetch_add(1, std::memory_order_relaxed);
      if (index >= job.count) return;
      job.body(job.context, index);
    }
  } catch (...) {
    job.keep_exception();
  }
}

// Under the mutex: a place in the oldest job that has one, or nullptr.
Job* join_job() {
  for (Job* job = pool.jobs; job != nullptr; job = job->later) {
    if (job->wanted == 0) continue;
    const int32_t taken = job->exhausted() ? job->wanted : 1;
    job->wanted -= taken;
    pool.open_slots.fetch_sub(taken, std::memory_order_relaxed);
    if (job->exhausted()) continue;
    job->active.fetch_add(1, std::memory_order_relaxed);
    return job;
  }
  return nullptr;
}

// Under the mutex. The job may be gone as soon as `active` is 0.
void leave_job(Job& job) {
  if (job.active.fetch_sub(1, std::memory_order_release) == 1 && pool.waiting_callers > 0)
    pthread_cond_broadcast(&pool.done);
}

bool something_to_do() { return pool.open_slots.load(std::memory_order_relaxed) > 0 || pool.closed.load(); }

void* worker_main(void*) {
  std::unique_lock lock(pool.mutex);  // and counted as a seeker
  while (!pool.closed.load()) {
    if (Job* job = join_job()) {
      --pool.seekers;
      lock.unlock();
      std::fesetenv(&job->environment);
      work_on(*job, true);
      // The body has forked, and this is the child's only thread: there is nobody to work for.
      if (job->generation != pool.generation.load()) return nullptr;
      lock.lock();
      leave_job(*job);
      ++pool.seekers;
      continue;
    }
    lock.unlock();
    spin_until(something_to_do);
    lock.lock();
    if (something_to_do()) continue;
    --pool.seekers;
    ++pool.sleepers;
    pthread_cond_wait(&pool.work, pool.mutex.native_handle());
    --pool.sleepers;
    ++pool.seekers;
  }
  --pool.seekers;
  return nullptr;
}

// ---- the caller's side -----------------------------------------------------------------------------------------

// Under the mutex: up to `wanted` workers, fewer if the system has no more threads to give.
void start_workers(int32_t wanted) {
  if (pool.workers >= wanted) return;
  // Signals are for the application's own threads; those that a thread brings on itself stay.
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGPROF}) sigdelset(&blocked, own);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  while (pool.workers < wanted && pthread_create(&pool.threads[pool.workers], nullptr, worker_main, nullptr) == 0) {
    ++pool.workers;
    ++pool.seekers;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void offer(Job& job, int32_t helpers) {
  int32_t to_wake = 0;
  {
    const std::lock_guard lock(pool.mutex);
    if (pool.closed.load()) return;
    start_workers(helpers);
    job.wanted = helpers;
    Job** end = &pool.jobs;
    while (*end != nullptr) end = &(*end)->later;
    *end = &job;
    pool.open_slots.fetch_add(helpers, std::memory_order_relaxed);
    to_wake = std::min(pool.sleepers, std::max(helpers - pool.seekers, 0));
  }
  for (; to_wake > 0; --to_wake) pthread_cond_signal(&pool.work);
}

void withdraw(Job& job) {
  {
    const std::lock_guard lock(pool.mutex);
    Job** link = &pool.jobs;
    while (*link != nullptr && *link != &job) link = &(*link)->later;
    if (*link != nullptr) *link = job.later;
    pool.open_slots.fetch_sub(job.wanted, std::memory_order_relaxed);
  }
  const auto is_done = [&] { return job.active.load(std::memory_order_acquire) == 0; };
  spin_until(is_done);
  if (is_done()) return;
  const std::lock_guard lock(pool.mutex);
  ++pool.waiting_callers;
  while (!is_done()) pthread_cond_wait(&pool.done, pool.mutex.native_handle());
  --pool.waiting_callers;
}

void run_on_pool(int32_t threads, int64_t count, void (*body)(void*, int64_t), void* context) {
  Job job{.body = body, .context = context, .count = count};
  std::fegetenv(&job.environment);
  job.generation = pool.generation.load();
  offer(job, threads - 1);
  work_on(job, false);
  if (job.generation == pool.generation.load()) {
    withdraw(job);
  } else if (job.active.load() > 0) {
    throw Error(Status::internal_error, "fork() in the midst of a parallel loop: the child lacks the other threads");
  }
  if (job.error) std::rethrow_exception(job.error);
}

void run_inline(int64_t count, void (*body)(void*, int64_t), void* context) {
  const InsideBody inside;
  for (int64_t i = 0; i < count; ++i) body(context, i);
}

// Exceptions must not unwind through the foreign function: it may be C, and its other threads are still at work.
void run_on_foreign(const Threading& threading, int64_t count, void (*body)(void*, int64_t), void* context) {
  struct Shared {
    Job job;
    std::atomic<int64_t> finished = 0;
  } shared{.job = {.body = body, .context = context, .count = count}};
  threading.function(
      threading.context, count,
      [](void* opaque, int64_t index) {
        Shared& s = *static_cast<Shared*>(opaque);
        const InsideBody inside;
        try {
          if (!s.job.failed.load(std::memory_order_relaxed)) s.job.body(s.job.context, index);
        } catch (...) {
          s.job.keep_exception();
        }
        s.finished.fetch_add(1, std::memory_order_acq_rel);
      },
      &shared);
  if (shared.finished.load() != count)
    throw Error(Status::internal_error,
                concat("parallel_for: ran ", shared.finished.load(), " of ", count, " indices"));
  if (shared.job.error) std::rethrow_exception(shared.job.error);
}

// ---- fork and exit ---------------------------------------------------------------------------------------------

// Registered for as long as the library is loaded. Its destruction ends the workers, at exit or dlclose; loops that
// come later run on their callers alone.
class Lifetime {
 public:
  Lifetime() { pthread_atfork(before_fork, after_fork, in_child); }
  ~Lifetime() {
    {
      const std::lock_guard lock(pool.mutex);
      pool.closed.store(true);
    }
    pthread_cond_broadcast(&pool.work);
    for (int32_t i = 0; i < pool.workers; ++i) {
      // exit() may have been called by a body.
      if (pthread_equal(pool.threads[i], pthread_self())) {
        pthread_detach(pool.threads[i]);
      } else {
        pthread_join(pool.threads[i], nullptr);
      }
    }
    pool.workers = 0;
  }

 private:
  // Holding the mutex over fork() keeps another thread from being inside when the child's copy is made.
  static void before_fork() { pool.mutex.lock(); }
  static void after_fork() { pool.mutex.unlock(); }
  static void in_child() {
    pool.work = PTHREAD_COND_INITIALIZER;
    pool.done = PTHREAD_COND_INITIALIZER;
    pool.jobs = nullptr;
    pool.workers = pool.seekers = pool.sleepers = pool.waiting_callers = 0;
    pool.open_slots.store(0);
    pool.generation.fetch_add(1);
    pool.mutex.unlock();
  }
};
const Lifetime lifetime;

int32_t allowed_cores() {
  for (int cores = 1024; cores <= (1 << 20); cores *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(cores));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cores));
    const int failed = sched_getaffinity(0, bytes, set);
    const bool too_small = failed != 0 && errno == EINVAL;
    const int count = failed == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
    if (!too_small) break;
  }
  return 1;
}

}  // namespace

int32_t default_num_threads() {
  const char* text = std::getenv("NEARFIELD_NUM_THREADS");
  if (text == nullptr || *text == '\0') return allowed_cores();
  int32_t value = 0;
  const char* end = text + std::strlen(text);
  const auto [parsed, error] = std::from_chars(text, end, value);
  if (error != std::errc() || parsed != end || value < 1)
    invalid_argument("NEARFIELD_NUM_THREADS=", text, ": must be a positive integer");
  return value;
}

void parallel_for_raw(const Threading& threading, int64_t count, void (*body)(void*, int64_t), void* body_context) {
  if (count <= 0) return;
  if (inside_body) return run_inline(count, body, body_context);
  if (threading.function != nullptr) return run_on_foreign(threading, count, body, body_context);
  const int64_t threads = std::min<int64_t>({count, threading.num_threads, kMaxThreads});
  if (threads <= 1) return run_inline(count, body, body_context);
  run_on_pool(static_cast<int32_t>(threads), count, body, body_context);
}

}  // namespace nearfield::core
