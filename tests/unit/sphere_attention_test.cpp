// Attention on the sphere through the C++ face: what holds whatever the engine. The property tests have the definition.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "nearfield/nearfield.hpp"
#include "runnable_isas.h"

namespace nearfield::test {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr int64_t kHeads = 2, kChannels = 5;

struct Setting {
  const char* name;
  Options options;
};
std::vector<Setting> settings() {
  std::vector<Setting> result = {{"reference", Options().with_engine(NF_ENGINE_REFERENCE)}};
  for (const nf_isa isa : runnable_isas())
    result.push_back({nf_isa_name(isa), Options().with_isa(isa).with_threads(2)});
  return result;
}

// Every tensor of a forward and a backward of float64, dense.
struct Attention {
  nf_sphere pattern;
  std::vector<double> query, key, value, weights, dout, out, logsumexp, dquery, dkey, dvalue, dweights;

  explicit Attention(const Sphere& sphere) : pattern(sphere.spec()) {
    std::mt19937_64 random(7);
    std::normal_distribution<double> normal;
    const auto queries = static_cast<size_t>(pattern.query.nlat * pattern.query.nlon);
    const auto keys = static_cast<size_t>(pattern.key.nlat * pattern.key.nlon);
    for (auto* each : {&query, &dout, &out, &dquery}) each->resize(queries * kHeads * kChannels);
    for (auto* each : {&key, &value, &dkey, &dvalue}) each->resize(keys * kHeads * kChannels);
    logsumexp.resize(queries * kHeads);
    for (auto* each : {&weights, &dweights}) each->resize(keys);
    for (auto* each : {&query, &key, &value, &dout})
      for (double& x : *each) x = normal(random);
    for (double& x : weights) x = normal(random) < 0.5 ? 1 : 0;  // land and sea
  }

  Tensor grid_tensor(std::vector<double>& data, const nf_sphere_grid& grid) const {
    return Tensor::of(data, {1, grid.nlat, grid.nlon, kHeads, kChannels});
  }
  void run(const Options& options) {
    const Tensor q = grid_tensor(query, pattern.query), k = grid_tensor(key, pattern.key),
                 v = grid_tensor(value, pattern.key), o = grid_tensor(out, pattern.query);
    const Tensor lse = Tensor::of(logsumexp, {1, pattern.query.nlat, pattern.query.nlon, kHeads});
    const std::vector<int64_t> keys = {pattern.key.nlat, pattern.key.nlon};
    const Modifiers modifiers = {.key_weights = Tensor::of(weights, keys)};
    forward(&pattern.pattern, q, k, v, o, lse, options, modifiers);
    const Gradients gradients = {.query = grid_tensor(dquery, pattern.query),
                                 .key = grid_tensor(dkey, pattern.key),
                                 .value = grid_tensor(dvalue, pattern.key),
                                 .key_weights = Tensor::of(dweights, keys)};
    backward(&pattern.pattern, q, k, v, o, lse, grid_tensor(dout, pattern.query), gradients, {}, options, modifiers);
  }
};

// The same field, `steps` longitudes farther east.
std::vector<double> rotated(const std::vector<double>& field, const nf_sphere_grid& grid, int64_t steps) {
  std::vector<double> result(field.size());
  const auto channels = static_cast<int64_t>(field.size()) / (grid.nlat * grid.nlon);
  for (int64_t lat = 0; lat < grid.nlat; ++lat)
    for (int64_t lon = 0; lon < grid.nlon; ++lon)
      std::copy_n(field.data() + (lat * grid.nlon + lon) * channels, channels,
                  result.data() + (lat * grid.nlon + (lon + steps) % grid.nlon) * channels);
  return result;
}

// Infinite if anything is no number.
double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = a[i] == b[i] ? 0 : std::abs(a[i] - b[i]);  // both -inf: none
    largest = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(largest, difference);
  }
  return largest;
}

std::vector<Sphere> spheres() {
  return {Sphere({9, 12}),
          Sphere({9, 12}).cutoff(0.7),
          Sphere({9, 12, NF_LEGENDRE_GAUSS}).cutoff(0.9),
          Sphere({7, 8, NF_LOBATTO}, {13, 24}),                           // down
          Sphere({12, 24, NF_LEGENDRE_GAUSS}, {5, 8}).cutoff(0.8),        // up
          Sphere({9, 6, NF_EQUIANGULAR_TRAPEZOIDAL}, {6, 18}).cutoff(1),  // longitudes by three
          Sphere({6, 9}, {8, 3, NF_LOBATTO}).global()};
}

// The grids repeat themselves after a whole step of the coarser one, and so does everything that is computed on them.
TEST(SphereAttention, RotatesWithItsInputs) {
  for (const Sphere& sphere : spheres())
    for (const Setting& setting : settings()) {
      Attention still(sphere);
      still.run(setting.options);
      const nf_sphere_grid &query = still.pattern.query, &key = still.pattern.key;
      const int64_t coarser = std::min(query.nlon, key.nlon);
      for (const int64_t steps : {int64_t{1}, coarser - 1}) {
        const int64_t of_query = steps * (query.nlon / coarser), of_key = steps * (key.nlon / coarser);
        Attention turned(sphere);
        turned.query = rotated(still.query, query, of_query);
        turned.dout = rotated(still.dout, query, of_query);
        turned.key = rotated(still.key, key, of_key);
        turned.value = rotated(still.value, key, of_key);
        turned.weights = rotated(still.weights, key, of_key);
        turned.run(setting.options);
        const auto expect_turned = [&](const char* name, const std::vector<double>& found,
                                       const std::vector<double>& before, const nf_sphere_grid& grid, int64_t by) {
          EXPECT_LE(largest_difference(found, rotated(before, grid, by)), 1e-12)
              << name << ", " << setting.name << ", queries " << query.nlat << "x" << query.nlon << ", keys "
              << key.nlat << "x" << key.nlon << ", " << steps << " steps";
        };
        expect_turned("out", turned.out, still.out, query, of_query);
        expect_turned("logsumexp", turned.logsumexp, still.logsumexp, query, of_query);
        expect_turned("dquery", turned.dquery, still.dquery, query, of_query);
        expect_turned("dkey", turned.dkey, still.dkey, key, of_key);
        expect_turned("dvalue", turned.dvalue, still.dvalue, key, of_key);
        expect_turned("dweights", turned.dweights, still.dweights, key, of_key);
      }
    }
}

