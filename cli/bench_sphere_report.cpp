#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench_sphere.h"
#include "format.h"

namespace nearfield::cli {
namespace {

using Json = nlohmann::ordered_json;

// 120 columns.
constexpr char kRow[] = "{:<19} {:<8} {:>8} {:>6} {:>9} {:>6} {:>8} {:>6} {:>5} {:>8} {:>9} {:>6} {:>10}\n";
constexpr char kMarkdown[] = "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n";

constexpr const char* kColumns[] = {"case", "pass",  "M pairs", "keys",     "ms",   "spread", "M/s",
                                    "roof", "waste", "error",   "plane ms", "roof", "speed"};

std::string percent(double fraction) { return fmt::format("{:.1f}%", fraction * 100); }
std::string milliseconds(double seconds) {
  return fmt::format("{:.{}f}", seconds * 1e3, seconds < 1e-2 ? 3 : seconds < 1 ? 2 : 0);
}

const SphereMemory* quarter_of(const SphereReport& report) {
  for (const SphereMemory& memory : report.memory)
    if (memory.name == "sphere-quarter" && memory.failure.empty() && report.dtype == NF_FLOAT32) return &memory;
  return nullptr;
}

Json to_json(const SphereTimes& times, SphereContender which) {
  const nf_explanation& e = times.explanations[which];
  return {{"pairs", times.pairs[which]},
          {"kernel", nf_kernel_name(e.kernel)},
          {"median_ms", times.seconds(which) * 1e3},
          {"spread", times.timings[which].spread},
          {"repetitions", times.timings[which].repetitions},
          {"pairs_per_second", times.pairs_per_second(which)},
          {"useful_gflops", times.useful_gflops(which)},
          {"roofline_fraction", times.roofline_fraction(which)},
          {"waste", times.direction == Direction::forward ? Json(e.waste) : Json()},
          {"plan_memory", e.plan_memory},
          {"error_max", times.checks[which].error_max},
          {"checked_rows", times.checks[which].rows}};
}

Json to_json(const SphereTimes& times) {
  Json json = {{"name", times.subject.on_sphere.name},
               {"direction", name_of(times.direction)},
               {"case", describe(times.subject.on_sphere)},
               {"plane", describe(times.subject.on_plane)}};
  if (!times.failure.empty()) {
    json["error"] = times.failure;
    return json;
  }
  json["on_sphere"] = to_json(times, kOnSphere);
  json["on_plane"] = to_json(times, kOnPlane);
  json["relative_speed"] = times.relative_speed();
  return json;
}

Json to_json(const SphereMemory& memory) {
  Json json = {{"name", memory.name}, {"tensors", memory.tensors}};
  if (memory.failure.empty()) {
    json["peak"] = memory.peak;
  } else {
    json["error"] = memory.failure;
  }
  return json;
}

}  // namespace

void print_sphere_head(const SphereReport& report, SuiteFormat format) {
  fmt::print(
      "{}, {} thread{}, 1 head of 64 channels; M/s: million pairs in a second; roof: of {:.1f} GFLOP/s;\n"
      "plane: a neighborhood on the query's grid, in turn; speed: pairs in a second, of those on the plane\n",
      nf_dtype_name(report.dtype), report.threads, report.threads == 1 ? "" : "s",
      report.machine.peak_gflops * report.threads);
  const auto& c = kColumns;
  if (format == SuiteFormat::markdown) fmt::print("\n");
  fmt::print(fmt::runtime(format == SuiteFormat::markdown ? kMarkdown : kRow), c[0], c[1], c[2], c[3], c[4], c[5], c[6],
             c[7], c[8], c[9], c[10], c[11], c[12]);
  if (format != SuiteFormat::markdown) return;
  for (size_t i = 0; i < std::size(kColumns); ++i) fmt::print("|---");
  fmt::print("|\n");
}

void print_sphere_times(const SphereTimes& times, SuiteFormat format) {
  const BenchCase& bench_case = times.subject.on_sphere;
  if (!times.failure.empty()) {
    fmt::print("{:<19} {:<8} {}\n", bench_case.name, name_of(times.direction), times.failure);
    return;
  }
  const bool is_forward = times.direction == Direction::forward;
  const double pairs = times.pairs[kOnSphere];
  const double queries = static_cast<double>(bench_case.batch * bench_case.tokens() * bench_case.heads_that_run());
  fmt::print(fmt::runtime(format == SuiteFormat::markdown ? kMarkdown : kRow), bench_case.name,
             name_of(times.direction), fmt::format("{:.4g}", pairs * 1e-6), fmt::format("{:.1f}", pairs / queries),
             milliseconds(times.seconds(kOnSphere)), percent(times.timings[kOnSphere].spread),
             fmt::format("{:.4g}", times.pairs_per_second(kOnSphere) * 1e-6),
             percent(times.roofline_fraction(kOnSphere)),
             is_forward ? fmt::format("{:.2f}", times.explanations[kOnSphere].waste) : "-",
             fmt::format("{:.1e}", times.checks[kOnSphere].error_max), milliseconds(times.seconds(kOnPlane)),
             percent(times.roofline_fraction(kOnPlane)), fmt::format("{:.2f}x", times.relative_speed()));
  std::fflush(stdout);
}

void print_sphere_memory(const SphereReport& report) {
  fmt::print("\nMemory of a process that runs forward and backward, and of its tensors:\n");
  for (const SphereMemory& memory : report.memory) {
    const std::string found = memory.failure.empty()
                                  ? fmt::format("{} ({})", bytes_text(static_cast<double>(memory.peak)),
                                                bytes_text(static_cast<double>(memory.tensors)))
                                  : memory.failure;
    fmt::print("  {:<19} {}\n", memory.name, found);
  }
  if (const SphereMemory* quarter = quarter_of(report))
    fmt::print("Goal: sphere-quarter, forward and backward, in at most {}: {}: {}\n",
               bytes_text(static_cast<double>(kSphereMemoryGoal)), bytes_text(static_cast<double>(quarter->peak)),
               quarter->peak <= kSphereMemoryGoal ? "pass" : "miss");
}

std::string to_json(const SphereReport& report) {
  Json json;
  json["suite"] = "sphere";
  json["machine"] = machine_json(report.machine);
  json["dtype"] = nf_dtype_name(report.dtype);
  json["threads"] = report.threads;
  json["times"] = Json::array();
  for (const SphereTimes& times : report.times) json["times"].push_back(to_json(times));
  json["memory"] = Json::array();
  for (const SphereMemory& memory : report.memory) json["memory"].push_back(to_json(memory));
  if (const SphereMemory* quarter = quarter_of(report))
    json["goal"] = {{"case", quarter->name},
                    {"peak", quarter->peak},
                    {"at_most", kSphereMemoryGoal},
                    {"met", quarter->peak <= kSphereMemoryGoal}};
  return json.dump(2);
}

}  // namespace nearfield::cli
