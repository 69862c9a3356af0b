// The named cases: pair counts known in closed form, and patterns that the library accepts.
#include <gtest/gtest.h>

#include <set>

#include "bench_cases.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {
namespace {

int64_t pairs(const char* name) {
  const BenchCase* found = find_bench_case(name);
  EXPECT_NE(found, nullptr) << name;
  return found == nullptr ? -1 : useful_pairs(*found);
}

TEST(BenchCases, ClampedWindowsAlwaysHaveAllTheirKeys) {
  EXPECT_EQ(pairs("nat-t1-b1"), 56 * 56 * 49 * 2);
  EXPECT_EQ(pairs("nat-t1"), 8 * 56 * 56 * 49 * 2);
  EXPECT_EQ(pairs("nat-t4"), 8 * 7 * 7 * 49 * 16);
  EXPECT_EQ(pairs("dinat-t1"), 56 * 56 * 49 * 2);
  EXPECT_EQ(pairs("hdit"), 128 * 128 * 49 * 4);
  EXPECT_EQ(pairs("hdit-24"), 24 * 24 * 49);
  EXPECT_EQ(pairs("vol3d"), 8 * 45 * 90 * (5 * 7 * 7) * 4);
  EXPECT_EQ(pairs("lm1d-8k"), 8192 * 1024);
  EXPECT_EQ(pairs("lm1d"), int64_t{32768} * 2048);
  EXPECT_EQ(pairs("flux"), int64_t{256 * 256} * (80 * 80));
  EXPECT_EQ(pairs("flux-s16"), pairs("flux"));
  EXPECT_EQ(pairs("hunyuan"), int64_t{30 * 48 * 80} * (18 * 24 * 24));
  EXPECT_EQ(pairs("hunyuan-s"), pairs("hunyuan"));
  EXPECT_EQ(pairs("cosmos-wide"), int64_t{16 * 44 * 80} * (16 * 32 * 48));
  EXPECT_EQ(pairs("stylenat"), int64_t{1024 * 1024} * 49 * 4);
}

TEST(BenchCases, OtherBoundaries) {
  // Periodic in longitude, clamped elsewhere: still every key; one head runs.
  EXPECT_EQ(pairs("weathermesh"), 8 * 90 * 180 * (5 * 7 * 7));
  // Cut: 13 queries at each end lack 13, 12, ..., 1 keys.
  EXPECT_EQ(pairs("pcf"), 32 * 16 * (300 * 27 - 2 * (13 * 14 / 2)));
  // Causal: query i sees min(i + 1, window) keys.
  EXPECT_EQ(pairs("lm1d-8k-causal"), 1024 * 1025 / 2 + (8192 - 1024) * 1024);
}

TEST(BenchCases, NamesAreUniqueAndTheQuickOnesExist) {
  std::set<std::string> names;
  for (const BenchCase& bench_case : bench_cases())
    EXPECT_TRUE(names.insert(bench_case.name).second) << bench_case.name;
  for (std::string_view name : quick_bench_cases()) EXPECT_NE(find_bench_case(name), nullptr) << name;
  EXPECT_EQ(find_bench_case("nat"), nullptr);
}

TEST(BenchCases, TheLibraryAcceptsEachAndCountsTheSamePairs) {
  for (const BenchCase& bench_case : bench_cases()) {
    const AnyPattern pattern = pattern_of(bench_case);
    const Tensor query(nullptr, NF_FLOAT32, tensor_shape(bench_case)), key(nullptr, NF_FLOAT32, key_shape(bench_case));
    const nf_explanation explanation = explain(head_of(pattern), query, key, key);
    EXPECT_EQ(explanation.useful_pairs, static_cast<double>(useful_pairs(bench_case))) << bench_case.name;
    EXPECT_GE(explanation.waste, 1) << bench_case.name;
  }
}

TEST(BenchCases, DescriptionsTellWhatRuns) {
  EXPECT_EQ(describe(*find_bench_case("dinat-t1")), "1x56x56 h2 d32 k7x7 dilation 8x8");
  EXPECT_EQ(describe(*find_bench_case("weathermesh")), "1x8x90x180 h1 d32 k5x7x7 wrap[2] (1 of 32 heads)");
  EXPECT_EQ(describe(*find_bench_case("lm1d-causal")), "1x32768 h1 d128 k2048 causal");
}

}  // namespace
}  // namespace nearfield::cli
