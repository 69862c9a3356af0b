// `nearfield bench --suite gna`: the use cases of Hassani et al., "Generalized Neighborhood Attention" (2025). What the
// simulator says a window and stride can gain over dense attention with the tiles that the engine takes, beside what it
// does gain; and the share of the bound that is realised. One head.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "bench_problem.h"
#include "bench_report.h"
#include "bench_time.h"
#include "simulation.h"

namespace nearfield::cli {

struct GnaUse {
  std::string name;
  Axes grid, window;
  // 1; about half of the last; and one with which no tile needs a mask, of the sizes below.
  std::vector<Axes> strides;
  TileSizes block_sparse_tiles;  // perfectly block-sparse at the last stride
};
inline constexpr int64_t kGnaHeadDim = 128;
// Unless full all lengths are halved, strides too, if they are not 1.
std::vector<GnaUse> gna_uses(bool full);

struct GnaTimes {
  Axes stride;
  nf_explanation explanation{};
  Simulated simulated;  // with the engine's tiles
  Timing timing;
  CheckReport check;
  double dense_seconds = 0;

  // The simulator's, unless tiles at the grid's end lack queries: those lanes take their time, too.
  double bound() const {
    return std::min(simulated.simulation.steps.mean_bound,
                    simulated.simulation.ideal_bound * explanation.useful_pairs / explanation.executed_pairs);
  }
  double speedup() const { return dense_seconds / timing.median; }
  double realised() const { return speedup() / bound(); }
  double goal() const;  // share of the bound
};

struct GnaResult {
  GnaUse use;
  std::string failure;                      // not empty: there are no times
  Timing dense;                             // of the same grid, a window as large as it
  double dense_flops = 0, peak_gflops = 0;  // peak: of all threads
  std::vector<GnaTimes> times;              // a stride each

  double dense_roofline_fraction() const { return dense_flops / dense.median * 1e-9 / peak_gflops; }
};
// Of uses of one grid: checks every output, then times all windows and strides and dense attention in turn.
// peak_gflops: of one thread.
std::vector<GnaResult> time_gna(const std::vector<GnaUse>& uses, nf_dtype dtype, const Options& options,
                                const TimingBudget& budget, double peak_gflops);
// Uses of the same grid, in their order.
std::vector<std::vector<GnaUse>> by_grid(const std::vector<GnaUse>& uses);

// Shares of the bound that are wanted: where no step needs a mask, and elsewhere.
inline constexpr double kGnaBlockSparseGoal = 0.9, kGnaGoal = 0.8;

struct GnaReport {
  BenchMachine machine;
  nf_dtype dtype = NF_FLOAT32;
  int32_t threads = 1;
  bool full = false;
  std::vector<GnaResult> results;
};

void print_gna_head(const GnaReport& report, SuiteFormat format);
void print_gna(const GnaResult& result, SuiteFormat format);
// Whether the goals are met, in one line.
void print_gna_goal(const std::vector<GnaResult>& results);
std::string to_json(const GnaReport& report);

}  // namespace nearfield::cli
