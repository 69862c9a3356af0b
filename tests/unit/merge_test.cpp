// Merging through the C ABI: by hand, at its edges, and as what it is for: one softmax over two sets of keys.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "c_api_cases.h"
#include "nearfield/nearfield.hpp"

namespace {

namespace nf = nearfield;
using nearfield::test::kNan;
using nearfield::test::tensor;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One token, one head, two channels; part i has logsumexp ln(weight_i).
struct OneRow {
  std::vector<double> outs, lses, douts, dlses;
  std::vector<nf_tensor> tensors;
  std::vector<nf_merge_part> parts, gradients;
  std::vector<double> out = {kNan, kNan}, dout = {1, -1};
  double lse = kNan, dlse = 0.5;
  nf_tensor o = tensor(out.data(), NF_FLOAT64, {1, 1, 1, 2}), l = tensor(&lse, NF_FLOAT64, {1, 1, 1});
  nf_tensor d = tensor(dout.data(), NF_FLOAT64, {1, 1, 1, 2}), dl = tensor(&dlse, NF_FLOAT64, {1, 1, 1});

  OneRow(std::vector<double> rows, const std::vector<double>& weights) : outs(std::move(rows)) {
    const size_t count = weights.size();
    for (double weight : weights) lses.push_back(std::log(weight));
    douts.assign(2 * count, kNan);
    dlses.assign(count, kNan);
    for (size_t i = 0; i < count; ++i)
      for (double* memory : {&outs[2 * i], &lses[i], &douts[2 * i], &dlses[i]})
        tensors.push_back(memory == &lses[i] || memory == &dlses[i] ? tensor(memory, NF_FLOAT64, {1, 1, 1})
                                                                    : tensor(memory, NF_FLOAT64, {1, 1, 1, 2}));
    for (size_t i = 0; i < count; ++i) {
      parts.push_back({&tensors[4 * i], &tensors[4 * i + 1]});
      gradients.push_back({&tensors[4 * i + 2], &tensors[4 * i + 3]});
    }
  }
  OneRow(const OneRow&) = delete;

  nf_status forward() { return nf_merge(static_cast<int32_t>(parts.size()), parts.data(), nullptr, &o, &l); }
  nf_status backward() {
    return nf_merge_backward(static_cast<int32_t>(parts.size()), parts.data(), nullptr, &d, &dl, gradients.data());
  }
};

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected, double tolerance = 1e-15) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << i;
}

TEST(Merge, GivesTheHandComputedNumbers) {
  OneRow row({8, 0, 4, 2}, {1, 3});
  ASSERT_EQ(row.forward(), NF_OK) << nf_last_error();
  expect_near(row.out, {5, 1.5});
  EXPECT_NEAR(row.lse, std::log(4.0), 1e-15);
  // dout.out_i is 8 and 2, their mean 3.5; dlse_i = w_i (dout.out_i - 3.5 + 0.5).
  ASSERT_EQ(row.backward(), NF_OK) << nf_last_error();
  expect_near(row.douts, {0.25, -0.25, 0.75, -0.75});
  expect_near(row.dlses, {0.25 * 5, 0.75 * -1});
}

TEST(Merge, OnePartIsItself) {
  OneRow row({8, -3}, {5});
  ASSERT_EQ(row.forward(), NF_OK) << nf_last_error();
  EXPECT_EQ(row.out, row.outs);
  EXPECT_EQ(row.lse, row.lses[0]);
  ASSERT_EQ(row.backward(), NF_OK) << nf_last_error();
  EXPECT_EQ(row.douts, row.dout);
  EXPECT_EQ(row.dlses, std::vector<double>{0.5});
}

TEST(Merge, APartWithoutKeysCountsForNothing) {
  OneRow row({8, 0, kNan, kInfinity, 4, 2}, {1, 0, 3});
  ASSERT_EQ(row.forward(), NF_OK) << nf_last_error();
  expect_near(row.out, {5, 1.5});
  EXPECT_NEAR(row.lse, std::log(4.0), 1e-15);
  ASSERT_EQ(row.backward(), NF_OK) << nf_last_error();
  expect_near(row.douts, {0.25, -0.25, 0, 0, 0.75, -0.75});
  expect_near(row.dlses, {0.25 * 5, 0, 0.75 * -1});
}