// With queries of 0 attention is an average over the sphere: the quadrature's, exact for spherical harmonics.
TEST(SphereAttention, OfNothingInParticularIsTheMeanOverTheSphere) {
  for (const Setting& setting : settings())
    for (const nf_latitudes kind : {NF_EQUIANGULAR, NF_LEGENDRE_GAUSS, NF_LOBATTO}) {
      Attention mean(Sphere({4, 6}, {9, 18, kind}).global());
      const SphereLatitudes circles = sphere_latitudes(mean.pattern.key);
      std::fill(mean.query.begin(), mean.query.end(), 0.0);
      std::fill(mean.weights.begin(), mean.weights.end(), 1.0);
      for (int64_t lat = 0; lat < 9; ++lat)
        for (int64_t lon = 0; lon < 18; ++lon)
          for (int64_t head = 0; head < kHeads; ++head) {
            const double theta = circles.colatitudes[static_cast<size_t>(lat)];
            const double phi = 2 * kPi * static_cast<double>(lon) / 18;
            // Means: 1, 0, 1/3, 1/5 and 0 of Y_2^1.
            const double x = std::cos(theta);
            const double fields[kChannels] = {1, x, x * x, x * x * x * x, x * std::sin(theta) * std::cos(phi)};
            std::copy_n(fields, kChannels, mean.value.data() + ((lat * 18 + lon) * kHeads + head) * kChannels);
          }
      mean.run(setting.options);
      const double means[kChannels] = {1, 0, 1.0 / 3, 0.2, 0};
      for (size_t i = 0; i < mean.out.size(); ++i)
        EXPECT_NEAR(mean.out[i], means[i % kChannels], 1e-13) << setting.name;
      for (const double lse : mean.logsumexp) EXPECT_NEAR(lse, std::log(4 * kPi), 1e-13);
    }
}

TEST(SphereAttention, ACutoffOfPiIsGlobal) {
  for (const Setting& setting : settings()) {
    Attention global(Sphere({5, 6}, {7, 12}).global()), wide(Sphere({5, 6}, {7, 12}).cutoff(4));
    global.run(setting.options);
    wide.run(setting.options);
    EXPECT_LE(largest_difference(wide.out, global.out), 1e-13) << setting.name;
    EXPECT_LE(largest_difference(wide.dquery, global.dquery), 1e-12) << setting.name;
    EXPECT_LE(largest_difference(wide.dkey, global.dkey), 1e-12) << setting.name;
    EXPECT_LE(largest_difference(wide.dweights, global.dweights), 1e-12) << setting.name;
  }
}

// Queries between the circles of keys see none of them.
TEST(SphereAttention, OfNoKeysIsZeroAndMovesNothing) {
  for (const Setting& setting : settings()) {
    Attention lost(Sphere({4, 8, NF_LEGENDRE_GAUSS}, {5, 8}).cutoff(0.01));
    for (auto* each : {&lost.out, &lost.dquery, &lost.dkey, &lost.dvalue, &lost.dweights})
      std::fill(each->begin(), each->end(), std::nan(""));
    lost.run(setting.options);
    for (const auto* each : {&lost.out, &lost.dquery, &lost.dkey, &lost.dvalue, &lost.dweights})
      EXPECT_EQ(*each, std::vector<double>(each->size(), 0.0)) << setting.name;
    for (const double lse : lost.logsumexp) EXPECT_EQ(lse, -std::numeric_limits<double>::infinity());
  }
}

// A quarter of a degree: never a list of neighbours for each point.
TEST(SphereAttention, PlansAreSmall) {
  constexpr size_t kMost = size_t{32} << 20;
  const Sphere::Grid quarter = {721, 1440}, half = {361, 720};
  const double disc = 7 / std::sqrt(kPi) * kPi / 720;
  const std::vector<Sphere> patterns = {Sphere(quarter),
                                        Sphere(quarter).cutoff(disc),
                                        Sphere(quarter).cutoff(0.5),
                                        Sphere(quarter).cutoff(kPi),
                                        Sphere(quarter).global(),
                                        Sphere(quarter, half),
                                        Sphere(half, quarter).cutoff(0.1)};
  for (const Sphere& pattern : patterns) {
    const nf_sphere& spec = pattern.spec();
    const Tensor query(nullptr, NF_FLOAT32, std::vector<int64_t>{1, spec.query.nlat, spec.query.nlon, 1, 64});
    const Tensor key(nullptr, NF_FLOAT32, std::vector<int64_t>{1, spec.key.nlat, spec.key.nlon, 1, 64});
    const nf_explanation forward = explain(pattern, query, key, key);
    const nf_explanation backward =
        explain_backward(pattern, query, key, key, {.query = query, .key = key, .value = key});
    for (const nf_explanation* each : {&forward, &backward}) {
      EXPECT_GT(each->plan_memory, 721 * sizeof(double));
      EXPECT_LE(each->plan_memory, kMost) << spec.cutoff << " " << each->reason;
    }
  }
}

}  // namespace
}  // namespace nearfield::test
