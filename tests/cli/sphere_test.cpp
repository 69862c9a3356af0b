// --pattern sphere and sphere-global, as a user gives them: files, shapes, and what is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>
#include <vector>

#include "io_samples.h"
#include "pattern_arguments.h"
#include "process.h"
#include "sphere_arguments.h"

namespace nearfield::cli::testing {
namespace {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;
constexpr double kPi = std::numbers::pi;

Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

OwnedTensor normal(std::vector<int64_t> sizes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> values;
  OwnedTensor tensor = make_tensor(NF_FLOAT32, std::move(sizes));
  for (size_t i = 0; i < tensor.bytes.size(); i += sizeof(float)) {
    const float value = values(random);
    std::memcpy(&tensor.bytes[i], &value, sizeof value);
  }
  return tensor;
}

float element(const OwnedTensor& tensor, size_t i) {
  float value = 0;
  std::memcpy(&value, &tensor.bytes[i * sizeof value], sizeof value);
  return value;
}

double largest_difference(const OwnedTensor& a, const OwnedTensor& b) {
  if (a.sizes != b.sizes) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.bytes.size() / sizeof(float); ++i) {
    const double difference = std::abs(double{element(a, i)} - double{element(b, i)});
    largest = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(largest, difference);
  }
  return largest;
}

class OnTheSphere : public ::testing::Test {
 protected:
  std::string path(std::string_view name) const { return (directory_ / name).string(); }
  OwnedTensor read(std::string_view file, const std::string& name) const {
    return open_tensor_file(path(file))->read(name);
  }
  void write_inputs(std::vector<int64_t> query, std::vector<int64_t> key) const {
    write_tensor_file(
        path("in.npz"),
        {{"query", normal(query, 1)}, {"key", normal(key, 2)}, {"value", normal(key, 3)}, {"dout", normal(query, 4)}});
  }
  TemporaryDirectory directory_;
};

// Both passes, on one grid, down and up; the keys' grid is the key file's.
TEST_F(OnTheSphere, RunAgreesWithTheReference) {
  struct Case {
    std::vector<int64_t> query, key;
    Arguments pattern;
  };
  const std::vector<Case> cases = {
      {{1, 9, 12, 2, 8}, {1, 9, 12, 2, 8}, {"--pattern", "sphere"}},
      {{2, 5, 6, 2, 8}, {2, 9, 12, 1, 8}, {"--pattern", "sphere", "--cutoff", "40deg", "--tolerance", "0"}},
      {{1, 9, 12, 1, 8}, {1, 5, 6, 1, 8}, {"--pattern", "sphere", "--latitudes", "legendre-gauss", "--cutoff", "0.9"}},
      {{1, 8, 6, 1, 8}, {1, 5, 12, 1, 8}, {"--pattern", "sphere-global", "--key-latitudes", "lobatto"}}};
  for (const Case& c : cases) {
    write_inputs(c.query, c.key);
    for (const std::string engine : {"cpu", "reference"}) {
      const Outcome outcome = nearfield(Arguments{"run", "--backward", "--input", path("in.npz"), "--engine", engine,
                                                  "--out", path(engine + ".npz")} +
                                        c.pattern);
      EXPECT_EQ(outcome.status, 0) << outcome.err;
    }
    for (const char* name : {"out", "logsumexp", "dquery", "dkey", "dvalue"}) {
      const double error = largest_difference(read("cpu.npz", name), read("reference.npz", name));
      EXPECT_LE(error, 1e-4) << name << " " << ::testing::PrintToString(c.pattern);
    }
    EXPECT_EQ(read("cpu.npz", "out").sizes, c.query);
    EXPECT_EQ(read("cpu.npz", "dkey").sizes, c.key);
    const Outcome forward =
        nearfield(Arguments{"run", "--input", path("in.npz"), "--out", path("forward.npy")} + c.pattern);
    EXPECT_EQ(forward.status, 0) << forward.err;
    EXPECT_EQ(read("forward.npy", "").bytes, read("cpu.npz", "out").bytes);
  }
}

// Queries of 0 average the values over the sphere: cos(colatitude)^2 has the mean 1/3.
TEST_F(OnTheSphere, GlobalAttentionOfNothingIsTheMean) {
  OwnedTensor value = make_tensor(NF_FLOAT32, {1, 7, 8, 1, 1});
  for (size_t i = 0; i < 7 * 8; ++i) {
    const double x = std::cos(kPi * static_cast<double>(i / 8) / 6);
    const auto square = static_cast<float>(x * x);
    std::memcpy(&value.bytes[i * sizeof square], &square, sizeof square);
  }
  write_tensor_file(path("in.npz"), {{"query", make_tensor(NF_FLOAT32, {1, 3, 4, 1, 1})},
                                     {"key", make_tensor(NF_FLOAT32, {1, 7, 8, 1, 1})},
                                     {"value", value}});
  const Outcome outcome =
      nearfield({"run", "--input", path("in.npz"), "--pattern", "sphere-global", "--out", path("out.npy")});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const OwnedTensor out = read("out.npy", "");
  for (size_t i = 0; i < 12; ++i) EXPECT_NEAR(element(out, i), 1.0 / 3, 1e-6);
}

TEST_F(OnTheSphere, RunSaysWhatDoesNotFit) {
  write_inputs({1, 9, 12, 1, 8}, {1, 5, 8, 1, 8});
  const auto expect_refused = [&](const Arguments& pattern, const std::string& message) {
    const Outcome outcome = nearfield(Arguments{"run", "--input", path("in.npz"), "--out", path("out.npy")} + pattern);
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_EQ(outcome.err, "nearfield: " + message + "\n");
  };
  expect_refused({"--pattern", "sphere"}, "query.nlon=12: must divide key.nlon=8 or be a multiple of it");
  expect_refused({"--pattern", "sphere", "--key-grid", "5,6"},
                 "key.sizes[2]=8 (axis 1): must be 6, as the pattern says");
  write_inputs({1, 9, 12, 1, 8}, {1, 5, 1, 8});
  expect_refused({"--pattern", "sphere"}, "key.rank=4: must be 5 (batch, axis 0, axis 1, heads_kv, head_dim)");
}

Outcome explain(const Arguments& more, const std::string& shape = "1,181,360,1,64") {
  return nearfield(Arguments{"explain", "--shape", shape, "--pattern"} + more);
}

TEST(SphereOptions, AreExplained) {
  const auto text = [](const Arguments& more) {
    const Outcome outcome = explain(more);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome.out;
  };
  const std::string given = text({"sphere", "--cutoff", "2deg", "--key-grid", "91,180", "--key-latitudes", "lobatto"});
  EXPECT_NE(given.find("sphere; queries 181x360 equiangular; keys 91x180 lobatto; cutoff 0.034907 (2 deg); tolerance "
                       "0.001\n"),
            std::string::npos)
      << given;
  EXPECT_NE(given.find("plan             "), std::string::npos) << given;
  EXPECT_NE(text({"sphere"}).find("cutoff 0.017453 (1 deg, the default); tolerance 0.001\n"), std::string::npos);
  EXPECT_NE(text({"sphere-global"}).find("sphere-global; queries 181x360 equiangular; keys 181x360 equiangular\n"),
            std::string::npos);

  const Json json = Json::parse(text({"sphere", "--key-grid", "91,180", "--latitudes", "legendre-gauss", "--json"}));
  EXPECT_EQ(json.at("pattern").at("kind"), "sphere");
  EXPECT_EQ(json.at("pattern").at("query"), (Json{{"latitudes", "legendre-gauss"}, {"nlat", 181}, {"nlon", 360}}));
  EXPECT_EQ(json.at("pattern").at("key"), (Json{{"latitudes", "legendre-gauss"}, {"nlat", 91}, {"nlon", 180}}));
  EXPECT_DOUBLE_EQ(json.at("pattern").at("cutoff"), kPi / 90);
  EXPECT_DOUBLE_EQ(json.at("pattern").at("tolerance"), 1e-3);
  EXPECT_GT(json.at("plan_memory"), 0);
  const Json global = Json::parse(text({"sphere-global", "--json"}));
  EXPECT_EQ(global.at("pattern").at("kind"), "sphere-global");
  EXPECT_FALSE(global.at("pattern").contains("cutoff"));
  EXPECT_DOUBLE_EQ(global.at("useful_pairs"), 181.0 * 360 * 181 * 360);
}

TEST(SphereOptions, AQuarterOfADegreeHasASmallPlan) {
  const Outcome outcome = explain({"sphere", "--cutoff", "1deg", "--json"}, "1,721,1440,1,64");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_LE(Json::parse(outcome.out).at("plan_memory"), 32 << 20);
}

TEST(SphereOptions, AreRefusedByName) {
  const std::vector<std::pair<Outcome, std::string>> cases = {
      {explain({"sfere"}), "pattern=sfere: must be one of neighborhood, window, hilbert-window"},
      {explain({"sphere", "-k", "7"}),
       "kernel_size=7: must not come with --pattern sphere, which takes --latitudes, --key-latitudes, --key-grid, "
       "--cutoff, --tolerance\n"},
      {explain({"sphere", "--boundary", "wrap"}), "boundary=wrap: must not come with --pattern sphere, which takes"},
      {explain({"sphere-global", "--cutoff", "1"}),
       "cutoff=1: must not come with --pattern sphere-global, which takes --latitudes, --key-latitudes, --key-grid\n"},
      {explain({"sphere-global", "--tolerance", "0"}), "tolerance=0: must not come with --pattern sphere-global"},
      {explain({"window", "--size", "4", "--latitudes", "lobatto"}),
       "latitudes=lobatto: must not come with --pattern window"},
      {explain({"neighborhood", "-k", "3", "--key-grid", "4,4"}),
       "key_grid=4,4: must not come with --pattern neighborhood"},
      {explain({"sphere", "--latitudes", "legendre_gauss"}),
       "latitudes=legendre_gauss: must be one of equiangular, legendre-gauss, lobatto, equiangular-trapezoidal (did "
       "you mean legendre-gauss?)\n"},
      {explain({"sphere", "--key-latitudes", "healpix"}),
       "key_latitudes=healpix: must be one of equiangular, legendre-gauss, lobatto, equiangular-trapezoidal\n"},
      {explain({"sphere", "--cutoff", "wide"}),
       "cutoff=wide: must be a number of radians, as 0.035, or of degrees, as 2deg\n"},
      {explain({"sphere", "--cutoff", "2degrees"}), "cutoff=2degrees: must be a number of radians"},
      {explain({"sphere", "--cutoff", "nan"}), "cutoff=nan: must be a number of radians"},
      {explain({"sphere", "--cutoff", "0"}), "cutoff=0: must be above 0\n"},
      {explain({"sphere", "--cutoff=-2deg"}), "cutoff=-0.0349066: must be above 0\n"},
      {explain({"sphere", "--tolerance=-1"}), "tolerance=-1: must be at least 0\n"},
      {explain({"sphere", "--key-grid", "91"}), "key_grid=91: must be 2 numbers, of latitudes and longitudes\n"},
      {explain({"sphere", "--key-grid", "91,250"}),
       "query.nlon=360: must divide key.nlon=250 or be a multiple of it\n"},
      {explain({"sphere", "--key-grid", "1,360"}), "key.nlat=1: must be at least 2\n"},
      {explain({"sphere"}, "1,360,1,64"),
       "pattern=sphere: must have a grid of 2 axes, latitude and longitude: the query has 1\n"}};
  for (const auto& [outcome, message] : cases) {
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_TRUE(outcome.err.starts_with("nearfield: " + message)) << outcome.err << "\n" << message;
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(SphereOptions, BecomeThePublicStruct) {
  PatternArguments arguments;
  arguments.pattern = "sphere";
  arguments.latitudes = "lobatto";
  arguments.key_latitudes = "equiangular-trapezoidal";
  arguments.cutoff = "90deg";
  arguments.tolerance = "0.5";
  EXPECT_TRUE(arguments.any());
  const auto sphere = std::get<nf_sphere>(arguments.resolve({{8, 12}, {5, 6}}));
  EXPECT_EQ(sphere.query.latitudes, NF_LOBATTO);
  EXPECT_EQ(sphere.query.nlat, 8);
  EXPECT_EQ(sphere.key.latitudes, NF_EQUIANGULAR_TRAPEZOIDAL);
  EXPECT_EQ(sphere.key.nlon, 6);
  EXPECT_EQ(sphere.has_cutoff, 1);
  EXPECT_DOUBLE_EQ(sphere.cutoff, kPi / 2);
  EXPECT_EQ(sphere.tolerance, 0.5);
  EXPECT_EQ(sphere.is_global, 0);
  EXPECT_EQ(pattern_name(sphere), "sphere");
  EXPECT_EQ(key_grid_of(sphere, {8, 12}), (std::vector<int64_t>{5, 6}));
  for (const nf_latitudes kind : {NF_EQUIANGULAR, NF_LEGENDRE_GAUSS, NF_LOBATTO, NF_EQUIANGULAR_TRAPEZOIDAL})
    EXPECT_EQ(parse_latitudes(name_of(kind)), kind);
}

}  // namespace
}  // namespace nearfield::cli::testing
