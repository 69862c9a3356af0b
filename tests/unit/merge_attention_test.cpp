// What merging is for: neighborhood attention to one set of keys, attention to all of another set, merged. It must be
// the one softmax over both, which the reference engine computes with the second set as additional keys; and so must
// the gradients, which reach each attention through its dout and dlogsumexp.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "c_api_cases.h"
#include "check/random.h"
#include "nearfield/nearfield.hpp"

namespace {

namespace nf = nearfield;
using nearfield::core::Random;
using nearfield::test::kNan;

constexpr int64_t kBatch = 2, kHeight = 4, kWidth = 5, kHeads = 4, kHeadsKv = 2, kDim = 8, kDimV = 6;

template <class T>
struct Array {
  std::vector<T> memory;
  nf::Tensor view;
  Array(int64_t heads, int64_t channels, Random* random)
      : memory(static_cast<size_t>(kBatch * kHeight * kWidth * heads * channels), static_cast<T>(kNan)),
        view(nf::Tensor::of(memory, shape(heads, channels))) {
    if (random != nullptr)
      for (T& value : memory) value = static_cast<T>(random->normal());
  }
  Array(const Array&) = delete;
  // channels 1 and no such dimension: (batch, *grid, heads).
  static std::vector<int64_t> shape(int64_t heads, int64_t channels) {
    if (channels == 1) return {kBatch, kHeight, kWidth, heads};
    return {kBatch, kHeight, kWidth, heads, channels};
  }
  // The grid's tokens as additional keys: (batch, M, heads_kv, channels).
  nf::Tensor as_additional(int64_t channels) const {
    return nf::Tensor::of(memory, {kBatch, kHeight * kWidth, kHeadsKv, channels});
  }
};

template <class T>
struct Attention {
  nf::Neighborhood pattern;
  Array<T> key, value, out{kHeads, kDimV, nullptr}, lse{kHeads, 1, nullptr};
  Array<T> dquery{kHeads, kDim, nullptr}, dkey{kHeadsKv, kDim, nullptr}, dvalue{kHeadsKv, kDimV, nullptr};
  Array<T> dout{kHeads, kDimV, nullptr}, dlse{kHeads, 1, nullptr};  // from the merge
  Attention(std::initializer_list<int64_t> window, Random& random)
      : pattern(window), key(kHeadsKv, kDim, &random), value(kHeadsKv, kDimV, &random) {}

  void forward(const Array<T>& query, nf_engine engine) {
    nf::forward(pattern, query.view, key.view, value.view, out.view, lse.view, nf::Options().with_engine(engine));
  }
  void backward(const Array<T>& query) {
    nf::backward(pattern, query.view, key.view, value.view, out.view, lse.view, dout.view,
                 {.query = dquery.view, .key = dkey.view, .value = dvalue.view}, dlse.view,
                 nf::Options().with_engine(NF_ENGINE_REFERENCE));
  }
};

template <class T>
void expect_near(const char* name, const std::vector<T>& actual, const std::vector<T>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size()) << name;
  for (size_t i = 0; i < actual.size(); ++i)
    if (!(std::fabs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])) <= tolerance)) {
      ADD_FAILURE() << name << "[" << i << "] is " << actual[i] << ", must be " << expected[i];
      return;
    }
}

template <class T>
void two_sources_are_one_softmax(nf_engine engine, double tolerance) {
  Random random(7);
  const Array<T> query(kHeads, kDim, &random), dout(kHeads, kDimV, &random), dlse(kHeads, 1, &random);
  // A: the neighbours. B: every token of another grid; windows larger than their axes.
  Attention<T> a({3, 3}, random), b({9, 9}, random);
  Array<T> out(kHeads, kDimV, nullptr), lse(kHeads, 1, nullptr);
  for (Attention<T>* part : {&a, &b}) part->forward(query, engine);
  const nf::MergePart parts[2] = {{a.out.view, a.lse.view}, {b.out.view, b.lse.view}};
  nf::merge(parts, out.view, lse.view);
  nf::merge_backward(parts, dout.view, {{a.dout.view, a.dlse.view}, {b.dout.view, b.dlse.view}}, dlse.view);
  for (Attention<T>* part : {&a, &b}) part->backward(query);

  Attention<T> both({3, 3}, random);
  Array<T> expected_dkey(kHeadsKv, kDim, nullptr), expected_dvalue(kHeadsKv, kDimV, nullptr);
  const nf::Modifiers more = {.additional_keys = b.key.as_additional(kDim),
                              .additional_values = b.value.as_additional(kDimV)};
  const auto reference = nf::Options().with_engine(NF_ENGINE_REFERENCE);
  nf::forward(both.pattern, query.view, a.key.view, a.value.view, both.out.view, both.lse.view, reference, more);
  nf::backward(both.pattern, query.view, a.key.view, a.value.view, both.out.view, both.lse.view, dout.view,
               {.query = both.dquery.view,
                .key = both.dkey.view,
                .value = both.dvalue.view,
                .additional_keys = expected_dkey.as_additional(kDim),
                .additional_values = expected_dvalue.as_additional(kDimV)},
               dlse.view, reference, more);

  expect_near("out", out.memory, both.out.memory, tolerance);
  expect_near("logsumexp", lse.memory, both.lse.memory, tolerance);
  // Each attention has its own gradient of the query they share.
  std::vector<T> dquery = a.dquery.memory;
  for (size_t i = 0; i < dquery.size(); ++i) dquery[i] += b.dquery.memory[i];
  expect_near("dquery", dquery, both.dquery.memory, tolerance);
  expect_near("dkey of a", a.dkey.memory, both.dkey.memory, tolerance);
  expect_near("dvalue of a", a.dvalue.memory, both.dvalue.memory, tolerance);
  expect_near("dkey of b", b.dkey.memory, expected_dkey.memory, tolerance);
  expect_near("dvalue of b", b.dvalue.memory, expected_dvalue.memory, tolerance);
}

TEST(MergeAttention, TwoSourcesAreOneSoftmaxInFloat64) {
  two_sources_are_one_softmax<double>(NF_ENGINE_REFERENCE, 1e-13);
}

TEST(MergeAttention, TwoSourcesAreOneSoftmaxOnTheFastEngine) {
  two_sources_are_one_softmax<float>(NF_ENGINE_CPU, 2e-5);
  two_sources_are_one_softmax<double>(NF_ENGINE_CPU, 1e-12);
}

TEST(MergeAttention, TheCppFaceCountsItsGradients) {
  std::vector<float> memory(2 * 4 * 3 * 8);
  const auto out = nf::Tensor::of(memory, {2, 4, 3, 8}), lse = nf::Tensor(memory.data(), NF_FLOAT32, {2, 4, 3});
  try {
    nf::merge_backward({{out, lse}, {out, lse}}, out, {{.logsumexp = lse}});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const nf::Error& error) {
    EXPECT_STREQ(error.what(), "gradients: has 1 values: must have one for each of the 2 parts");
  }
  try {
    nf::merge({}, out);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const nf::Error& error) {
    EXPECT_STREQ(error.what(), "count=0: must be at least 1");
  }
}

}  // namespace
