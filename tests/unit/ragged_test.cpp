// Ragged batches by hand, at their edges, and each of their errors; that they equal single calls on random problems is
// a property test's.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "c_api_cases.h"
#include "nearfield/nearfield.hpp"

namespace {

namespace nf = nearfield;
using nearfield::test::kNan;
using nearfield::test::no_modifiers;
using nearfield::test::reference_options;
using nearfield::test::tensor;

// ---- by hand -----------------------------------------------------------------------------------------------------

// Three sequences of 4, 0 and 3 tokens, windows of three, one channel, query 1 and key ln(w): the weights of a window
// are w itself. The first sequence is that of HandComputed; in the last all see 1 2 3, whose sum is 6.
struct Sequences {
  std::vector<double> query = std::vector<double>(7, 1.0), value = {6, 0, 3, 9, 6, 0, 3}, key;
  std::vector<double> out = std::vector<double>(7, kNan), lse = out, dout = std::vector<double>(7, 1.0);
  nf::Neighborhood pattern = nf::neighborhood({3});
  nf::Ragged ragged = {1, {4, 0, 3}};
  nf::Options options = nf::Options().with_engine(NF_ENGINE_REFERENCE);

  Sequences() {
    for (double w : {1, 2, 3, 4, 1, 2, 3}) key.push_back(std::log(w));
  }
  static nf::Tensor view(const std::vector<double>& memory) { return nf::Tensor::of(memory, {7, 1, 1}); }
  nf::Tensor lse_view() const { return nf::Tensor::of(lse, {7, 1}); }
  void forward(const nf::Modifiers& modifiers = {}) {
    nf::forward_ragged(pattern, ragged, view(query), view(key), view(value), view(out), lse_view(), options, modifiers);
  }
  void backward(const nf::Gradients& gradients, const nf::Modifiers& modifiers = {}) {
    nf::backward_ragged(pattern, ragged, view(query), view(key), view(value), view(out), lse_view(), view(dout),
                        gradients, {}, options, modifiers);
  }
};

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-14) << i;
}

TEST(Ragged, GivesTheHandComputedNumbers) {
  for (nf_engine engine : {NF_ENGINE_REFERENCE, NF_ENGINE_CPU}) {
    Sequences s;
    s.options.engine = engine;
    s.forward();
    expect_near(s.out, {2.5, 2.5, 5, 5, 2.5, 2.5, 2.5});
    const double six = std::log(6.0), nine = std::log(9.0);
    expect_near(s.lse, {six, six, nine, nine, six, six, six});
  }
}

TEST(Ragged, GivesTheHandComputedGradients) {
  Sequences s;
  s.forward();
  std::vector<double> dvalue(7, kNan);
  s.backward({.value = Sequences::view(dvalue)});
  // dout = 1: dV_j = sum_i P_ij.
  expect_near(dvalue, {1.0 / 3, 10.0 / 9, 5.0 / 3, 8.0 / 9, 0.5, 1, 1.5});
}

TEST(Ragged, AdditionalKeysBelongToTheirPiece) {
  Sequences s;
  // Weights 6, 1 and 6 with values 12, 1000 and 24; the second piece has no query.
  std::vector<double> keys = {std::log(6.0), 0, std::log(6.0)}, values = {12, 1000, 24};
  const nf::Modifiers more = {.additional_keys = nf::Tensor::of(keys, {3, 1, 1, 1}),
                              .additional_values = nf::Tensor::of(values, {3, 1, 1, 1})};
  s.forward(more);
  expect_near(s.out, {7.25, 7.25, 7.8, 7.8, 13.25, 13.25, 13.25});
  std::vector<double> dvalues(3, kNan);
  s.backward({.additional_values = nf::Tensor::of(dvalues, {3, 1, 1, 1})}, more);
  expect_near(dvalues, {2 * 0.5 + 2 * 0.4, 0, 3 * 0.5});
}

TEST(Ragged, BiasGradientsAddUp) {
  Sequences s;
  const std::vector<double> bias(5, 0.0);
  std::vector<double> dbias(5, kNan), first(5, kNan), last(5, kNan);
  const nf::Modifiers with_bias = {.bias = nf::Tensor::of(bias, {1, 5})};
  s.forward(with_bias);
  s.backward({.bias = nf::Tensor::of(dbias, {1, 5})}, with_bias);
  const auto alone = [&](size_t begin, int64_t count, std::vector<double>& gradient) {
    const auto part = [&](const std::vector<double>& memory) {
      return nf::Tensor::of(memory.data() + begin, {1, count, 1, 1});
    };
    nf::backward(s.pattern, part(s.query), part(s.key), part(s.value), part(s.out),
                 nf::Tensor::of(s.lse.data() + begin, {1, count, 1}), part(s.dout),
                 {.bias = nf::Tensor::of(gradient, {1, 5})}, {}, s.options, with_bias);
  };
  alone(0, 4, first);
  alone(4, 3, last);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(dbias[i], first[i] + last[i]) << i;
  EXPECT_NE(dbias[0], 0);
}

