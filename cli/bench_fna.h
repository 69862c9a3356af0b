// `nearfield bench --suite fna`: the experiment of "Faster Neighborhood Attention" (Hassani et al., 2024) on this CPU.
// Unfused attention as products of tiles (engine gemm), and fused attention (engine cpu), over unfused attention one
// query at a time (engine naive), on the same problems in turn, forward and forward with backward, in full and half
// precision; and the averages beside the paper's, which are of GPUs.
//
// A headline is met, missed, or bound: bound if the average would be below the paper's even with each method taking no
// longer than its parts do, measured one by one (bench_fna_floor.h), because the naive engine is too good for that.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "bench_problem.h"
#include "bench_report.h"
#include "bench_time.h"

namespace nearfield::cli {

// Timed alternately, in this order.
enum FnaMethod { kNaive, kGemm, kFused, kFnaMethods };
inline constexpr nf_engine kFnaEngines[] = {NF_ENGINE_NAIVE, NF_ENGINE_GEMM, NF_ENGINE_CPU};
inline constexpr const char* kFnaNames[] = {"naive", "gemm", "fused"};

// 1-D to 3-D; windows of 3 to the whole axis, dilated and causal ones; head_dim 32 to 128. full: several sizes of each.
std::vector<BenchCase> fna_cases(bool full);

struct FnaTimes {
  BenchCase bench_case;
  nf_dtype dtype = NF_FLOAT32;
  bool with_backward = false;
  std::string failure;  // not empty: there are no times
  std::array<Timing, kFnaMethods> timings;
  std::array<double, kFnaMethods> errors{};  // largest: of out; with backward also of a gradient, relative
  // What each method would take at least: bench_fna_floor.h.
  std::array<double, kFnaMethods> least_seconds{};
  double product_gflops = 0;  // of a thread's dense products of this head_dim
  double weights_bytes = 0;   // of the unfused methods' explicit weights

  int rank() const { return static_cast<int>(bench_case.grid.size()); }
  // Over naive: above 1 the method is faster.
  double speedup(FnaMethod method) const { return timings[kNaive].median / timings[method].median; }
  double most(FnaMethod method) const { return timings[kNaive].median / least_seconds[method]; }
};
// Checks all outputs, then times them.
FnaTimes time_fna(const BenchCase& bench_case, nf_dtype dtype, bool with_backward, const Options& options,
                  const TimingBudget& budget);

enum class Verdict { met, missed, bound, unknown };
const char* name_of(Verdict verdict);

// One of the paper's averages.
struct FnaHeadline {
  const char* name;  // "float32 GEMM, 1-D"
  bool half = false;
  FnaMethod method = kGemm;
  int rank = 1;
  double paper = 0;  // over naive: +895% is 9.95
  // Of the cases measured:
  int cases = 0;
  double average = 0, most = 0;        // of speedup() and most()
  double share = 0;                    // of least_seconds in the time taken, on the average
  Verdict verdict = Verdict::unknown;  // without cases
};
std::vector<FnaHeadline> fna_headlines(const std::vector<FnaTimes>& times);

struct FnaReport {
  BenchMachine machine;
  int32_t threads = 1;
  std::vector<FnaTimes> times;
};
// Every output right, and no headline missed.
bool succeeded(const FnaReport& report);

void print_fna_head(const FnaReport& report, SuiteFormat format);
void print_fna_times(const FnaTimes& times, SuiteFormat format);
void print_fna_headlines(const FnaReport& report, SuiteFormat format);
std::string to_json(const FnaReport& report);
// A bar for each case and method, forward, over the paper's averages.
std::string fna_svg(const FnaReport& report);

}  // namespace nearfield::cli
