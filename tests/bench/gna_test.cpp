// The suite of generalized neighborhood attention: its cases are what it says, and its rows are checked before they are
// timed. No test looks at a time.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "bench_gna.h"

namespace nearfield::cli {
namespace {

nf_neighborhood pattern_of(const GnaUse& use, const Axes& stride) {
  nf_neighborhood pattern = nf_make_neighborhood(static_cast<int32_t>(use.grid.size()), use.window.data());
  std::copy(stride.begin(), stride.end(), pattern.stride);
  return pattern;
}

TEST(GnaSuite, LastStridesNeedNoMask) {
  for (const bool full : {false, true})
    for (const GnaUse& use : gna_uses(full)) {
      SCOPED_TRACE(use.name);
      const Simulated last =
          simulate_pattern(pattern_of(use, use.strides.back()), use.grid, use.block_sparse_tiles, {});
      EXPECT_TRUE(last.is_block_sparse());
      EXPECT_DOUBLE_EQ(last.simulation.key_tiles.worst_bound, last.simulation.ideal_bound);
      const Simulated first = simulate_pattern(pattern_of(use, use.strides[0]), use.grid, use.block_sparse_tiles, {});
      EXPECT_FALSE(first.is_block_sparse());
      EXPECT_LT(first.simulation.key_tiles.worst_bound, last.simulation.key_tiles.worst_bound);
    }
}

TEST(GnaSuite, HalvesEveryLength) {
  const std::vector<GnaUse> whole = gna_uses(true), halved = gna_uses(false);
  ASSERT_EQ(whole.size(), halved.size());
  for (size_t i = 0; i < whole.size(); ++i)
    for (size_t a = 0; a < whole[i].grid.size(); ++a) {
      EXPECT_EQ(halved[i].grid[a], whole[i].grid[a] / 2);
      EXPECT_EQ(halved[i].window[a], whole[i].window[a] / 2);
    }
}

TEST(GnaSuite, UsesOfOneGridShareItsDenseAttention) {
  const std::vector<std::vector<GnaUse>> groups = by_grid(gna_uses(true));
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0][1].name, "cosmos");
  EXPECT_EQ(groups[2].size(), 1u);
}

GnaReport small_report(nf_isa isa = NF_ISA_AUTO) {
  GnaReport report;
  Options options;
  options.num_threads = 1;
  options.isa = isa;
  const GnaUse use = {"small", {8, 12}, {4, 6}, {{1, 1}, {4, 2}}, {}};
  report.results = time_gna({use}, NF_FLOAT32, options, {.seconds = 0, .repetitions = 1}, 100);
  return report;
}

TEST(GnaSuite, ChecksEveryOutputAndSaysWhatIsRealised) {
  const GnaReport report = small_report();
  const GnaResult& result = report.results[0];
  ASSERT_EQ(result.failure, "");
  ASSERT_EQ(result.times.size(), 2u);
  EXPECT_GT(result.dense_flops, 0);
  for (const GnaTimes& times : result.times) {
    EXPECT_GE(times.check.rows, 90);
    EXPECT_TRUE(times.check.error_max <= 2e-5) << times.check.error_max;
    EXPECT_GE(times.bound(), 1);
    EXPECT_LE(times.bound(), times.simulated.simulation.ideal_bound);
    EXPECT_DOUBLE_EQ(times.realised() * times.bound(), times.speedup());
  }
  const nlohmann::json json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["suite"], "gna");
  EXPECT_EQ(json["results"][0]["strides"].size(), 2u);
  ::testing::internal::CaptureStdout();
  print_gna(result, SuiteFormat::markdown);
  print_gna_goal(report.results);
  const std::string shown = ::testing::internal::GetCapturedStdout();
  EXPECT_NE(shown.find("| small | 8x12 | 4x6 | 4x2 |"), std::string::npos) << shown;
  EXPECT_NE(shown.find(" of 2\n"), std::string::npos) << shown;
}

TEST(GnaSuite, AnEngineThatRefusesIsAFailure) {
  const GnaReport report = small_report(static_cast<nf_isa>(99));
  EXPECT_EQ(report.results[0].failure.find("invalid_argument: isa=99"), 0u) << report.results[0].failure;
  EXPECT_NE(to_json(report).find("\"error\""), std::string::npos);
}

}  // namespace
}  // namespace nearfield::cli
