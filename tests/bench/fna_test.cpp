// The verdicts of `bench --suite fna`, and one small case of it.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "bench_fna.h"
#include "bench_fna_floor.h"

namespace nearfield::cli {
namespace {

// A measurement: seconds of naive, and of all methods what is given.
FnaTimes measured(int rank, nf_dtype dtype, double gemm, double fused, double least) {
  FnaTimes times;
  times.bench_case.grid.assign(static_cast<size_t>(rank), 8);
  times.dtype = dtype;
  times.timings[kNaive].median = 1;
  times.timings[kGemm].median = gemm;
  times.timings[kFused].median = fused;
  times.least_seconds = {least, least, least};
  return times;
}

const FnaHeadline& find(const std::vector<FnaHeadline>& headlines, const std::string& name) {
  for (const FnaHeadline& headline : headlines)
    if (headline.name == name) return headline;
  throw std::runtime_error(name);
}

TEST(Fna, AHeadlineIsMetMissedOrBound) {
  const double peak = 1.0 / 100;  // a hundred times as fast would be possible
  std::vector<FnaTimes> times = {measured(1, NF_FLOAT32, 1.0 / 8, 1, peak), measured(1, NF_FLOAT32, 1.0 / 12, 1, peak),
                                 measured(2, NF_FLOAT32, 1.0 / 2, 1, peak),
                                 measured(1, NF_FLOAT16, 1, 1.0 / 6, 1.0 / 9), measured(3, NF_FLOAT32, 1, 1, peak)};
  times.push_back(measured(1, NF_FLOAT32, 1, 1, peak));
  times.back().failure = "does not count";
  const std::vector<FnaHeadline> headlines = fna_headlines(times);
  EXPECT_EQ(find(headlines, "float32 GEMM, 1-D").verdict, Verdict::met);
  EXPECT_DOUBLE_EQ(find(headlines, "float32 GEMM, 1-D").average, 10);
  EXPECT_EQ(find(headlines, "float32 GEMM, 1-D").cases, 2);
  EXPECT_DOUBLE_EQ(find(headlines, "float32 GEMM, 1-D").most, 100);
  EXPECT_DOUBLE_EQ(find(headlines, "float32 GEMM, 1-D").share, 0.1);  // of 8/100 and 12/100
  EXPECT_EQ(find(headlines, "float32 GEMM, 2-D").verdict, Verdict::missed);
  EXPECT_EQ(find(headlines, "half fused, 1-D").verdict, Verdict::bound);
  EXPECT_EQ(find(headlines, "half fused, 2-D").verdict, Verdict::unknown);
}

TEST(Fna, FailsWithAWrongOutputOrAMissedHeadline) {
  FnaReport report;
  report.times = {measured(1, NF_FLOAT32, 1.0 / 10, 1, 0.01)};
  EXPECT_TRUE(succeeded(report));
  report.times.push_back(measured(2, NF_FLOAT32, 1, 1, 0.01));
  EXPECT_FALSE(succeeded(report));
  report.times.back().timings[kGemm].median = 0.1;
  EXPECT_TRUE(succeeded(report));
  report.times.back().failure = "wrong";
  EXPECT_FALSE(succeeded(report));
}

TEST(Fna, LeastTimesAddUpTheMeasuredParts) {
  BenchCase bench_case;
  bench_case.grid = {6, 8};
  bench_case.head_dim = 16;
  bench_case.kernel_size = {3, 3};
  // 1 GFLOP/s; 48 queries of 9 keys, 4 * 16 flops each.
  FnaParts parts{.product_gflops = 1, .rows = 1e-6, .weights = 1e-6, .softmax = 5e-6, .exponentials = 4e-6};
  const double products = 48 * 9 * 64 * 1e-9;
  const auto near = [](double a, double b) { return std::fabs(a - b) < 1e-12; };
  EXPECT_TRUE(near(least_fused_seconds(parts, bench_case, false), products + 4e-6));
  EXPECT_TRUE(near(least_fused_seconds(parts, bench_case, true), 3.5 * products + 8e-6));
  EXPECT_TRUE(near(least_unfused_seconds(parts, bench_case, false, 1), products + 5e-6));
  EXPECT_TRUE(near(least_unfused_seconds(parts, bench_case, false, 3), 2 * products + 5e-6));
  EXPECT_TRUE(near(least_unfused_seconds(parts, bench_case, true, 1), 3.5 * products + 10e-6));
  parts.rows = 1e-3;  // memory is slower
  EXPECT_TRUE(near(least_fused_seconds(parts, bench_case, false), 1e-3));
  EXPECT_TRUE(near(least_fused_seconds(parts, bench_case, true), 2.75e-3));
  EXPECT_TRUE(near(least_unfused_seconds(parts, bench_case, false, 1), 1e-3 + 1e-6 + 5e-6));
  EXPECT_TRUE(near(least_unfused_seconds(parts, bench_case, true, 1), 2.75e-3 + 3e-6 + 10e-6));
}

TEST(Fna, CasesSpanWhatThePapersDo) {
  for (const bool full : {false, true}) {
    bool whole = false, dilated = false, causal = false;
    int ranks[4] = {};
    for (const BenchCase& each : fna_cases(full)) {
      ++ranks[each.grid.size()];
      whole = whole || each.kernel_size == each.grid;
      dilated = dilated || each.dilation[0] > 1;
      causal = causal || each.is_causal;
    }
    EXPECT_TRUE(whole && dilated && causal && ranks[1] > 1 && ranks[2] > 1 && ranks[3] > 1);
  }
}

TEST(Fna, MeasuresAndReportsACase) {
  BenchCase bench_case;
  bench_case.name = "9x8 k3";
  bench_case.grid = {9, 8};
  bench_case.head_dim = 8;
  bench_case.kernel_size = {3, 3};
  Options options;
  options.num_threads = 1;
  FnaReport report;
  for (const bool with_backward : {false, true}) {
    report.times.push_back(time_fna(bench_case, NF_FLOAT32, with_backward, options, {0, 1}));
    const FnaTimes& times = report.times.back();
    EXPECT_EQ(times.failure, "");
    for (const FnaMethod method : {kNaive, kGemm, kFused}) {
      EXPECT_GT(times.timings[method].median, 0);
      EXPECT_GT(times.least_seconds[method], 0);
      EXPECT_LT(times.errors[method], 1e-4);
    }
    EXPECT_GE(times.least_seconds[kGemm], times.least_seconds[kNaive]);  // of the same parts; it may pad
  }
  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["times"].size(), 2u);
  EXPECT_EQ(json["times"][0]["gemm"]["repetitions"], 1);
  EXPECT_EQ(json["headlines"].size(), 6u);
  const std::string svg = fna_svg(report);
  EXPECT_NE(svg.find("9x8 k3"), std::string::npos);
  EXPECT_NE(svg.find("</svg>"), std::string::npos);
}

}  // namespace
}  // namespace nearfield::cli
