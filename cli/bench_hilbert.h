// `nearfield bench --suite hilbert`: the measurements of "Hilbert-Guided Block-Sparse Local Attention" on this machine.
// How many blocks of 128 x 128 tokens a block-sparse kernel may skip, row-major and along the Hilbert curve; and how
// long window, slide and neighborhood attention take in both layouts with that kernel, and with the fused engine, whose
// tiles have as many axes as the grid.
//
// A pattern of "width k" is, on the grid, windows of k x k, and along the curve of k^2 tokens: as many keys a query
// (but at borders, and one more for a slide of even width), not the same ones.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench_problem.h"
#include "bench_report.h"
#include "bench_time.h"
#include "pattern_arguments.h"

namespace nearfield::cli {

enum class LocalKind { window, slide, neighborhood };
inline constexpr LocalKind kLocalKinds[] = {LocalKind::window, LocalKind::slide, LocalKind::neighborhood};
std::string_view name_of(LocalKind kind);

AnyPattern pattern_on_grid(LocalKind kind, int64_t width);
AnyPattern pattern_on_curve(LocalKind kind, int64_t width);

struct HilbertSize {
  int64_t side = 0, width = 0;  // of a square grid, and of the pattern
};

// ---- empty blocks ----

inline constexpr int64_t kPaperBlock = 128;

struct EmptyBlocks {
  HilbertSize size;
  nf_block_counts row_major[3] = {}, hilbert[3] = {};  // by LocalKind
};
double empty_ratio(const nf_block_counts& counts);
EmptyBlocks count_empty_blocks(const HilbertSize& size);
std::vector<HilbertSize> counted_sizes();

// ---- times ----

// Timed alternately, in this order.
enum Contender { kSparseRowMajor, kSparseHilbert, kFusedGrid, kFusedHilbert, kContenders };

struct HilbertTimes {
  LocalKind kind = LocalKind::window;
  HilbertSize size;
  std::string failure;  // not empty: there are no times
  std::array<Timing, kContenders> timings;
  std::array<nf_explanation, kContenders> explanations{};
  std::array<CheckReport, kContenders> checks;
  std::array<double, kContenders> useful_flops{};
  double peak_gflops = 0;  // of all threads

  double seconds(Contender which) const { return timings[which].median; }
  double roofline_fraction(Contender which) const { return useful_flops[which] / seconds(which) * 1e-9 / peak_gflops; }
  double gain_of_blocks() const { return seconds(kSparseRowMajor) / seconds(kSparseHilbert); }
  double gain_of_tiles() const { return seconds(kSparseRowMajor) / seconds(kFusedGrid); }
  double gain_of_curve() const { return seconds(kFusedGrid) / seconds(kFusedHilbert); }
};

inline constexpr int64_t kHilbertHeads = 1, kHilbertHeadDim = 64;
std::vector<HilbertSize> timed_sizes(bool full);
// peak_gflops: of one thread.
HilbertTimes time_hilbert(LocalKind kind, const HilbertSize& size, nf_dtype dtype, const Options& options,
                          const TimingBudget& budget, double peak_gflops);

// At 96 x 96, k = 16, Hilbert window attention is to be at least this many times as fast as row-major, both
// block-sparse.
inline constexpr double kHilbertGoal = 4;
inline constexpr HilbertSize kGoalSize = {96, 16};

// ---- reports ----

struct HilbertReport {
  BenchMachine machine;
  nf_dtype dtype = NF_FLOAT32;
  int32_t threads = 1;
  std::vector<EmptyBlocks> blocks;
  std::vector<HilbertTimes> times;
};

// The table is printed as its rows are found; the others as a whole.
void print_blocks_head(SuiteFormat format);
void print_blocks(const EmptyBlocks& blocks, SuiteFormat format);
void print_times_head(const HilbertReport& report, SuiteFormat format);
void print_times(const HilbertTimes& times, SuiteFormat format);
// Whether the goal is met, in one line; nothing if it was not measured.
void print_goal(const std::vector<HilbertTimes>& times);
std::string to_json(const HilbertReport& report);

}  // namespace nearfield::cli
