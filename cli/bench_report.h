// What a benchmark found, as a table for people and as JSON for programs.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench_cases.h"
#include "bench_problem.h"
#include "bench_time.h"

namespace nearfield::cli {

// How a suite reports: a table is printed as its rows are found, JSON as a whole.
enum class SuiteFormat { table, markdown, json };

struct BenchMachine {
  std::string cpu, version, isa;
  int32_t default_threads = 0;
  std::string peak_dtype;  // float32 also for 16-bit tensors, whose arithmetic is float32
  double peak_gflops = 0;  // of one thread, measured now
};

struct BenchResult {
  BenchCase bench_case;
  nf_dtype dtype = NF_FLOAT32;
  Direction direction = Direction::forward;
  int32_t threads = 0;
  std::string failure;  // not empty: why there are no numbers
  nf_explanation explanation{};
  CheckReport check;
  Timing timing;  // warm: one set of tensors
  Timing cold;    // copies of the tensors in turn; the same as `timing` if there is one
  int64_t copies = 1;
  double useful_flops = 0;  // of one call
  double peak_gflops = 0;   // of one thread
  double speedup = 1;       // over the first number of threads

  double useful_gflops() const { return useful_flops / timing.median * 1e-9; }
  double executed_gflops() const { return useful_gflops() * explanation.waste; }
  double roofline_fraction() const { return roofline_fraction(timing); }
  double cold_roofline_fraction() const { return roofline_fraction(cold); }
  double roofline_fraction(const Timing& time) const {
    return useful_flops / time.median * 1e-9 / (peak_gflops * threads);
  }
};

const char* name_of(Direction direction);
// 2 flops for each multiply-add of the matrix products: forward 2, backward 5 of them.
double useful_flops(const BenchCase& bench_case, Direction direction);

void print_machine(const BenchMachine& machine);
void print_table_head(nf_dtype dtype, Direction direction);
// One row, or FAILED and the reason.
void print_result(const BenchResult& result);
nlohmann::ordered_json machine_json(const BenchMachine& machine);
// {"machine": {...}, "results": [...]}
std::string to_json(const BenchMachine& machine, const std::vector<BenchResult>& results);

}  // namespace nearfield::cli
