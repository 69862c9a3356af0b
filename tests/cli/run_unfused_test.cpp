// `nearfield run --unfused`.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "io_samples.h"
#include "process.h"

namespace nearfield::cli::testing {
namespace {

class RunUnfused : public ::testing::Test {
 protected:
  void SetUp() override {
    std::mt19937_64 random(1);
    std::normal_distribution<float> values;
    TensorMap inputs;
    for (const char* name : {"q", "k", "v"}) {
      OwnedTensor tensor = make_tensor(NF_FLOAT32, {1, 5, 6, 2, 4});
      for (size_t i = 0; i < tensor.bytes.size(); i += sizeof(float)) {
        const float value = values(random);
        std::memcpy(&tensor.bytes[i], &value, sizeof value);
      }
      inputs.emplace(name, std::move(tensor));
    }
    write_tensor_file(path("in.npz"), inputs);
  }
  std::string path(std::string_view name) const { return (directory_ / name).string(); }
  std::vector<float> read(std::string_view file, const std::string& name) const {
    const OwnedTensor tensor = open_tensor_file(path(file))->read(name);
    std::vector<float> values(tensor.bytes.size() / sizeof(float));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }
  Outcome run(const std::vector<std::string>& more, const std::string& window = "3") const {
    std::vector<std::string> arguments = {"run", "-i", path("in.npz"), "-k", window, "--boundary", "cut,wrap"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return nearfield(arguments);
  }
  TemporaryDirectory directory_;
};

TEST_F(RunUnfused, WritesWeightsBesideTheSameOutput) {
  ASSERT_EQ(run({"-o", path("fused.npz")}).status, 0);
  const std::vector<float> expected = read("fused.npz", "out");
  for (const char* engine : {"auto", "gemm", "naive", "reference"}) {
    const Outcome outcome = run({"--unfused", "--engine", engine, "-o", path("unfused.npz")});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(open_tensor_file(path("unfused.npz"))->read("weights").sizes, (std::vector<int64_t>{1, 5, 6, 2, 9}));
    const std::vector<float> out = read("unfused.npz", "out"), weights = read("unfused.npz", "weights");
    for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], expected[i], 2e-5);
    for (size_t row = 0; row < weights.size(); row += 9) {
      float sum = 0;
      for (size_t s = 0; s < 9; ++s) sum += weights[row + s];
      EXPECT_NEAR(sum, 1, 1e-5);
    }
    // The first row of queries sees two of three rows of keys.
    for (size_t s = 6; s < 9; ++s) EXPECT_EQ(weights[s], 0);
  }
}

TEST_F(RunUnfused, RefusesWhatItCannotDo) {
  const auto error = [&](std::vector<std::string> more, const std::string& window = "3") {
    more.emplace_back("--unfused");
    const Outcome outcome = run(more, window);
    EXPECT_NE(outcome.status, 0);
    return outcome.err;
  };
  const auto contains = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  contains(error({"-o", path("x.npy")}), "must be .npz or .safetensors to hold weights too");
  contains(error({"-o", path("x.npz"), "--engine", "cpu"}), "engine=cpu: has no explicit weights");
  contains(error({"-o", path("x.npz"), "--softcap", "2"}), "softcap=2: engine=gemm takes none");
  contains(error({"-o", path("x.npz"), "--backward"}), "unfused: must not come with --backward");
  contains(error({"-o", path("x.npz")}, "100000000"), "this machine has");
}

}  // namespace
}  // namespace nearfield::cli::testing
