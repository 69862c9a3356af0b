// The Hilbert suite: its counts are those of the paper, its rows are checked before they are timed, and its reports
// hold what docs/hilbert.md says. No test looks at a time.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "bench_hilbert.h"

namespace nearfield::cli {
namespace {

constexpr size_t kWindow = static_cast<size_t>(LocalKind::window);

EmptyBlocks counted(int64_t side, int64_t width) { return count_empty_blocks({side, width}); }

TEST(HilbertSuite, CountsThePapersRatios) {
  const EmptyBlocks small = counted(64, 8), large = counted(96, 16);
  EXPECT_DOUBLE_EQ(empty_ratio(small.row_major[kWindow]), 0.875);
  EXPECT_DOUBLE_EQ(empty_ratio(small.hilbert[kWindow]), 0.96875);
  EXPECT_DOUBLE_EQ(empty_ratio(large.row_major[kWindow]), 10.0 / 12);
  EXPECT_DOUBLE_EQ(empty_ratio(large.hilbert[kWindow]), 35.0 / 36);
}

// Along the curve no pattern needs more blocks than row-major, and each query has its k^2 keys.
TEST(HilbertSuite, TheCurveNeverNeedsMoreBlocks) {
  for (const HilbertSize& size : counted_sizes()) {
    if (size.side > 128) continue;
    const EmptyBlocks blocks = count_empty_blocks(size);
    for (size_t kind = 0; kind < 3; ++kind) {
      EXPECT_GE(empty_ratio(blocks.hilbert[kind]), empty_ratio(blocks.row_major[kind])) << size.side << " " << kind;
      EXPECT_EQ(blocks.hilbert[kind].blocks, blocks.row_major[kind].blocks);
    }
    const int64_t tokens = size.side * size.side, keys = size.width * size.width;
    EXPECT_EQ(blocks.row_major[2].pairs, tokens * keys);
    EXPECT_EQ(blocks.hilbert[2].pairs, tokens * keys);
  }
}

HilbertReport small_report() {
  HilbertReport report;
  Options options;
  options.num_threads = 1;
  report.blocks = {counted(64, 8)};
  for (const LocalKind kind : kLocalKinds)
    report.times.push_back(time_hilbert(kind, {20, 4}, NF_FLOAT32, options, {.seconds = 0, .repetitions = 1}, 100));
  return report;
}

TEST(HilbertSuite, ChecksEveryRowBeforeItIsTimed) {
  for (const HilbertTimes& times : small_report().times) {
    EXPECT_EQ(times.failure, "");
    for (size_t i = 0; i < kContenders; ++i) {
      EXPECT_GE(times.checks[i].rows, 400);
      EXPECT_TRUE(times.checks[i].error_max <= 2e-5) << times.checks[i].error_max;
      EXPECT_GT(times.timings[i].median, 0);
      EXPECT_GT(times.roofline_fraction(static_cast<Contender>(i)), 0);
    }
    EXPECT_EQ(times.explanations[kSparseHilbert].engine, NF_ENGINE_BLOCK_SPARSE);
    EXPECT_EQ(times.explanations[kFusedHilbert].engine, NF_ENGINE_CPU);
  }
}

TEST(HilbertSuite, AnEngineThatRefusesIsAFailure) {
  Options options;
  options.isa = static_cast<nf_isa>(99);
  options.num_threads = 1;
  const HilbertTimes times =
      time_hilbert(LocalKind::window, {20, 4}, NF_FLOAT32, options, {.seconds = 0, .repetitions = 1}, 100);
  EXPECT_EQ(times.failure.find("invalid_argument: isa=99"), 0u) << times.failure;
}

TEST(HilbertSuite, TheTableHas120Columns) {
  const HilbertReport report = small_report();
  ::testing::internal::CaptureStdout();
  print_times_head(report, SuiteFormat::table);
  for (const HilbertTimes& times : report.times) print_times(times, SuiteFormat::table);
  std::istringstream lines(::testing::internal::GetCapturedStdout());
  size_t rows = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("pattern ") && line.find("20x20") == std::string::npos) continue;
    EXPECT_EQ(line.size(), 120u) << line;
    ++rows;
  }
  EXPECT_EQ(rows, 4u);
}

TEST(HilbertSuite, MarkdownRowsHaveTheColumnsOfTheirHead) {
  const HilbertReport report = small_report();
  ::testing::internal::CaptureStdout();
  print_blocks_head(SuiteFormat::markdown);
  print_blocks(report.blocks[0], SuiteFormat::markdown);
  print_times_head(report, SuiteFormat::markdown);
  for (const HilbertTimes& times : report.times) print_times(times, SuiteFormat::markdown);
  std::istringstream lines(::testing::internal::GetCapturedStdout());
  std::vector<int64_t> columns;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("|")) columns.push_back(std::count(line.begin(), line.end(), '|') - 1);
  EXPECT_EQ(columns, (std::vector<int64_t>{7, 7, 7, 14, 14, 14, 14, 14}));
}

TEST(HilbertSuite, WritesJson) {
  HilbertReport report = small_report();
  auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["suite"], "hilbert");
  EXPECT_EQ(json["empty_blocks"][0]["window"]["row_major"]["empty_ratio"], 0.875);
  EXPECT_EQ(json["empty_blocks"][0]["window"]["hilbert"]["blocks"], 1024);
  ASSERT_EQ(json["times"].size(), 3u);
  for (const char* name : {"block_sparse_row_major", "block_sparse_hilbert", "fused_grid", "fused_hilbert"})
    for (const char* key : {"median_ms", "spread", "roofline_fraction", "waste", "error_max", "checked_rows"})
      EXPECT_TRUE(json["times"][0][name].contains(key)) << name << " " << key;
  EXPECT_FALSE(json.contains("goal"));  // its size did not run
  report.times[0].size = kGoalSize;
  report.times[0].timings[kSparseRowMajor].median = 5;
  report.times[0].timings[kSparseHilbert].median = 1;
  json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["goal"]["gain_of_blocks"], 5);
  EXPECT_EQ(json["goal"]["met"], true);
  report.times[0].failure = "FAILED: an example";
  json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["times"][0]["error"], "FAILED: an example");
  EXPECT_FALSE(json.contains("goal"));
}

}  // namespace
}  // namespace nearfield::cli
