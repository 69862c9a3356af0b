#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench_gna.h"

namespace nearfield::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kRow[] = "{:<13} {:>9} {:>9} {:>8} {:>10} {:>10} {:>8} {:>8} {:>9} {:>9} {:>6}\n";
constexpr char kMarkdown[] = "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n";

std::string joined(const Axes& axes) { return fmt::format("{}", fmt::join(axes, "x")); }
std::string percent(double fraction) { return fmt::format("{:.0f}%", 100 * fraction); }
std::string times_text(double factor) { return fmt::format("{:.2f}x", factor); }
std::string milliseconds(double seconds) { return fmt::format("{:.1f}", seconds * 1e3); }

Json json_of(const GnaTimes& times) {
  const nf_simulation& found = times.simulated.simulation;
  return {{"stride", times.stride},
          {"tile", times.simulated.tiles.tile},
          {"step", times.simulated.tiles.key_tile},
          {"masked_steps", found.steps.masked_units},
          {"waste", found.steps.waste},
          {"ideal_bound", found.ideal_bound},
          {"bound", times.bound()},
          {"median_ms", times.timing.median * 1e3},
          {"spread", times.timing.spread},
          {"repetitions", times.timing.repetitions},
          {"speedup", times.speedup()},
          {"realised", times.realised()},
          {"goal", times.goal()},
          {"reason", times.explanation.reason},
          {"error_max", times.check.error_max},
          {"checked_rows", times.check.rows}};
}

Json json_of(const GnaResult& result) {
  Json json = {{"case", result.use.name},
               {"grid", result.use.grid},
               {"window", result.use.window},
               {"heads", 1},
               {"head_dim", kGnaHeadDim}};
  if (!result.failure.empty()) {
    json["error"] = result.failure;
    return json;
  }
  json["dense_median_ms"] = result.dense.median * 1e3;
  json["dense_spread"] = result.dense.spread;
  json["dense_roofline_fraction"] = result.dense_roofline_fraction();
  json["strides"] = Json::array();
  for (const GnaTimes& times : result.times) json["strides"].push_back(json_of(times));
  return json;
}

}  // namespace

void print_gna_head(const GnaReport& report, SuiteFormat format) {
  fmt::print("\n{}, {} thread{}, 1 head of {} channels; {}; medians in ms, of calls in turn\n",
             nf_dtype_name(report.dtype), report.threads, report.threads == 1 ? "" : "s", kGnaHeadDim,
             report.full ? "the published sizes" : "grids, windows and strides halved on each axis (--full: whole)");
  fmt::print(
      "ideal: all pairs over those of the windows; bound: the simulator's, with the engine's tiles and their idle "
      "lanes; dense: {}\n",
      "attention over the whole grid by the same library");
  if (format == SuiteFormat::markdown) {
    fmt::print("\n| case | grid | window | stride | tile | dense | time | ideal | bound | speed-up | realised |\n");
    fmt::print("|---|---|---|---|---|---|---|---|---|---|---|\n");
    return;
  }
  fmt::print(kRow, "case", "grid", "window", "stride", "tile", "dense", "time", "ideal", "bound", "speed-up", "share");
}

void print_gna(const GnaResult& result, SuiteFormat format) {
  if (!result.failure.empty()) {
    fmt::print("{:<13} {:>9} {:>9} {}\n", result.use.name, joined(result.use.grid), joined(result.use.window),
               result.failure);
    return;
  }
  for (const GnaTimes& times : result.times)
    fmt::print(fmt::runtime(format == SuiteFormat::markdown ? kMarkdown : kRow), result.use.name,
               joined(result.use.grid), joined(result.use.window), joined(times.stride),
               joined(times.simulated.tiles.tile), milliseconds(result.dense.median), milliseconds(times.timing.median),
               times_text(times.simulated.simulation.ideal_bound), times_text(times.bound()),
               times_text(times.speedup()), percent(times.realised()));
  std::fflush(stdout);
}

void print_gna_goal(const std::vector<GnaResult>& results) {
  int met = 0, all = 0;
  for (const GnaResult& result : results)
    for (const GnaTimes& times : result.times)
      if (result.failure.empty()) ++all, met += times.realised() >= times.goal() ? 1 : 0;
  if (all == 0) return;
  fmt::print("\nGoal: {:.0f}% of the bound where no step needs a mask, {:.0f}% elsewhere: met by {} of {}\n",
             100 * kGnaBlockSparseGoal, 100 * kGnaGoal, met, all);
}

std::string to_json(const GnaReport& report) {
  Json json;
  json["suite"] = "gna";
  json["machine"] = machine_json(report.machine);
  json["dtype"] = nf_dtype_name(report.dtype);
  json["threads"] = report.threads;
  json["full"] = report.full;
  json["results"] = Json::array();
  for (const GnaResult& result : report.results) json["results"].push_back(json_of(result));
  return json.dump(2);
}

}  // namespace nearfield::cli
