#include "bench_report.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

namespace nearfield::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string tile_text(const BenchResult& result) {
  std::string text;
  const int axes = plan_rank(pattern_of(result.bench_case));
  for (int a = 0; a < axes; ++a) text += (a == 0 ? "" : "x") + std::to_string(result.explanation.tile[a]);
  return text;
}

// The plan that nf_explain tells of is the forward's.
bool knows_waste(const BenchResult& result) { return result.direction == Direction::forward; }

// 120 columns.
constexpr char kRow[] = "{:<14} {:>3} {:<8} {:<6} {:<7} {:>8} {:>6} {:>6} {:>8} {:>6} {:>9} {:>5} {:>7} {:>7} {:>6}\n";

// At most 8 characters below 10^8 ms.
std::string milliseconds_text(double seconds) {
  const double ms = seconds * 1e3;
  return fmt::format("{:.{}f}", ms, ms < 1e3 ? 3 : ms < 1e5 ? 1 : 0);
}

std::string percent_text(double fraction) { return fmt::format("{:.1f}%", fraction * 100); }

std::string or_unknown(const char* name) { return name == nullptr ? "?" : name; }

Json to_json(const BenchResult& result) {
  Json json;
  json["name"] = result.bench_case.name;
  json["dtype"] = or_unknown(nf_dtype_name(result.dtype));
  json["direction"] = name_of(result.direction);
  json["threads"] = result.threads;
  json["heads"] = result.bench_case.heads_that_run();
  json["heads_of_model"] = result.bench_case.heads;
  if (!result.failure.empty()) {
    json["error"] = result.failure;
    return json;
  }
  json["isa"] = or_unknown(nf_isa_name(result.explanation.isa));
  json["engine"] = or_unknown(nf_engine_name(result.explanation.engine));
  json["kernel"] = or_unknown(nf_kernel_name(result.explanation.kernel));
  json["tile"] =
      std::vector<int64_t>(result.explanation.tile, result.explanation.tile + plan_rank(pattern_of(result.bench_case)));
  json["median_ms"] = result.timing.median * 1e3;
  json["spread"] = result.timing.spread;
  json["cold_median_ms"] = result.cold.median * 1e3;
  json["cold_copies"] = result.copies;
  json["repetitions"] = result.timing.repetitions;
  json["calls_per_repetition"] = result.timing.calls;
  json["useful_gflops"] = result.useful_gflops();
  json["waste"] = knows_waste(result) ? Json(result.explanation.waste) : Json();
  json["executed_gflops"] = knows_waste(result) ? Json(result.executed_gflops()) : Json();
  json["roofline_fraction"] = result.roofline_fraction();
  json["cold_roofline_fraction"] = result.cold_roofline_fraction();
  json["speedup"] = result.speedup;
  json["error_max"] = result.check.error_max;
  json["checked_rows"] = result.check.rows;
  return json;
}

}  // namespace

const char* name_of(Direction direction) { return direction == Direction::forward ? "forward" : "backward"; }

double useful_flops(const BenchCase& bench_case, Direction direction) {
  const double products = direction == Direction::forward ? 2 : 5;
  return 2 * products * static_cast<double>(useful_pairs(bench_case)) * static_cast<double>(bench_case.head_dim);
}

void print_machine(const BenchMachine& machine) {
  fmt::print("nearfield {} on {}, {} threads by default\n", machine.version, machine.cpu, machine.default_threads);
  fmt::print("{}: peak {:.1f} GFLOP/s a thread ({}, measured now)\n\n", machine.isa, machine.peak_gflops,
             machine.peak_dtype);
}

void print_table_head(nf_dtype dtype, Direction direction) {
  fmt::print("{}, {}; spread = (p90 - p10) / median; roof = useful GFLOP/s / (peak x threads); cold: from memory\n",
             or_unknown(nf_dtype_name(dtype)), name_of(direction));
  fmt::print(kRow, "case", "thr", "isa", "kernel", "tile", "warm ms", "spread", "roof", "cold ms", "roof", "useful GF",
             "waste", "exec GF", "error", "speed");
}

void print_result(const BenchResult& result) {
  if (!result.failure.empty()) {
    fmt::print("{:<14} {:>3} {}\n", result.bench_case.name, result.threads, result.failure);
  } else {
    const bool knows = knows_waste(result), cold = result.copies > 1;
    fmt::print(kRow, result.bench_case.name, result.threads, or_unknown(nf_isa_name(result.explanation.isa)),
               or_unknown(nf_kernel_name(result.explanation.kernel)), tile_text(result),
               milliseconds_text(result.timing.median), percent_text(result.timing.spread),
               percent_text(result.roofline_fraction()), cold ? milliseconds_text(result.cold.median) : "-",
               cold ? percent_text(result.cold_roofline_fraction()) : "-",
               fmt::format("{:.1f}", result.useful_gflops()),
               knows ? fmt::format("{:.2f}", result.explanation.waste) : "-",
               knows ? fmt::format("{:.1f}", result.executed_gflops()) : "-",
               fmt::format("{:.1e}", result.check.error_max), fmt::format("{:.2f}x", result.speedup));
  }
  std::fflush(stdout);
}

Json machine_json(const BenchMachine& machine) {
  return {{"cpu", machine.cpu},
          {"isa", machine.isa},
          {"default_threads", machine.default_threads},
          {"peak_gflops", machine.peak_gflops},
          {"peak_dtype", machine.peak_dtype},
          {"version", machine.version}};
}

std::string to_json(const BenchMachine& machine, const std::vector<BenchResult>& results) {
  Json json;
  json["machine"] = machine_json(machine);
  json["results"] = Json::array();
  for (const BenchResult& result : results) json["results"].push_back(to_json(result));
  return json.dump(2);
}

}  // namespace nearfield::cli