// The gradients of few pieces fit beside each other where the bias is huge: they are added in turns.
TEST(Ragged, HugeBiasGradientsAddUpInTurns) {
  constexpr int64_t kWindow = 1 << 20, kEntries = 2 * kWindow - 1, kPieces = 11;
  const std::vector<double> ones(3 * kPieces, 1.0), bias(kEntries, 0.0);
  std::vector<double> value, out(ones.size(), kNan), lse(ones.size(), kNan), dbias(kEntries, kNan);
  for (size_t i = 0; i < ones.size(); ++i) value.push_back(static_cast<double>(i % 3));  // 0 1 2 in each piece
  const auto view = [](const std::vector<double>& memory) { return nf::Tensor::of(memory, {3 * kPieces, 1, 1}); };
  const auto lse_view = nf::Tensor::of(lse, {3 * kPieces, 1});
  const nf::Ragged ragged(1, std::vector<int64_t>(kPieces, 3));
  const nf::Modifiers with_bias = {.bias = nf::Tensor::of(bias, {1, kEntries})};
  const auto options = nf::Options().with_engine(NF_ENGINE_REFERENCE).with_threads(2);
  nf::forward_ragged(nf::neighborhood({kWindow}), ragged, view(ones), view(ones), view(value), view(out), lse_view,
                     options, with_bias);
  nf::backward_ragged(nf::neighborhood({kWindow}), ragged, view(ones), view(ones), view(value), view(out), lse_view,
                      view(ones), {.bias = nf::Tensor::of(dbias, {1, kEntries})}, {}, options, with_bias);
  // dS_ij = P_ij (v_j - out_i) = (v_j - 1) / 3: -1/3 for the first key, 1/3 for the last.
  const std::array<double, 5> expected = {-1.0 / 3, -1.0 / 3, 0, 1.0 / 3, 1.0 / 3};
  for (int64_t offset = -2; offset <= 2; ++offset)
    EXPECT_NEAR(dbias[static_cast<size_t>(offset + kWindow - 1)], kPieces * expected[static_cast<size_t>(offset + 2)],
                1e-13)
        << offset;
  EXPECT_EQ(dbias.front(), 0);
  EXPECT_EQ(dbias.back(), 0);
}

TEST(Ragged, TheHostsThreadsGiveTheSameBits) {
  std::vector<float> memory(200 * 8);
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = std::sin(0.7F * static_cast<float>(i));
  std::vector<float> expected(memory.size(), static_cast<float>(kNan)), out = expected;
  const auto view = [](const std::vector<float>& m) { return nf::Tensor::of(m, {200, 1, 8}); };
  // One large piece, which all threads share, and many small ones.
  const nf::Ragged ragged(2, {10, 12, 2, 2, 1, 6, 0, 5, 3, 3, 1, 3, 4, 4, 2, 7, 7, 4});
  ASSERT_EQ(ragged.tokens(), 200);
  nf::forward_ragged(nf::neighborhood({3, 3}), ragged, view(memory), view(memory), view(memory), view(expected), {},
                     nf::Options().with_threads(1));
  int64_t indices = 0;
  auto run = [&](int64_t count, auto body) {
    indices += count;
    for (int64_t i = count - 1; i >= 0; --i) body(i);
  };
  nf::forward_ragged(nf::neighborhood({3, 3}), ragged, view(memory), view(memory), view(memory), view(out), {},
                     nf::Options().with_threads(3).with_parallel_for(run));
  EXPECT_EQ(out, expected);
  EXPECT_GE(indices, 8);
}

TEST(Ragged, NoPiecesAndNoTokens) {
  const nf_ragged none = {sizeof(nf_ragged), 0, nullptr, nullptr};
  const std::vector<double> bias(5, 0.0);
  std::vector<double> dbias(5, kNan);
  const nf::Tensor empty(nullptr, NF_FLOAT64, {0, 1, 1}), empty_lse(nullptr, NF_FLOAT64, {0, 1});
  const nf::Tensor b = nf::Tensor::of(bias, {1, 5}), db = nf::Tensor::of(dbias, {1, 5});
  const nf::Neighborhood pattern({3});
  nf_modifiers modifiers = no_modifiers();
  modifiers.bias = &b;
  nf_gradients gradients = {};
  gradients.struct_size = sizeof gradients;
  gradients.bias = &db;
  EXPECT_EQ(nf_forward_ragged(pattern, &none, &empty, &empty, &empty, &modifiers, nullptr, &empty, &empty_lse), NF_OK)
      << nf_last_error();
  const nf::Ragged two(1, {0, 0});
  for (const nf_ragged& ragged : {none, two.lower(pattern)}) {
    dbias.assign(5, kNan);
    EXPECT_EQ(nf_backward_ragged(pattern, &ragged, &empty, &empty, &empty, &modifiers, nullptr, &empty, &empty_lse,
                                 &empty, nullptr, &gradients),
              NF_OK)
        << nf_last_error();
    EXPECT_EQ(dbias, std::vector<double>(5, 0.0));
  }
}

TEST(Ragged, TheCppFaceChecksItsLists) {
  const nf::Tensor t(nullptr, NF_FLOAT32, {0, 1, 1});
  const auto message_of = [&](auto&& body) -> std::string {
    try {
      body();
    } catch (const nf::Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_EQ(message_of([&] { nf::Ragged(2, {4, 5, 6}); }), "grids: has 3 values: must have 2 for each piece");
  EXPECT_EQ(message_of([&] {
              nf::forward_ragged(nf::neighborhood({3, 3}), nf::Ragged(1, {0, 0}), t, t, t, t);
            }),
            "ragged: has grids of 1 axes: must have the pattern's 2");
  EXPECT_EQ(message_of([&] { nf::forward_ragged(nf::neighborhood({3}), nf::Ragged(1, {-4}), t, t, t, t); }),
            "grids[0][0]=-4: must be at least 0");
  EXPECT_EQ(nf::Ragged(2, {3, 4, 0, 7, 1, 2}).token_offsets(), (std::vector<int64_t>{0, 12, 12, 14}));
}

}  // namespace
