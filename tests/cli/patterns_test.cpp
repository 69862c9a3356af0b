// --pattern and its options, as a user gives them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "pattern_arguments.h"
#include "process.h"

namespace nearfield::cli::testing {
namespace {

using Json = nlohmann::json;

TEST(PatternOptions, AreThoseThatThePatternHas) {
  const auto explain = [](std::vector<std::string> more) {
    std::vector<std::string> all = {"explain", "--shape", "1,8,8,2,16", "--pattern"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {explain({"hilbert"}), "pattern=hilbert: must be one of neighborhood, window, hilbert-window"},
      {explain({"window"}), "size: is missing: --pattern window takes it as --size"},
      {explain({"window", "-k", "3"}),
       "kernel_size=3: must not come with --pattern window, which takes --size, --shift"},
      {explain({"neighborhood", "-k", "3", "--size", "9"}),
       "size=9: must not come with --pattern neighborhood, which takes --kernel-size, --stride"},
      {explain({"hilbert-slide", "--size", "9", "--shift", "0"}),
       "shift=0: must not come with --pattern hilbert-slide, which takes --size, --stride"},
      {explain({"hilbert-window", "--size", "9", "--order", "morton"}),
       "order=morton: must not come with --pattern hilbert-window"},
      {explain({"curve-window", "--size", "9", "--order", "peano"}),
       "order=peano: must be one of hilbert, morton, serpentine, row-major"},
      {explain({"hilbert-slide", "--size", "3,3"}),
       "size: has 2 values: must have one, for the positions along the order"},
      {explain({"hilbert-slide", "--size", "0"}), "size=0: must be at least 1"},
      {explain({"hilbert-window", "--size", "4", "--shift", "4"}), "shift=4: must be below size=4"},
      {explain({"window", "--size", "4,0"}), "size[1]=0: must be at least 1"}};
  for (const auto& [arguments, message] : cases) {
    const Outcome outcome = nearfield(arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_TRUE(outcome.err.starts_with("nearfield: " + message)) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(PatternOptions, AreExplained) {
  const auto explain = [&](std::vector<std::string> more) {
    std::vector<std::string> all = {"explain", "--shape", "1,16,16,2,16", "--pattern"};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = nearfield(all);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome.out;
  };
  EXPECT_NE(explain({"window", "--size", "4,8"}).find("window; size 4, 8; shift 0, 0\n"), std::string::npos);
  EXPECT_NE(explain({"curve-slide", "--size", "9", "--order", "serpentine"})
                .find("curve-slide; order serpentine; size 9; stride 1; dilation 1; causal false\n"),
            std::string::npos);
  const Json json =
      Json::parse(explain({"hilbert-window", "--size", "64", "--shift", "32", "--engine", "block_sparse", "--json"}));
  EXPECT_EQ(json.at("pattern").at("kind"), "hilbert-window");
  EXPECT_EQ(json.at("pattern").at("shift"), 32);
  EXPECT_EQ(json.at("engine"), "block_sparse");
  EXPECT_EQ(json.at("tile"), std::vector<int64_t>{128});
  EXPECT_EQ(json.at("masked_steps"), 4);  // two blocks of queries, whose windows reach over the border between them
}

TEST(PatternOptions, BecomeThePublicStructs) {
  PatternArguments window;
  window.pattern = "window";
  window.size = "4";
  window.shift = "1,2";
  const auto windows = std::get<nf_window>(window.resolve({{8, 8}, {8, 8}}));
  EXPECT_EQ(windows.size[1], 4);
  EXPECT_EQ(windows.shift[1], 2);

  PatternArguments slide;
  slide.pattern = "curve-slide";
  slide.size = "49";
  slide.order = "row-major";
  slide.stride = "3";
  slide.dilation = "2";
  slide.causal = "yes";
  const auto curve = std::get<nf_curve>(slide.resolve({{4, 4, 4}, {4, 4, 4}}));
  EXPECT_EQ(curve.pattern.rank, 3);
  EXPECT_EQ(curve.order, NF_ROW_MAJOR);
  EXPECT_EQ(curve.form, NF_CURVE_SLIDE);
  EXPECT_EQ(curve.size, 49);
  EXPECT_EQ(curve.stride, 3);
  EXPECT_EQ(curve.dilation, 2);
  EXPECT_EQ(curve.is_causal, 1);
  EXPECT_EQ(pattern_name(curve), "curve-slide");
  EXPECT_EQ(pattern_name(windows), "window");
}

}  // namespace
}  // namespace nearfield::cli::testing
