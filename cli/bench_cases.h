// The named benchmark cases: attention problems of published models, by the name under which results are reported.
// Tensors are heads-last and dense: (batch, *grid, heads, head_dim). docs/benchmarks.md tells where each comes from.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nearfield/nearfield.h"
#include "pattern/pattern.h"
#include "pattern_arguments.h"

namespace nearfield::cli {

struct BenchCase {
  std::string name;
  int64_t batch = 1;
  std::vector<int64_t> grid;  // of queries: 1, 2 or 3 axes
  int64_t heads = 1;          // of the model
  int64_t head_dim = 0;
  std::vector<int64_t> kernel_size = {};   // of a neighborhood
  std::vector<int64_t> stride = {};        // empty: 1 on every axis
  std::vector<int64_t> dilation = {};      // empty: 1 on every axis
  std::vector<nf_boundary> boundary = {};  // empty: clamp on every axis
  bool is_causal = false;                  // on every axis
  std::optional<AnyPattern> pattern = {};  // instead of the neighborhood that the fields above tell of
  int64_t heads_run = 0;                   // 0: all; heavy cases run fewer, and the results say so

  int64_t heads_that_run() const { return heads_run == 0 ? heads : heads_run; }
  int64_t tokens() const;  // of the grid
  int64_t key_tokens() const;
};

std::span<const BenchCase> bench_cases();
// nullptr if there is no such case.
const BenchCase* find_bench_case(std::string_view name);
// What `nearfield bench` runs unless told otherwise: a few seconds, one case of each kind of window.
std::span<const std::string_view> quick_bench_cases();

AnyPattern pattern_of(const BenchCase& bench_case);
// The same as the library's inside has it.
core::Pattern core_pattern(const BenchCase& bench_case);
// The grid of keys: that of queries, but on the sphere.
std::vector<int64_t> key_grid_of(const BenchCase& bench_case);
// Sizes of query and out, (batch, *grid, heads that run, head_dim), and of key and value.
std::vector<int64_t> tensor_shape(const BenchCase& bench_case);
std::vector<int64_t> key_shape(const BenchCase& bench_case);
// (query, key) pairs over the batch and the heads that run, counted query by query.
int64_t useful_pairs(const BenchCase& bench_case);
// A cutoff whose disc has the area of 7 x 7 steps of latitude, as a neighborhood of 7x7 has on the plane.
double disc_cutoff(int64_t nlat);
// One line for people: "8x56x56 h2 d32 k7x7 dilation 8x8".
std::string describe(const BenchCase& bench_case);

}  // namespace nearfield::cli
