// The cases on the sphere: their pairs counted by distances, their checks, and the suite. No test looks at a time.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/dtype.h"
#include "bench_sphere.h"

namespace nearfield::cli {
namespace {

constexpr double kPi = std::numbers::pi;

// From the definition, on equiangular grids; every query of a circle has a twin among its first `period`.
int64_t pairs_by_distance(int64_t nlat, int64_t nlon, int64_t key_nlat, int64_t key_nlon, double cutoff) {
  const int64_t period = nlon / std::min(nlon, key_nlon);
  const auto colatitude = [](int64_t i, int64_t n) {
    return kPi * static_cast<double>(i) / static_cast<double>(n - 1);
  };
  int64_t pairs = 0;
  for (int64_t i = 0; i < nlat; ++i)
    for (int64_t x = 0; x < period; ++x)
      for (int64_t j = 0; j < key_nlat; ++j) {
        const double a = colatitude(i, nlat), b = colatitude(j, key_nlat);
        if (std::abs(a - b) > 1.01 * cutoff) continue;
        for (int64_t y = 0; y < key_nlon; ++y) {
          const double longitude = 2 * kPi *
                                   (static_cast<double>(y) / static_cast<double>(key_nlon) -
                                    static_cast<double>(x) / static_cast<double>(nlon));
          const double half =
              std::pow(std::sin((a - b) / 2), 2) + std::sin(a) * std::sin(b) * std::pow(std::sin(longitude / 2), 2);
          if (2 * std::asin(std::min(1.0, std::sqrt(half))) <= 1.001 * cutoff) pairs += nlon / period;
        }
      }
  return pairs;
}

TEST(SphereCases, HaveThePairsThatTheDistancesSay) {
  const double seven = 7 / std::sqrt(kPi);
  EXPECT_EQ(useful_pairs(*find_bench_case("sphere-1deg")), pairs_by_distance(181, 360, 181, 360, seven * kPi / 180));
  EXPECT_EQ(useful_pairs(*find_bench_case("sphere-1deg-default")), pairs_by_distance(181, 360, 181, 360, kPi / 180));
  EXPECT_EQ(useful_pairs(*find_bench_case("sphere-up")), pairs_by_distance(181, 360, 91, 180, seven * kPi / 90));
  const BenchCase& quarter = *find_bench_case("sphere-quarter");
  EXPECT_EQ(tensor_shape(quarter), (std::vector<int64_t>{1, 721, 1440, 1, 64}));
  EXPECT_DOUBLE_EQ(std::get<nf_sphere>(*quarter.pattern).cutoff, seven * kPi / 720);
  EXPECT_EQ(describe(*find_bench_case("sphere-up")),
            "1x181x360 h1 d64 sphere; queries 181x360 equiangular; keys 91x180 equiangular; cutoff 0.13786 (7.8987 "
            "deg); tolerance 0.001");
}

// Up-sampling: keys on another grid, whose places its messages name.
BenchCase small_case() {
  nf_sphere pattern = nf_make_sphere(9, 12, 5, 6);
  return {.name = "small", .batch = 2, .grid = {9, 12}, .heads = 2, .head_dim = 8, .pattern = pattern};
}

BenchProblem solved(Direction direction, const BenchCase& bench_case = small_case()) {
  BenchProblem problem(bench_case, NF_FLOAT32, direction);
  const Options options = Options().with_engine(NF_ENGINE_REFERENCE);
  problem.prepare(options);
  problem.run(options);
  return problem;
}

TEST(SphereCheck, KnowsBothGrids) {
  EXPECT_EQ(BenchProblem::bytes(small_case(), NF_FLOAT32, Direction::backward),
            4 * 2 * 2 * ((9 * 12 + 5 * 6) * 4 * 8 + 9 * 12));
  for (const Direction direction : {Direction::forward, Direction::backward})
    EXPECT_EQ(check_output(solved(direction)).failure, "");
  BenchProblem problem = solved(Direction::backward);
  auto* element = static_cast<float*>(problem.dkey.data()) + problem.row(problem.dkey, 1, 4 * 6 + 5, 1) * 8 + 7;
  *element += 0.1f;
  const std::string failure = check_output(problem).failure;
  EXPECT_NE(failure.find("dkey at batch 1, head 1, key (4, 5), channel 7 is "), std::string::npos) << failure;
}

// What such a query has is 0 and -inf, and nothing else.
TEST(SphereCheck, TakesQueriesThatSeeNothing) {
  nf_sphere pattern = nf_make_sphere(4, 8, 5, 8);
  pattern.query.latitudes = NF_LEGENDRE_GAUSS;
  pattern.has_cutoff = 1;
  pattern.cutoff = 0.17;  // the two circles near the equator see none
  const BenchCase bench_case = {.name = "few", .grid = {4, 8}, .heads = 1, .head_dim = 8, .pattern = pattern};
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    BenchProblem problem = solved(direction, bench_case);
    EXPECT_EQ(check_output(problem).failure, "");
    if (direction == Direction::backward) continue;
    EXPECT_EQ(problem.logsumexp.at(8), -std::numeric_limits<double>::infinity());
    static_cast<float*>(problem.logsumexp.data())[8] = 1;
    EXPECT_NE(check_output(problem).failure, "");
    static_cast<float*>(problem.logsumexp.data())[8] = std::nanf("");
    EXPECT_NE(check_output(problem).failure.find("not written"), std::string::npos);
  }
}

SphereReport small_report() {
  SphereReport report;
  const SphereSubject subject = sphere_subject(small_case(), 3);
  const Options options = Options().with_threads(1);
  for (const Direction direction : {Direction::forward, Direction::backward})
    report.times.push_back(time_sphere(subject, NF_FLOAT32, direction, options, {.seconds = 0, .repetitions = 1}, 100));
  report.memory.push_back(measure_memory(small_case(), NF_FLOAT32, options));
  return report;
}

TEST(SphereSuite, ChecksBothBeforeTheyAreTimed) {
  for (const SphereTimes& times : small_report().times) {
    EXPECT_EQ(times.failure, "");
    for (const SphereContender which : {kOnSphere, kOnPlane}) {
      EXPECT_GE(times.checks[which].rows, 120);
      EXPECT_LE(times.checks[which].error_max, 2e-5);
      EXPECT_GT(times.pairs_per_second(which), 0);
      EXPECT_GT(times.roofline_fraction(which), 0);
    }
    EXPECT_EQ(times.pairs[kOnPlane], 2.0 * 2 * 9 * 12 * 9);
    EXPECT_GT(times.relative_speed(), 0);
  }
  EXPECT_EQ(sphere_subjects(false).size(), 3u);
  EXPECT_EQ(sphere_subjects(true).back().on_sphere.name, "sphere-quarter");
}

TEST(SphereSuite, ReportsWhatItFound) {
  SphereReport report = small_report();
  EXPECT_EQ(report.memory[0].failure, "");
  EXPECT_EQ(report.memory[0].tensors, BenchProblem::bytes(small_case(), NF_FLOAT32, Direction::backward));
  EXPECT_GT(report.memory[0].peak, report.memory[0].tensors);
  EXPECT_FALSE(nlohmann::json::parse(to_json(report)).contains("goal"));
  report.memory.push_back({.name = "sphere-quarter", .failure = "", .peak = kSphereMemoryGoal + 1, .tensors = 1});
  report.times.push_back(report.times[0]);
  report.times.back().failure = "FAILED: for a reason";
  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["suite"], "sphere");
  EXPECT_EQ(json["times"][0]["direction"], "forward");
  EXPECT_GT(json["times"][0]["on_sphere"]["median_ms"].get<double>(), 0);
  EXPECT_GE(json["times"][0]["on_sphere"]["waste"].get<double>(), 1);
  EXPECT_GT(json["times"][0]["on_sphere"]["plan_memory"].get<int64_t>(), 0);
  EXPECT_TRUE(json["times"][1]["on_plane"]["waste"].is_null());
  EXPECT_EQ(json["times"][2]["error"], "FAILED: for a reason");
  EXPECT_EQ(json["goal"]["met"], false);
}

}  // namespace
}  // namespace nearfield::cli
