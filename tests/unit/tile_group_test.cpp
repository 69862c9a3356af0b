// Windows that don't fit in the near caches: the tile kernel takes tiles in groups, side by side. Channels are as many
// as may be, so that the problems can be small; the property tests have the rest, where each tile goes alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "nearfield/nearfield.hpp"
#include "runnable_isas.h"

namespace nearfield::test {
namespace {

constexpr int64_t kChannels = 512;  // a key and its value take 4 KB

struct Case {
  const char* name;
  Neighborhood pattern;
  std::vector<int64_t> grid;
  int64_t heads = 1, heads_kv = 1, additional = 0;
};

std::vector<Case> cases() {
  return {{"1-D", Neighborhood({90}), {200}},
          {"1-D, causal", Neighborhood({120}).causal({true}), {220}},
          {"1-D, a last group of fewer tiles", Neighborhood({80}).boundary({NF_CUT}), {145}},
          {"1-D, around the seam", Neighborhood({90}).boundary({NF_WRAP}), {150}},
          {"classes of two lengths", Neighborhood({70}).dilation({2}), {171}},
          {"2-D", Neighborhood({9, 10}), {12, 20}},
          {"2-D, stride", Neighborhood({10, 10}).stride({2, 4}), {12, 20}},
          {"2-D, on a torus", Neighborhood({9, 9}).boundary({NF_WRAP, NF_WRAP}), {11, 19}},
          {"3-D", Neighborhood({3, 5, 6}), {4, 6, 9}},
          {"everything, two images' worth of heads", Neighborhood({8, 24}), {8, 24}, 2, 1},
          {"additional keys", Neighborhood({100}), {130}, 1, 1, 7}};
}

struct Results {
  std::vector<float> out, logsumexp;
};

class Attention {
 public:
  explicit Attention(const Case& each) : case_(each) {
    std::mt19937_64 random(5);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& data, int64_t rows) {
      data.resize(static_cast<size_t>(rows * kChannels));
      for (float& x : data) x = normal(random);
    };
    tokens_ = 1;
    for (const int64_t length : each.grid) tokens_ *= length;
    fill(query_, tokens_ * each.heads);
    fill(key_, tokens_ * each.heads_kv), fill(value_, tokens_ * each.heads_kv);
    fill(more_keys_, each.additional * each.heads_kv), fill(more_values_, each.additional * each.heads_kv);
  }

  int64_t tokens() const { return tokens_; }
  float& value(int64_t token) { return value_[static_cast<size_t>(token * case_.heads_kv * kChannels)]; }

  Results run(const Options& options) {
    const float poison = std::numeric_limits<float>::quiet_NaN();
    Results result;
    result.out.assign(query_.size(), poison);
    result.logsumexp.assign(query_.size() / kChannels, poison);
    Modifiers modifiers;
    if (case_.additional > 0) {
      modifiers.additional_keys = Tensor::of(more_keys_, {1, case_.additional, case_.heads_kv, kChannels});
      modifiers.additional_values = Tensor::of(more_values_, {1, case_.additional, case_.heads_kv, kChannels});
    }
    forward(case_.pattern, of(query_, case_.heads), of(key_, case_.heads_kv), of(value_, case_.heads_kv),
            of(result.out, case_.heads), Tensor::of(result.logsumexp, sizes(case_.heads)), options, modifiers);
    return result;
  }

 private:
  std::vector<int64_t> sizes(int64_t heads) const {
    std::vector<int64_t> all = {1};
    all.insert(all.end(), case_.grid.begin(), case_.grid.end());
    all.push_back(heads);
    return all;
  }
  Tensor of(std::vector<float>& data, int64_t heads) const {
    std::vector<int64_t> all = sizes(heads);
    all.push_back(kChannels);
    return Tensor::of(data, all);
  }

  const Case case_;
  int64_t tokens_;
  std::vector<float> query_, key_, value_, more_keys_, more_values_;
};

Options tile(nf_isa isa, int threads) {
  return Options().with_kernel(NF_KERNEL_TILE).with_isa(isa).with_threads(threads);
}

TEST(TileGroup, AgreesWithTheReferenceAndDoesNotDependOnThreads) {
  for (const Case& each : cases()) {
    Attention attention(each);
    const Results expected = attention.run(Options().with_engine(NF_ENGINE_REFERENCE));
    for (const nf_isa isa : runnable_isas()) {
      const Results found = attention.run(tile(isa, 1));
      double error = 0;
      for (size_t i = 0; i < found.out.size(); ++i) {
        const double difference = std::abs(static_cast<double>(found.out[i]) - static_cast<double>(expected.out[i]));
        error = difference <= error ? error : difference;  // NaN stays
      }
      EXPECT_TRUE(error <= 3e-6) << each.name << ": off by " << error;
      for (size_t i = 0; i < found.logsumexp.size(); ++i)
        EXPECT_NEAR(found.logsumexp[i], expected.logsumexp[i], 1e-4) << each.name;
      // Other tasks, other groups.
      for (const int threads : {2, 3}) {
        const Results again = attention.run(tile(isa, threads));
        EXPECT_EQ(0, std::memcmp(found.out.data(), again.out.data(), found.out.size() * sizeof(float))) << each.name;
      }
    }
  }
}

// A value that is no number reaches those queries that see it and leaves the others' bits alone, whichever group or
// tile they share with those.
TEST(TileGroup, NaNStaysWithTheQueriesThatSeeIt) {
  const std::vector<Case> all = cases();
  for (const Case& each : {all[3], all[7], all[8], all[10]}) {
    Attention attention(each);
    for (const nf_isa isa : runnable_isas()) {
      const int64_t token = attention.tokens() / 2 + 1;
      float& value = attention.value(token);
      const float kept = value;
      const Results clean = attention.run(tile(isa, 1));
      value = std::numeric_limits<float>::quiet_NaN();
      const Results expected = attention.run(Options().with_engine(NF_ENGINE_REFERENCE));
      const Results found = attention.run(tile(isa, 1));
      value = kept;
      int64_t seeing = 0;
      for (size_t i = 0; i < found.out.size(); ++i) {
        ASSERT_EQ(std::isnan(found.out[i]), std::isnan(expected.out[i])) << each.name << ", element " << i;
        if (std::isnan(found.out[i]))
          ++seeing;
        else
          ASSERT_EQ(found.out[i], clean.out[i]) << each.name << ", element " << i;
      }
      EXPECT_GT(seeing, 0) << each.name;
    }
  }
}

}  // namespace
}  // namespace nearfield::test
