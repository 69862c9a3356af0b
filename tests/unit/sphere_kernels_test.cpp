// Both kernels on the sphere, alone and sharing the latitudes, against the reference: on grids and channels where each
// of their ways with arcs is taken. The property tests have the rest, on smaller ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "nearfield/nearfield.hpp"
#include "runnable_isas.h"

namespace nearfield::test {
namespace {

struct Case {
  const char* name;
  Sphere sphere;
  int64_t channels;
  double softcap = 0;
  int64_t additional = 0;
};

std::vector<Case> cases() {
  const double step = std::numbers::pi / 24;
  return {{"a few keys, their scores one vector", Sphere({25, 48}), 64},
          {"a few keys, channels no whole vectors", Sphere({25, 48}), 20},
          {"a few keys, channels of many vectors", Sphere({17, 32}), 160},
          {"a few keys and softcap", Sphere({25, 48}), 32, 5},
          {"a few keys and additional ones", Sphere({25, 48}), 64, 0, 3},
          {"discs", Sphere({25, 48}).cutoff(3.95 * step), 64},
          {"discs, narrow rows", Sphere({25, 49}).cutoff(2.5 * step), 8},
          {"down", Sphere({13, 24}, {25, 48}).cutoff(4 * step), 64},
          {"up", Sphere({25, 48}, {13, 24}).cutoff(4 * step), 64},
          {"up, with empty arcs", Sphere({25, 48}, {7, 12}).cutoff(1.5 * step), 64},
          {"one point of longitude", Sphere({25, 1}, {13, 4}).cutoff(6 * step), 16}};
}

struct Results {
  std::vector<float> out, logsumexp, dquery, dkey, dvalue;
};

class Attention {
 public:
  explicit Attention(const Case& each) : case_(each), pattern_(each.sphere.spec()) {
    std::mt19937_64 random(11);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& data, int64_t rows) {
      data.resize(static_cast<size_t>(rows * case_.channels));
      for (float& x : data) x = normal(random);
    };
    const nf_sphere_grid &q = pattern_.query, &k = pattern_.key;
    fill(query_, q.nlat * q.nlon), fill(dout_, q.nlat * q.nlon);
    fill(key_, k.nlat * k.nlon), fill(value_, k.nlat * k.nlon);
    fill(more_keys_, case_.additional), fill(more_values_, case_.additional);
  }

  Results run(const Options& options) {
    const float poison = std::numeric_limits<float>::quiet_NaN();
    Results result;
    for (auto* each : {&result.out, &result.dquery}) each->assign(query_.size(), poison);
    for (auto* each : {&result.dkey, &result.dvalue}) each->assign(key_.size(), poison);
    result.logsumexp.assign(query_.size() / static_cast<size_t>(case_.channels), poison);
    const Tensor q = of(query_, pattern_.query), k = of(key_, pattern_.key), v = of(value_, pattern_.key);
    const Tensor lse = Tensor::of(result.logsumexp, {1, pattern_.query.nlat, pattern_.query.nlon, 1});
    Modifiers modifiers = {.softcap = case_.softcap};
    if (case_.additional > 0) {
      modifiers.additional_keys = Tensor::of(more_keys_, {1, case_.additional, 1, case_.channels});
      modifiers.additional_values = Tensor::of(more_values_, {1, case_.additional, 1, case_.channels});
    }
    forward(&pattern_.pattern, q, k, v, of(result.out, pattern_.query), lse, options, modifiers);
    const Gradients gradients = {.query = of(result.dquery, pattern_.query),
                                 .key = of(result.dkey, pattern_.key),
                                 .value = of(result.dvalue, pattern_.key)};
    backward(&pattern_.pattern, q, k, v, of(result.out, pattern_.query), lse, of(dout_, pattern_.query), gradients, {},
             options, modifiers);
    return result;
  }
  std::string kernels(const Options& options) {
    return explain(&pattern_.pattern, of(query_, pattern_.query), of(key_, pattern_.key), of(value_, pattern_.key),
                   options)
        .reason;
  }

 private:
  Tensor of(std::vector<float>& data, const nf_sphere_grid& grid) const {
    return Tensor::of(data, {1, grid.nlat, grid.nlon, 1, case_.channels});
  }

  const Case case_;
  const nf_sphere pattern_;
  std::vector<float> query_, key_, value_, dout_, more_keys_, more_values_;
};

double relative_error(const std::vector<float>& found, const std::vector<float>& expected) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double difference = static_cast<double>(found[i]) - static_cast<double>(expected[i]);
    const bool same = found[i] == expected[i];  // infinities too
    error += same ? 0 : difference * difference;
    if (std::isfinite(expected[i])) norm += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return norm > 0 ? std::sqrt(error / norm) : error;
}

TEST(SphereKernels, AgreeWithTheReference) {
  for (const Case& each : cases()) {
    Attention attention(each);
    const Results expected = attention.run(Options().with_engine(NF_ENGINE_REFERENCE));
    for (const nf_isa isa : runnable_isas())
      for (const nf_kernel kernel : {NF_KERNEL_AUTO, NF_KERNEL_BAND, NF_KERNEL_TILE}) {
        const Options options = Options().with_isa(isa).with_kernel(kernel).with_threads(2);
        const Results found = attention.run(options);
        const auto expect_near = [&](const char* name, const std::vector<float>& one, const std::vector<float>& other) {
          const double error = relative_error(one, other);
          EXPECT_TRUE(error <= 2e-6) << name << " is off by " << error << ": " << each.name << ", "
                                     << attention.kernels(options);
        };
        expect_near("out", found.out, expected.out);
        expect_near("logsumexp", found.logsumexp, expected.logsumexp);
        expect_near("dquery", found.dquery, expected.dquery);
        expect_near("dkey", found.dkey, expected.dkey);
        expect_near("dvalue", found.dvalue, expected.dvalue);
      }
  }
}

// Wide arcs near the poles are the tile kernel's even where the band kernel is asked for as far as it can.
TEST(SphereKernels, ShareTheLatitudes) {
  Attention attention({"one degree", Sphere({181, 360}).cutoff(0.07), 64});
  EXPECT_NE(attention.kernels(Options()).find(" of 181 latitudes, tile kernel for those with wide arcs"),
            std::string::npos)
      << attention.kernels(Options());
  EXPECT_EQ(attention.kernels(Options().with_kernel(NF_KERNEL_TILE)).rfind("tile kernel on", 0), 0u);
}

}  // namespace
}  // namespace nearfield::test