TEST(Merge, NoKeysAtAll) {
  OneRow row({kNan, 1, kInfinity, 2}, {0, 0});
  ASSERT_EQ(row.forward(), NF_OK) << nf_last_error();
  EXPECT_EQ(row.out, std::vector<double>(2, 0.0));
  EXPECT_EQ(row.lse, -kInfinity);
  row.dout[0] = kNan;  // of a row that is constant
  ASSERT_EQ(row.backward(), NF_OK) << nf_last_error();
  EXPECT_EQ(row.douts, std::vector<double>(4, 0.0));
  EXPECT_EQ(row.dlses, std::vector<double>(2, 0.0));
}

TEST(Merge, NanIsNotLost) {
  OneRow of_out({8, kNan, 4, 2}, {1, 3});
  ASSERT_EQ(of_out.forward(), NF_OK) << nf_last_error();
  EXPECT_NEAR(of_out.out[0], 5, 1e-15);
  EXPECT_TRUE(std::isnan(of_out.out[1]));
  for (size_t place : {0, 1}) {
    for (double other : {3.0, 0.0}) {
      OneRow row({8, 0, 4, 2}, {other, other});
      row.lses[place] = kNan;
      ASSERT_EQ(row.forward(), NF_OK) << nf_last_error();
      EXPECT_TRUE(std::isnan(row.out[0]) && std::isnan(row.out[1]) && std::isnan(row.lse)) << place << " " << other;
    }
  }
}

TEST(Merge, LargeLogsumexpsDoNotOverflow) {
  for (double shift : {1000.0, -1000.0}) {
    OneRow row({8, 0, 4, 2}, {1, 3});
    for (double& lse : row.lses) lse += shift;
    ASSERT_EQ(row.forward(), NF_OK) << nf_last_error();
    expect_near(row.out, {5, 1.5}, 1e-12);
    EXPECT_NEAR(row.lse, shift + std::log(4.0), 1e-12);
  }
}

TEST(Merge, AnEmptyBatchSucceeds) {
  const nf_tensor out = tensor(nullptr, NF_FLOAT32, {0, 4, 4, 2, 8}), lse = tensor(nullptr, NF_FLOAT32, {0, 4, 4, 2});
  const nf_merge_part part = {&out, &lse};
  EXPECT_EQ(nf_merge(1, &part, nullptr, &out, &lse), NF_OK) << nf_last_error();
  EXPECT_EQ(nf_merge_backward(1, &part, nullptr, &out, nullptr, &part), NF_OK) << nf_last_error();
}

// ---- errors
// ----------------------------------------------------------------------------------------------------------

// Two parts of 2 images of 3 x 4 tokens, 2 heads of 5 channels; each test breaks one thing.
struct Call {
  std::vector<float> memory = std::vector<float>(4000, 0.5F);
  size_t used = 0;
  nf_tensor outs[2], lses[2], douts[2], dlses[2], out, lse, dout, dlse;
  nf_merge_part parts[2], gradients[2];
  int32_t count = 2;
  nf_options options = nf_default_options();
  const nf_merge_part* given = parts;
  const nf_merge_part* wanted = gradients;

  Call() {
    for (nf_tensor* t : {&outs[0], &outs[1], &douts[0], &douts[1], &out, &dout}) *t = take({2, 3, 4, 2, 5});
    for (nf_tensor* t : {&lses[0], &lses[1], &dlses[0], &dlses[1], &lse, &dlse}) *t = take({2, 3, 4, 2});
    for (size_t i : {0, 1}) parts[i] = {&outs[i], &lses[i]}, gradients[i] = {&douts[i], &dlses[i]};
  }
  Call(const Call&) = delete;
  nf_tensor take(std::initializer_list<int64_t> sizes) {
    const nf_tensor result = tensor(memory.data() + used, NF_FLOAT32, sizes);
    used += static_cast<size_t>(result.strides[0] * result.sizes[0]);
    return result;
  }
  std::string forward() { return message(nf_merge(count, given, &options, &out, &lse)); }
  std::string backward() { return message(nf_merge_backward(count, given, &options, &dout, &dlse, wanted)); }
  static std::string message(nf_status status) {
    EXPECT_TRUE(status == NF_OK || status == NF_INVALID_ARGUMENT);
    return status == NF_OK ? "" : nf_last_error();
  }
};

template <class Change>
void expect_both(const std::string& message, const Change& change) {
  Call call;
  change(call);
  EXPECT_EQ(call.forward(), message);
  EXPECT_EQ(call.backward(), message);
}

