// `nearfield bench` and `nearfield check` as a user runs them.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <string>

namespace nearfield::cli {
namespace {

struct Finished {
  int status = -1;
  std::string output;  // stdout and stderr
};

Finished run(const std::string& arguments) {
  Finished result;
  FILE* pipe = popen((std::string("'") + NEARFIELD_PROGRAM + "' " + arguments + " 2>&1").c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  if (pipe == nullptr) return result;
  char buffer[4096];
  for (size_t read = 0; (read = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) result.output.append(buffer, read);
  const int status = pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

std::string last_line(const std::string& text) {
  const std::string trimmed = text.substr(0, text.find_last_not_of('\n') + 1);
  return trimmed.substr(trimmed.find_last_of('\n') + 1);
}

TEST(CheckProgram, EndsWithTheCount) {
  const Finished check = run("check --cases 25 --seed 3");
  EXPECT_EQ(check.status, 0) << check.output;
  EXPECT_EQ(last_line(check.output), "25 passed, 0 failed") << check.output;
}

TEST(CheckProgram, OneProblemAloneIsTheSameProblem) {
  const Finished check =
      run("check --cases 1 --seed 3 --first 24 --isa portable --kernel tile --dtype f16 --threads 2");
  EXPECT_EQ(check.status, 0) << check.output;
  EXPECT_EQ(last_line(check.output), "1 passed, 0 failed") << check.output;
}

TEST(CheckProgram, TakesTheBaselineToo) {
  const Finished check = run("check --cases 40 --seed 3 --engine block_sparse");
  EXPECT_EQ(check.status, 0) << check.output;
  EXPECT_EQ(last_line(check.output), "40 passed, 0 failed") << check.output;
  EXPECT_EQ(run("check --cases 1 --engine block_sparse --direction backward").status, 2);
  EXPECT_EQ(run("check --cases 1 --engine reference").status, 2);
}

TEST(CheckProgram, RefusesNonsense) {
  const Finished check = run("check --cases 0");
  EXPECT_EQ(check.status, 2);
  EXPECT_NE(check.output.find("cases=0: must be"), std::string::npos) << check.output;
}

TEST(BenchProgram, ListsItsCases) {
  const Finished list = run("bench --list");
  EXPECT_EQ(list.status, 0);
  EXPECT_NE(list.output.find("hdit-24 "), std::string::npos) << list.output;
}

TEST(BenchProgram, WritesJson) {
  const Finished bench =
      run("bench --case nat-t4-b1 --case hdit-24 --threads 1,2 --json --seconds 0.1 --repetitions 3");
  ASSERT_EQ(bench.status, 0) << bench.output;
  const auto json = nlohmann::json::parse(bench.output);
  EXPECT_GT(json["machine"]["peak_gflops"].get<double>(), 0);
  ASSERT_EQ(json["results"].size(), 4u);
  for (const auto& result : json["results"]) {
    for (const char* key : {"name", "dtype", "direction", "threads", "isa", "kernel", "tile", "median_ms", "spread",
                            "useful_gflops", "waste", "executed_gflops", "roofline_fraction", "cold_median_ms",
                            "cold_roofline_fraction", "cold_copies", "error_max", "checked_rows"})
      EXPECT_TRUE(result.contains(key)) << key;
    EXPECT_GT(result["median_ms"].get<double>(), 0);
    EXPECT_GT(result["cold_median_ms"].get<double>(), 0);
    EXPECT_GT(result["cold_copies"].get<int>(), 1);
    EXPECT_GE(result["waste"].get<double>(), 1);
    EXPECT_GE(result["checked_rows"].get<int>(), 400);
  }
  EXPECT_EQ(json["results"][1]["threads"], 2);
}

// Its tensors alone exceed 64 MiB: every call is cold, and there are no second numbers.
TEST(BenchProgram, LargeCasesAreColdAnyway) {
  const Finished table = run("bench --case hdit --seconds 0 --repetitions 1");
  ASSERT_EQ(table.status, 0) << table.output;
  EXPECT_TRUE(std::regex_search(last_line(table.output), std::regex("^hdit .* - +- "))) << table.output;
  const Finished bench = run("bench --case hdit --json --seconds 0 --repetitions 1");
  ASSERT_EQ(bench.status, 0) << bench.output;
  const auto result = nlohmann::json::parse(bench.output)["results"][0];
  EXPECT_EQ(result["cold_copies"], 1);
  EXPECT_EQ(result["cold_median_ms"], result["median_ms"]);
  EXPECT_EQ(result["cold_roofline_fraction"], result["roofline_fraction"]);
}

TEST(BenchProgram, TheTableHas120Columns) {
  const Finished bench = run("bench --case nat-t4-b1 --case hdit-24 --threads 1,2 --seconds 0 --repetitions 1");
  ASSERT_EQ(bench.status, 0) << bench.output;
  std::istringstream lines(bench.output);
  size_t rows = 0;
  for (std::string line; std::getline(lines, line);) {
    const bool is_row = line.starts_with("case ") || line.starts_with("nat-t4-b1 ") || line.starts_with("hdit-24 ");
    if (!is_row) continue;
    ++rows;
    EXPECT_EQ(line.size(), 120u) << line;
  }
  EXPECT_EQ(rows, 5u) << bench.output;
}

TEST(BenchProgram, EveryDTypeIsChecked) {
  for (const char* dtype : {"f32", "bf16", "f16", "f64"}) {
    const Finished bench = run(std::string("bench --case nat-t3-b1 --seconds 0 --repetitions 1 --dtype ") + dtype);
    EXPECT_EQ(bench.status, 0) << bench.output;
  }
}

// Whichever engine can do it, the gradients are checked and timed; one that cannot says so and fails.
TEST(BenchProgram, BackwardRunsOrSaysWhyNot) {
  const Finished slow =
      run("bench --case nat-t4-b1 --direction backward --engine reference --seconds 0 --repetitions 1");
  EXPECT_EQ(slow.status, 0) << slow.output;
  const Finished fast = run("bench --case nat-t4-b1 --direction backward --seconds 0 --repetitions 1");
  const bool unsupported = fast.output.find("unsupported: backward") != std::string::npos;
  EXPECT_EQ(fast.status, unsupported ? 1 : 0) << fast.output;
}

TEST(BenchProgram, RunsAProblemOfOnesOwn) {
  const std::string times = " --json --seconds 0 --repetitions 1";
  for (const char* pattern :
       {"-k 5", "--pattern window --size 4,8", "--pattern hilbert-slide --size 25",
        "--pattern hilbert-window --size 16 --engine block_sparse",
        "--pattern sphere --key-grid 9,12 --latitudes lobatto", "--pattern sphere-global --direction backward"}) {
    const Finished bench = run(std::string("bench --shape 2,16,24,2,16 ") + pattern + times);
    ASSERT_EQ(bench.status, 0) << bench.output;
    const auto result = nlohmann::json::parse(bench.output)["results"][0];
    EXPECT_EQ(result["name"], "custom");
    EXPECT_GE(result["checked_rows"].get<int>(), 400);
  }
}

TEST(BenchProgram, RefusesHalfAProblem) {
  const auto expect_refusal = [](const std::string& arguments, const std::string& message) {
    const Finished bench = run("bench " + arguments);
    EXPECT_EQ(bench.status, 2) << arguments;
    EXPECT_NE(bench.output.find(message), std::string::npos) << bench.output;
  };
  expect_refusal("-k 5", "shape: is missing");
  expect_refusal("--shape 1,8,8,1,8", "kernel_size: is missing");
  expect_refusal("--shape 1,8,8,1,8 -k 5 --case hdit", "shape=1,8,8,1,8: must not come with --case");
  expect_refusal("--shape 1,0,8,1,8 -k 5", "shape[1]=0: must be at least 1");
  expect_refusal("--shape 1,8,8,1,8 -k 5 --stride 6", "stride[0]=6: must be at most kernel_size[0]=5");
  expect_refusal("--suite morton", "suite=morton: must be one of fna, gna, hilbert, sphere");
  expect_refusal("--suite hilbert --case hdit", "case: must not come with --suite hilbert");
  expect_refusal("--suite hilbert --engine cpu", "engine: must not come with --suite hilbert");
  expect_refusal("--suite hilbert --threads 1,2", "threads=1,2: must be one number with --suite hilbert");
  expect_refusal("--suite hilbert --json --markdown", "markdown: must not come with --json");
  expect_refusal("--full", "full: is for --suite");
}

TEST(BenchProgram, TheHilbertSuiteEndsWithItsGoal) {
  const Finished bench = run("bench --suite hilbert --seconds 0 --repetitions 1");
  ASSERT_EQ(bench.status, 0) << bench.output;
  EXPECT_NE(bench.output.find("    96x96   16       83.3%     97.2%"), std::string::npos) << bench.output;
  EXPECT_TRUE(std::regex_search(last_line(bench.output), std::regex("^Goal: 96x96 .*x is wanted: (pass|miss)$")))
      << bench.output;
}

TEST(BenchProgram, TheSphereSuiteHas120Columns) {
  const Finished bench = run("bench --suite sphere --seconds 0 --repetitions 1");
  ASSERT_EQ(bench.status, 0) << bench.output;
  std::istringstream lines(bench.output);
  size_t rows = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("sphere-") && !line.starts_with("case ")) continue;
    ++rows;
    EXPECT_EQ(line.size(), 120u) << line;
  }
  EXPECT_EQ(rows, 7u) << bench.output;
  EXPECT_TRUE(std::regex_search(last_line(bench.output), std::regex("^  sphere-up +.*MiB \\(.*MiB\\)$")))
      << bench.output;
}

TEST(BenchProgram, RefusesUnknownNames) {
  EXPECT_EQ(run("bench --case nosuch").status, 2);
  EXPECT_EQ(run("bench --direction sideways").status, 2);
  EXPECT_EQ(run("bench --dtype int8").status, 2);
  EXPECT_EQ(run("bench --threads 0x").status, 2);
}

}  // namespace
}  // namespace nearfield::cli
