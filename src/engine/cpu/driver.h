// What the drivers of both kernels share: views of one head, scratch memory, the queue of work.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/cpu/cpu.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/placement.h"
#include "engine/problem.h"
#include "plan/cost_model.h"
#include "plan/plan.h"

namespace nearfield::core {

inline constexpr size_t kCacheLine = 64;
// Kernels want logits in units of log2; gradients are natural again.
inline constexpr double kLog2e = 1.44269504088896340736;
inline constexpr double kLn2 = 0.69314718055994530942;

constexpr int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// One (batch, head) of a grid tensor (batch, *grid, heads, channels).
struct HeadView {
  std::byte* data = nullptr;
  DType dtype = DType::float32;
  int64_t channels = 0;
  Placement placement;

  HeadView(const TensorView& tensor, const Pattern& pattern, int64_t batch, int64_t head)
      : data(tensor.at(batch * tensor.strides[0] + head * tensor.strides[pattern.grid_rank() + 1])),
        dtype(tensor.dtype),
        channels(tensor.sizes[pattern.grid_rank() + 2]),
        placement(pattern, tensor.strides + 1) {}
  std::byte* at(int64_t element) const { return data + element * size_of(dtype); }
};

// Hands out pieces of one buffer, each on its own cache line. With no memory behind it, it only adds up.
class Arena {
 public:
  explicit Arena(void* memory) : memory_(static_cast<std::byte*>(memory)) {}
  template <class T>
  T* take(int64_t count) {
    std::byte* piece = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (static_cast<size_t>(count) * sizeof(T) + kCacheLine - 1) / kCacheLine * kCacheLine;
    return reinterpret_cast<T*>(piece);
  }
  size_t used() const { return used_; }

 private:
  std::byte* memory_;
  size_t used_ = 0;
};

// Indices [0, count), one at a time, for whoever asks next.
class TaskQueue {
 public:
  explicit TaskQueue(int64_t count) : count_(count) {}
  bool next(int64_t& task) {
    task = next_.fetch_add(1, std::memory_order_relaxed);
    return task < count_;
  }

 private:
  std::atomic<int64_t> next_{0};
  int64_t count_;
};

// Cuts costs[0..n) into about `pieces` runs of about equal cost: the begins of the runs, then n.
std::vector<int64_t> cut_by_cost(const std::vector<double>& costs, int64_t pieces);

// Tasks that one thread should find: enough for a late thread to leave little undone.
inline constexpr int64_t kTasksPerThread = 8;

template <class T>
const KernelTable<T>& kernels_of(Isa isa);

// Whether the tile kernel may read the tensor's rows where they lie: of its own type, and aligned to it.
inline bool in_place(const TensorView& tensor) {
  const auto size = static_cast<uintptr_t>(size_of(tensor.dtype));
  return (tensor.dtype == DType::float32 || tensor.dtype == DType::float64) &&
         reinterpret_cast<uintptr_t>(tensor.data) % size == 0;
}

template <class T>
struct SharedModifiers;
template <class T>
struct SharedGradients;

// The two kernels' drivers. `choose` fills a CpuChoice's part, statistics, workspace of a slot and predicted seconds
// for one (batch, head) on one thread; it returns false where the kernel can't run the problem (the tile kernel always
// can). `forward` runs a part with choice.workspace_per_slot bytes for each slot at `slots`.
void tile_choose(const Problem& problem, CpuChoice& choice);
// What the tile kernel's pieces take with the problem's channels and dtype.
MachineRates tile_rates(const Problem& problem, Isa isa);
bool band_choose(const Problem& problem, CpuChoice& choice);
// Whether the band kernel has room for a part; then its heads_together is set, and a slot's workspace large enough.
bool band_fits(const Problem& problem, CpuChoice& choice, CpuPart& part);
// Where keys are arcs of circles of latitude: both kernels, each where it is the faster one. `choice` comes from
// tile_choose. Returns how many latitudes are the band kernel's; if none, choice stays what it is.
int64_t share_latitudes(const Problem& problem, CpuKernel wanted, CpuChoice& choice);
// A backward's time in forwards, measured: the work is 2.5 times as much.
inline constexpr double kBandBackward = 3.0, kTileBackward = 2.6;
template <class T>
void tile_forward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, const CpuPart& part,
                  const SharedModifiers<T>& modifiers, std::byte* slots);
template <class T>
void band_forward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, const CpuPart& part,
                  const SharedModifiers<T>& modifiers, std::byte* slots);
// The same for choices with gradients wanted.
template <class T>
void tile_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                   const CpuChoice& choice, const CpuPart& part, const SharedModifiers<T>& modifiers,
                   SharedGradients<T>& sums, std::byte* slots);
template <class T>
void band_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                   const CpuChoice& choice, const CpuPart& part, const SharedModifiers<T>& modifiers,
                   SharedGradients<T>& sums, std::byte* slots);

}  // namespace nearfield::core