TEST(Merge, NamesWhatIsWrongWithThePartsOfEitherPass) {
  expect_both("", [](Call&) {});
  expect_both("count=0: must be at least 1", [](Call& c) { c.count = 0; });
  expect_both("count=17: must be at most 16", [](Call& c) { c.count = 17; });
  expect_both("parts: must not be NULL", [](Call& c) { c.given = nullptr; });
  expect_both("parts[1].out: must not be NULL", [](Call& c) { c.parts[1].out = nullptr; });
  expect_both("parts[1].logsumexp: must not be NULL", [](Call& c) { c.parts[1].logsumexp = nullptr; });
  expect_both("parts[0].out.rank=3: must be 4, 5 or 6 (batch, *grid, heads, head_dim_v)",
              [](Call& c) { c.outs[0].rank = 3; });
  expect_both("parts[0].out.rank=-1: must be 4, 5 or 6 (batch, *grid, heads, head_dim_v)",
              [](Call& c) { c.outs[0].rank = -1; });
  expect_both("parts[0].out.sizes[0]=-1 (batch): must be at least 0", [](Call& c) { c.outs[0].sizes[0] = -1; });
  expect_both("parts[0].out.sizes[3]=0 (heads): must be at least 1", [](Call& c) { c.outs[0].sizes[3] = 0; });
  expect_both("parts[0].out.sizes[4]=513 (head_dim_v): must be at most 512", [](Call& c) { c.outs[0].sizes[4] = 513; });
  expect_both("parts[1].out.sizes[2]=5 (axis 1): must be 4, as in parts[0].out",
              [](Call& c) { c.outs[1].sizes[2] = 5; });
  expect_both("parts[0].logsumexp.sizes[3]=1 (heads): must be 2, as in parts[0].out",
              [](Call& c) { c.lses[0].sizes[3] = 1; });
  expect_both("parts[0].out.dtype=bool: must be float64 (0), float32 (1), bfloat16 (2) or float16 (3)",
              [](Call& c) { c.outs[0].dtype = NF_BOOL; });
  expect_both("parts[1].out.dtype=float16: must be float32, as in parts[0].out",
              [](Call& c) { c.outs[1].dtype = NF_FLOAT16; });
  expect_both("parts[1].logsumexp.dtype=float64: must be float32 unless out is float64",
              [](Call& c) { c.lses[1].dtype = NF_FLOAT64; });
  expect_both("parts[1].out.strides[4]=2 (head_dim_v): must be 1", [](Call& c) { c.outs[1].strides[4] = 2; });
  expect_both("parts[1].out.data: must not be NULL", [](Call& c) { c.outs[1].data = nullptr; });
  expect_both("num_threads=-1: must be at least 0", [](Call& c) { c.options.num_threads = -1; });
}

TEST(Merge, NamesWhatIsWrongWithTheOutputs) {
  const std::string rule = ": an output must not share memory with an input or another output";
  const auto expect_forward = [](const std::string& message, void (*change)(Call&)) {
    Call call;
    change(call);
    EXPECT_EQ(call.forward(), message);
  };
  const auto expect_backward = [](const std::string& message, void (*change)(Call&)) {
    Call call;
    change(call);
    EXPECT_EQ(call.backward(), message);
  };
  expect_forward("out.sizes[4]=4 (head_dim_v): must be 5, as in parts[0].out", [](Call& c) { c.out.sizes[4] = 4; });
  expect_forward("out: overlaps parts[1].out" + rule, [](Call& c) { c.out.data = c.outs[1].data; });
  expect_forward("logsumexp: overlaps parts[0].logsumexp" + rule, [](Call& c) { c.lse.data = c.lses[0].data; });
  expect_backward("gradients: must not be NULL", [](Call& c) { c.wanted = nullptr; });
  expect_backward("dout.rank=4: must be 5 (batch, axis 0, axis 1, heads, head_dim_v)",
                  [](Call& c) { c.dout.rank = 4; });
  expect_backward("dlogsumexp.dtype=float16: must be float32 unless out is float64",
                  [](Call& c) { c.dlse.dtype = NF_FLOAT16; });
  expect_backward("gradients[1].logsumexp.sizes[0]=3 (batch): must be 2, as in parts[0].out",
                  [](Call& c) { c.dlses[1].sizes[0] = 3; });
  expect_backward("gradients[1].out: overlaps dout" + rule, [](Call& c) { c.douts[1].data = c.dout.data; });
  expect_backward("gradients[1].out: overlaps gradients[0].out" + rule,
                  [](Call& c) { c.douts[1].data = c.douts[0].data; });
  // Inputs may coincide.
  expect_both("", [](Call& c) { c.parts[1] = c.parts[0]; });
}

}  // namespace
