#include "bench_cases.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/checked.h"
#include "check/random_problem.h"
#include "dispatch/pattern_rules.h"

namespace nearfield::cli {
namespace {

// 7 x 7 steps of the keys' latitudes, or the default cutoff.
BenchCase sphere_case(const char* name, nf_sphere pattern, bool has_cutoff = true) {
  pattern.has_cutoff = has_cutoff ? 1 : 0;
  pattern.cutoff = has_cutoff ? disc_cutoff(pattern.key.nlat) : 0;
  return {
      .name = name, .grid = {pattern.query.nlat, pattern.query.nlon}, .heads = 1, .head_dim = 64, .pattern = pattern};
}

std::vector<BenchCase> build() {
  constexpr nf_boundary clamp = NF_CLAMP, wrap = NF_WRAP, cut = NF_CUT;
  return {
      {.name = "nat-t1", .batch = 8, .grid = {56, 56}, .heads = 2, .head_dim = 32, .kernel_size = {7, 7}},
      {.name = "nat-t2", .batch = 8, .grid = {28, 28}, .heads = 4, .head_dim = 32, .kernel_size = {7, 7}},
      {.name = "nat-t3", .batch = 8, .grid = {14, 14}, .heads = 8, .head_dim = 32, .kernel_size = {7, 7}},
      {.name = "nat-t4", .batch = 8, .grid = {7, 7}, .heads = 16, .head_dim = 32, .kernel_size = {7, 7}},
      {.name = "nat-t1-b1", .grid = {56, 56}, .heads = 2, .head_dim = 32, .kernel_size = {7, 7}},
      {.name = "nat-t2-b1", .grid = {28, 28}, .heads = 4, .head_dim = 32, .kernel_size = {7, 7}},
      {.name = "nat-t3-b1", .grid = {14, 14}, .heads = 8, .head_dim = 32, .kernel_size = {7, 7}},
      {.name = "nat-t4-b1", .grid = {7, 7}, .heads = 16, .head_dim = 32, .kernel_size = {7, 7}},
      {.name = "dinat-t1", .grid = {56, 56}, .heads = 2, .head_dim = 32, .kernel_size = {7, 7}, .dilation = {8, 8}},
      {.name = "dinat-t1-b8",
       .batch = 8,
       .grid = {56, 56},
       .heads = 2,
       .head_dim = 32,
       .kernel_size = {7, 7},
       .dilation = {8, 8}},
      {.name = "hdit", .grid = {128, 128}, .heads = 4, .head_dim = 64, .kernel_size = {7, 7}},
      {.name = "hdit-24", .grid = {24, 24}, .heads = 1, .head_dim = 64, .kernel_size = {7, 7}},
      {.name = "vol3d", .grid = {8, 45, 90}, .heads = 4, .head_dim = 32, .kernel_size = {5, 7, 7}},
      {.name = "weathermesh",
       .grid = {8, 90, 180},
       .heads = 32,
       .head_dim = 32,
       .kernel_size = {5, 7, 7},
       .boundary = {clamp, clamp, wrap},
       .heads_run = 1},
      {.name = "flux", .grid = {256, 256}, .heads = 24, .head_dim = 128, .kernel_size = {80, 80}, .heads_run = 1},
      {.name = "flux-s16",
       .grid = {256, 256},
       .heads = 24,
       .head_dim = 128,
       .kernel_size = {80, 80},
       .stride = {16, 16},
       .heads_run = 1},
      {.name = "hunyuan",
       .grid = {30, 48, 80},
       .heads = 24,
       .head_dim = 128,
       .kernel_size = {18, 24, 24},
       .heads_run = 1},
      {.name = "hunyuan-s",
       .grid = {30, 48, 80},
       .heads = 24,
       .head_dim = 128,
       .kernel_size = {18, 24, 24},
       .stride = {16, 8, 8},
       .heads_run = 1},
      {.name = "cosmos",
       .grid = {16, 44, 80},
       .heads = 32,
       .head_dim = 128,
       .kernel_size = {16, 24, 16},
       .heads_run = 1},
      {.name = "cosmos-wide",
       .grid = {16, 44, 80},
       .heads = 32,
       .head_dim = 128,
       .kernel_size = {16, 32, 48},
       .heads_run = 1},
      {.name = "pcf", .batch = 32, .grid = {300}, .heads = 16, .head_dim = 16, .kernel_size = {27}, .boundary = {cut}},
      {.name = "lm1d", .grid = {32768}, .heads = 1, .head_dim = 128, .kernel_size = {2048}},
      {.name = "lm1d-8k", .grid = {8192}, .heads = 1, .head_dim = 128, .kernel_size = {1024}},
      {.name = "lm1d-causal", .grid = {32768}, .heads = 1, .head_dim = 128, .kernel_size = {2048}, .is_causal = true},
      {.name = "lm1d-8k-causal", .grid = {8192}, .heads = 1, .head_dim = 128, .kernel_size = {1024}, .is_causal = true},
      {.name = "stylenat", .grid = {1024, 1024}, .heads = 4, .head_dim = 32, .kernel_size = {7, 7}},
      sphere_case("sphere-1deg", nf_make_sphere(181, 360, 181, 360)),
      sphere_case("sphere-1deg-default", nf_make_sphere(181, 360, 181, 360), false),
      sphere_case("sphere-up", nf_make_sphere(181, 360, 91, 180)),
      sphere_case("sphere-quarter", nf_make_sphere(721, 1440, 721, 1440)),
  };
}

std::string joined(std::span<const int64_t> values) {
  std::string text;
  for (int64_t value : values) text += (text.empty() ? "" : "x") + std::to_string(value);
  return text;
}

int64_t product_of(const std::vector<int64_t>& grid) {
  int64_t product = 1;
  for (int64_t size : grid) product = core::checked_product(product, size, "grid");
  return product;
}

std::vector<int64_t> shape_on(const std::vector<int64_t>& grid, const BenchCase& bench_case) {
  std::vector<int64_t> shape = {bench_case.batch};
  shape.insert(shape.end(), grid.begin(), grid.end());
  shape.push_back(bench_case.heads_that_run());
  shape.push_back(bench_case.head_dim);
  return shape;
}

}  // namespace

int64_t BenchCase::tokens() const { return product_of(grid); }
int64_t BenchCase::key_tokens() const { return product_of(key_grid_of(*this)); }

std::span<const BenchCase> bench_cases() {
  static const std::vector<BenchCase> cases = build();
  return cases;
}

const BenchCase* find_bench_case(std::string_view name) {
  const std::span<const BenchCase> cases = bench_cases();
  const auto found = std::find_if(cases.begin(), cases.end(), [&](const BenchCase& c) { return c.name == name; });
  return found == cases.end() ? nullptr : &*found;
}

std::span<const std::string_view> quick_bench_cases() {
  static constexpr std::array<std::string_view, 3> kNames = {"nat-t1", "hdit", "lm1d-8k"};
  return kNames;
}

AnyPattern pattern_of(const BenchCase& bench_case) {
  if (bench_case.pattern) return *bench_case.pattern;
  const size_t rank = bench_case.grid.size();
  nf_neighborhood spec = nf_make_neighborhood(static_cast<int32_t>(rank), bench_case.kernel_size.data());
  for (size_t a = 0; a < rank; ++a) {
    if (!bench_case.stride.empty()) spec.stride[a] = bench_case.stride[a];
    if (!bench_case.dilation.empty()) spec.dilation[a] = bench_case.dilation[a];
    if (!bench_case.boundary.empty()) spec.boundary[a] = bench_case.boundary[a];
    spec.is_causal[a] = bench_case.is_causal ? 1 : 0;
  }
  return spec;
}

core::Pattern core_pattern(const BenchCase& bench_case) {
  const AnyPattern pattern = pattern_of(bench_case);
  core::Shape shape;
  shape.rank = head_of(pattern)->rank;
  std::copy(bench_case.grid.begin(), bench_case.grid.end(), shape.grid);
  return core::validate_pattern(*head_of(pattern), shape);
}

std::vector<int64_t> key_grid_of(const BenchCase& bench_case) {
  return bench_case.pattern ? key_grid_of(*bench_case.pattern, bench_case.grid) : bench_case.grid;
}
std::vector<int64_t> tensor_shape(const BenchCase& bench_case) { return shape_on(bench_case.grid, bench_case); }
std::vector<int64_t> key_shape(const BenchCase& bench_case) { return shape_on(key_grid_of(bench_case), bench_case); }

double disc_cutoff(int64_t nlat) {
  return 7 / std::sqrt(std::numbers::pi) * std::numbers::pi / static_cast<double>(nlat - 1);
}

int64_t useful_pairs(const BenchCase& bench_case) {
  const int64_t images = core::checked_product(bench_case.batch, bench_case.heads_that_run(), "batch * heads");
  return core::checked_product(images, core::count_pairs(core_pattern(bench_case)), "pairs");
}

std::string describe(const BenchCase& bench_case) {
  std::string text = std::to_string(bench_case.batch) + "x" + joined(bench_case.grid) + " h" +
                     std::to_string(bench_case.heads_that_run()) + " d" + std::to_string(bench_case.head_dim);
  if (bench_case.pattern) return text + " " + pattern_text(*bench_case.pattern);
  text += " k" + joined(bench_case.kernel_size);
  if (!bench_case.stride.empty()) text += " stride " + joined(bench_case.stride);
  if (!bench_case.dilation.empty()) text += " dilation " + joined(bench_case.dilation);
  for (size_t a = 0; a < bench_case.boundary.size(); ++a) {
    if (bench_case.boundary[a] == NF_WRAP) text += " wrap[" + std::to_string(a) + "]";
    if (bench_case.boundary[a] == NF_CUT) text += " cut[" + std::to_string(a) + "]";
  }
  if (bench_case.is_causal) text += " causal";
  if (bench_case.heads_that_run() != bench_case.heads)
    text += " (" + std::to_string(bench_case.heads_that_run()) + " of " + std::to_string(bench_case.heads) + " heads)";
  return text;
}

}  // namespace nearfield::cli
