// `nearfield run --backward` and `explain --backward`.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "io_samples.h"
#include "process.h"

namespace nearfield::cli::testing {
namespace {

OwnedTensor normal(const std::vector<int64_t>& sizes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> values;
  OwnedTensor tensor = make_tensor(NF_FLOAT32, sizes);
  for (size_t i = 0; i < tensor.bytes.size(); i += sizeof(float)) {
    const float value = values(random);
    std::memcpy(&tensor.bytes[i], &value, sizeof value);
  }
  return tensor;
}

class RunBackward : public ::testing::Test {
 protected:
  std::string path(std::string_view name) const { return (directory_ / name).string(); }
  OwnedTensor read(std::string_view file, const std::string& name) const {
    return open_tensor_file(path(file))->read(name);
  }
  void write_inputs(const std::vector<int64_t>& sizes, bool with_dout) const {
    TensorMap inputs = {{"q", normal(sizes, 1)}, {"k", normal(sizes, 2)}, {"v", normal(sizes, 3)}};
    if (with_dout) inputs.emplace("dout", normal(sizes, 4));
    write_tensor_file(path("in.npz"), inputs);
  }
  TemporaryDirectory directory_;
};

// Relative L2, float32.
double difference(const OwnedTensor& a, const OwnedTensor& b) {
  EXPECT_EQ(a.sizes, b.sizes);
  EXPECT_EQ(a.bytes.size(), b.bytes.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i + sizeof(float) <= std::min(a.bytes.size(), b.bytes.size()); i += sizeof(float)) {
    float x = 0, y = 0;
    std::memcpy(&x, &a.bytes[i], sizeof x);
    std::memcpy(&y, &b.bytes[i], sizeof y);
    error += std::pow(static_cast<double>(x) - static_cast<double>(y), 2);
    norm += std::pow(static_cast<double>(y), 2);
  }
  return std::sqrt(error / norm);
}

TEST_F(RunBackward, AgreesWithTheReferenceInEitherLayout) {
  for (const std::string layout : {"heads-last", "heads-first"}) {
    const std::vector<int64_t> sizes =
        layout == "heads-last" ? std::vector<int64_t>{2, 6, 9, 2, 16} : std::vector<int64_t>{2, 2, 6, 9, 16};
    write_inputs(sizes, true);
    for (const std::string engine : {"cpu", "reference"}) {
      const Outcome outcome = nearfield({"run", "--backward", "--input", path("in.npz"), "-k", "3,5", "--layout",
                                         layout, "--engine", engine, "--out", path(engine + ".npz")});
      EXPECT_EQ(outcome.status, 0) << outcome.err;
      EXPECT_NE(outcome.out.find("dkey, dquery, dvalue, logsumexp, out; backward "), std::string::npos) << outcome.out;
    }
    for (const char* name : {"out", "logsumexp", "dquery", "dkey", "dvalue"}) {
      const double error = difference(read("cpu.npz", name), read("reference.npz", name));
      EXPECT_TRUE(error <= 1e-5) << layout << " " << name << ": " << error;
    }
    EXPECT_EQ(read("cpu.npz", "dkey").sizes, sizes);
  }
}

TEST_F(RunBackward, SaysWhatIsMissing) {
  write_inputs({1, 8, 8, 2, 16}, false);
  const auto expect_refused = [&](const std::vector<std::string>& arguments, const std::string& message) {
    std::vector<std::string> all = {"run", "--input", path("in.npz"), "-k", "3"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const Outcome outcome = nearfield(all);
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_NE(outcome.err.find(message), std::string::npos) << outcome.err;
  };
  expect_refused({"--backward", "--out", path("g.npz")}, "dout: is missing: --backward takes it as --dout FILE");
  expect_refused({"--backward", "--out", path("g.npy")}, "must be .npz or .safetensors to hold several gradients");
  expect_refused({"--dout", path("in.npz") + ":q", "--out", path("o.npy")}, "dout: is for --backward");
}

TEST_F(RunBackward, IsExplained) {
  const Outcome outcome = nearfield({"explain", "--backward", "--shape", "1,8,8,2,16", "-k", "3"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("one pass over the pairs"), std::string::npos) << outcome.out;
}

}  // namespace
}  // namespace nearfield::cli::testing
