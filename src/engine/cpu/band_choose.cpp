// Whether the band kernel can run a problem, on strips of which length, and how long it should take.
#include <algorithm>
#include <cstdint>
#include <variant>

#include "engine/cpu/band_gradient_workspace.h"
#include "engine/cpu/driver.h"
#include "engine/cpu/rates.h"
#include "plan/cache.h"
#include "plan/tiling.h"

namespace nearfield::core {
namespace {

// A slot's memory: the ring should stay in the L2 cache, the scores of one run of queries in L1.
constexpr int64_t kMostRingBytes = 640 * 1024;
constexpr int64_t kMostScoreBytes = 64 * 1024;
constexpr size_t kMostSlotBytes = size_t{1} << 20;
// 1-D windows have no line to walk to: a longer strip shares more of what it packs.
constexpr int64_t kStrip1d = 64;

int64_t keys_on_axis(const Pattern& pattern, int axis) {
  return std::visit([](const auto& rule) { return rule.keys; }, pattern.axes[axis]);
}

// Strips of about equal length, so that the last one of a class is not a remnant.
int64_t strip_length(const Problem& problem, int64_t lanes) {
  const int last = problem.pattern.rank - 1;
  const int64_t length = std::max<int64_t>(1, longest_class(problem.pattern, last));
  const int64_t longest = last == 0 ? std::max(kStrip1d, lanes) : lanes;
  const int64_t strips = ceil_div(length, longest);
  return last == 0 ? std::min(length, longest) : ceil_div(length, strips);
}

// Sums over everything that the kernel does for one (batch, head).
struct BandWork {
  double lines = 1;  // (query line, key line) pairs
  double query_lines = 1;
  double last_pairs = 0, last_padded = 0;  // on the last axis
  double packed = 0;                       // positions of a line, over all strips
  int64_t runs = 0;

  BandWork(const Plan& plan, int64_t lanes) {
    const int last = plan.rank() - 1;
    for (int a = 0; a <= last; ++a) {
      double length = 0, near = 0;
      const PlanAxis& axis = plan.axis(a);
      for (int kind = 0; kind < 2; ++kind) {
        const auto classes = static_cast<double>(kind == 0 ? axis.long_classes : axis.classes - axis.long_classes);
        const AxisTable& table = axis.tables[kind];
        if (classes == 0) continue;
        for (const Interval& interval : table.intervals) {
          length += classes * static_cast<double>(interval.length);
          if (a == last) last_padded += classes * static_cast<double>(round_up(interval.length, lanes));
        }
        near += classes * static_cast<double>(table.near);
        if (a == last) add_strips(table, classes, lanes);
      }
      if (a < last) {
        lines *= length;
        query_lines *= near;
      } else {
        last_pairs = length;
      }
    }
  }

 private:
  void add_strips(const AxisTable& table, double classes, int64_t lanes) {
    for (const AxisTile& tile : table.tiles) {
      const Interval& first = table.intervals[static_cast<size_t>(tile.begin)];
      const Interval& end = table.intervals[static_cast<size_t>(tile.begin + tile.size - 1)];
      packed += classes * static_cast<double>(end.end() - first.start);
      runs += static_cast<int64_t>(classes) * ceil_div(tile.size, lanes);
    }
  }
};

template <class T>
bool fits(const Problem& problem, CpuChoice& choice, CpuPart& part) {
  const KernelTable<T>& kernels = kernels_of<T>(choice.isa);
  const BandExtent extent(problem.pattern, part, kernels.lanes, static_cast<int64_t>(sizeof(T)));
  Arena arena(nullptr);
  const BandWorkspace<T> ws(arena, problem, kernels, extent, choice.wanted);
  constexpr auto kSize = static_cast<int64_t>(sizeof(T));
  if ((extent.slots() * ws.slot.size + ws.additional_size) * kSize > kMostRingBytes) return false;
  if (ws.row * kernels.lanes * kSize > kMostScoreBytes) return false;
  if (choice.wanted.any()) BandGradientWorkspace<T>(arena, problem, kernels, extent, ws, choice.wanted, part);
  if (arena.used() > kMostSlotBytes) return false;
  choice.workspace_per_slot = std::max(choice.workspace_per_slot, arena.used());
  part.heads_together = ws.heads;
  return true;
}

template <class T>
bool choose(const Problem& problem, CpuChoice& choice) {
  const KernelTable<T>& kernels = kernels_of<T>(choice.isa);
  const CpuRates& rates = cpu_rates(choice.isa);
  TileShape shape;
  const int last = problem.pattern.rank - 1;
  shape.near[last] = strip_length(problem, kernels.lanes);
  for (int a = 0; a <= last; ++a) shape.far[a] = std::max<int64_t>(1, keys_on_axis(problem.pattern, a));
  const auto plan = cached_plan(problem.pattern, shape);
  choice.parts = {{.kernel = CpuKernel::band, .plan = plan}};
  choice.tile = shape;
  if (!band_fits(problem, choice, choice.parts[0])) return false;

  const BandExtent extent(problem.pattern, choice.parts[0], kernels.lanes, static_cast<int64_t>(sizeof(T)));
  const BandWork work(*plan, kernels.lanes);
  const double vectors = static_cast<double>(ceil_div(problem.shape.head_dim, kernels.lanes) +
                                             ceil_div(problem.shape.head_dim_v, kernels.lanes));
  const double useful = work.lines * work.last_pairs, padded = work.lines * work.last_padded;
  // Walking to the next query line brings in one key line for each combination of the other outer axes.
  double fresh = work.query_lines;
  fresh *= static_cast<double>(extent.ring[0]);
  const double seconds = rates.multiply_add * (useful * (vectors * rates.band_product + 1) +
                                               padded * rates.band_softmax * (sizeof(T) / 4.0) +
                                               fresh * work.packed * vectors * rates.pack_vector);
  choice.predicted_seconds = seconds;
  const int64_t pairs = plan->statistics().useful_pairs;
  choice.executed = {};
  choice.executed.tiles = static_cast<int64_t>(work.query_lines) * work.runs;
  choice.executed.full_steps = static_cast<int64_t>(work.lines) * work.runs;  // exact: nothing is masked
  choice.executed.useful_pairs = choice.executed.executed_pairs = pairs;
  return true;
}

}  // namespace

bool band_fits(const Problem& problem, CpuChoice& choice, CpuPart& part) {
  return problem.query.dtype == DType::float64 ? fits<double>(problem, choice, part)
                                               : fits<float>(problem, choice, part);
}

bool band_choose(const Problem& problem, CpuChoice& choice) {
  return problem.query.dtype == DType::float64 ? choose<double>(problem, choice) : choose<float>(problem, choice);
}

}  // namespace nearfield::core
