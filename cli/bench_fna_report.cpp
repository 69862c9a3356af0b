#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench_fna.h"
#include "format.h"

namespace nearfield::cli {
namespace {

using Json = nlohmann::ordered_json;

// 120 columns.
constexpr char kRow[] = "{:<32} {:<8} {:<8} {:>9} {:>9} {:>9} {:>8} {:>8} {:>9} {:>8}\n";
constexpr char kMarkdown[] = "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n";
constexpr const char* kColumns[] = {"case",     "dtype",  "pass",    "naive ms", "gemm ms",
                                    "fused ms", "gemm x", "fused x", "weights",  "error"};

const char* pass_of(const FnaTimes& times) { return times.with_backward ? "both" : "forward"; }
std::string milliseconds(double seconds) {
  return fmt::format("{:.{}f}", seconds * 1e3, seconds < 1e-2 ? 3 : seconds < 1 ? 2 : 0);
}
std::string percent(double speedup) { return fmt::format("{:+.0f}%", (speedup - 1) * 100); }

Json to_json(const FnaTimes& times) {
  Json json = {{"name", times.bench_case.name},
               {"case", describe(times.bench_case)},
               {"dtype", nf_dtype_name(times.dtype)},
               {"with_backward", times.with_backward}};
  if (!times.failure.empty()) {
    json["error"] = times.failure;
    return json;
  }
  json["weights_bytes"] = times.weights_bytes;
  json["product_gflops"] = times.product_gflops;
  for (size_t m = 0; m < kFnaMethods; ++m)
    json[kFnaNames[m]] = {{"median_ms", times.timings[m].median * 1e3},
                          {"spread", times.timings[m].spread},
                          {"repetitions", times.timings[m].repetitions},
                          {"speedup", times.speedup(static_cast<FnaMethod>(m))},
                          {"speedup_at_best", times.most(static_cast<FnaMethod>(m))},
                          {"fraction_of_best", times.least_seconds[m] / times.timings[m].median},
                          {"error", times.errors[m]}};
  return json;
}

// ---- the plot ------------------------------------------------------------------------------------------------------

constexpr double kLeft = 60, kTop = 70, kBar = 7, kGap = 10, kHeight = 300, kBottom = 210, kTitle = 90;
constexpr const char* kColours[] = {"#777777", "#2a78b5", "#d1603d"};

// Logarithmic, from half to a hundred times as fast.
double height_of(double speedup) { return kHeight * std::clamp(std::log(speedup / 0.5) / std::log(200.0), 0.0, 1.0); }

std::string line(double x1, double x2, double speedup, const char* style) {
  const double y = kTop + kHeight - height_of(speedup);
  return fmt::format("<line x1='{:.1f}' x2='{:.1f}' y1='{:.1f}' y2='{:.1f}' {}/>\n", x1, x2, y, y, style);
}

struct Panel {
  double left = 0, right = 0;
  std::string svg;
};

// The cases of one rank and dtype, forward.
Panel panel_of(const FnaReport& report, int rank, nf_dtype dtype, double left) {
  Panel panel{left, left, ""};
  for (const FnaTimes& times : report.times) {
    if (times.rank() != rank || times.dtype != dtype || times.with_backward || !times.failure.empty()) continue;
    for (const FnaMethod method : {kGemm, kFused}) {
      const double one = height_of(1), height = height_of(times.speedup(method));
      panel.svg += fmt::format("<rect x='{:.1f}' y='{:.1f}' width='{}' height='{:.1f}' fill='{}'/>\n", panel.right,
                               kTop + kHeight - std::max(height, one), kBar, std::max(1.0, std::fabs(height - one)),
                               kColours[method]);
      panel.right += kBar;
    }
    const double x = panel.right - kBar + 4, y = kTop + kHeight + 8;
    panel.svg += fmt::format(
        "<text x='{0:.1f}' y='{1:.1f}' transform='rotate(-90 {0:.1f} {1:.1f})' "
        "text-anchor='end' font-size='10'>{2}</text>\n",
        x, y, times.bench_case.name);
    panel.right += kGap;
  }
  if (panel.right > left)
    panel.svg += fmt::format("<text x='{:.1f}' y='{}' font-size='12'>{}-D, {}</text>\n", left, kTop - 8, rank,
                             nf_dtype_name(dtype));
  for (const FnaHeadline& headline : fna_headlines({}))
    if (panel.right > left && headline.rank == rank && headline.half == (dtype != NF_FLOAT32))
      panel.svg += line(left, panel.right - kGap, headline.paper,
                        fmt::format("stroke='{}' stroke-dasharray='5 3'", kColours[headline.method]).c_str());
  if (panel.right > left) panel.right = std::max(panel.right, left + kTitle);
  return panel;
}

}  // namespace

void print_fna_head(const FnaReport& report, SuiteFormat format) {
  fmt::print(
      "{} thread{}, in turn; both: forward and backward; x: times as fast as naive; weights: what the unfused two "
      "hold;\n"
      "peak {:.1f} GFLOP/s\n",
      report.threads, report.threads == 1 ? "" : "s", report.machine.peak_gflops * report.threads);
  const auto& c = kColumns;
  if (format == SuiteFormat::markdown) fmt::print("\n");
  fmt::print(fmt::runtime(format == SuiteFormat::markdown ? kMarkdown : kRow), c[0], c[1], c[2], c[3], c[4], c[5], c[6],
             c[7], c[8], c[9]);
  if (format != SuiteFormat::markdown) return;
  for (size_t i = 0; i < std::size(kColumns); ++i) fmt::print("|---");
  fmt::print("|\n");
}

void print_fna_times(const FnaTimes& times, SuiteFormat format) {
  if (!times.failure.empty()) {
    fmt::print("{:<32} {:<8} {:<8} {}\n", times.bench_case.name, nf_dtype_name(times.dtype), pass_of(times),
               times.failure);
    return;
  }
  fmt::print(fmt::runtime(format == SuiteFormat::markdown ? kMarkdown : kRow), times.bench_case.name,
             nf_dtype_name(times.dtype), pass_of(times), milliseconds(times.timings[kNaive].median),
             milliseconds(times.timings[kGemm].median), milliseconds(times.timings[kFused].median),
             fmt::format("{:.2f}", times.speedup(kGemm)), fmt::format("{:.2f}", times.speedup(kFused)),
             bytes_text(times.weights_bytes),
             fmt::format("{:.1e}", *std::max_element(times.errors.begin(), times.errors.end())));
  std::fflush(stdout);
}

void print_fna_headlines(const FnaReport& report, SuiteFormat format) {
  const bool markdown = format == SuiteFormat::markdown;
  fmt::print(
      "\nAverages over naive, here and in the paper (on a GPU); at best: if a method took no longer than its parts, "
      "timed\n"
      "alone: dense products from the L1 cache (halos included), softmax, memory traffic; and all else took nothing\n");
  if (markdown) fmt::print("\n| average | cases | here | paper | at best | |\n|---|---|---|---|---|---|\n");
  for (const FnaHeadline& h : fna_headlines(report.times)) {
    fmt::print(fmt::runtime(markdown ? "| {} | {} | {} | {} | {} | {} |\n"
                                     : "{:<18} {:>3} cases: {:>7}, paper {:>7}, at best {:>7}: {}\n"),
               h.name, h.cases, h.cases > 0 ? percent(h.average) : "-", percent(h.paper),
               h.cases > 0 ? percent(h.most) : "-", name_of(h.verdict));
  }
  for (const FnaHeadline& h : fna_headlines(report.times)) {
    if (h.verdict == Verdict::bound)
      fmt::print("{}: bound: the parts alone would give {}, since the naive engine is not far enough below them.\n",
                 h.name, percent(h.most));
    if (h.verdict == Verdict::missed)
      fmt::print("{}: missed: the parts alone would give {}; they are {:.0f}% of the time that it takes.\n", h.name,
                 percent(h.most), 100 * h.share);
  }
}

std::string to_json(const FnaReport& report) {
  Json json;
  json["suite"] = "fna";
  json["machine"] = machine_json(report.machine);
  json["threads"] = report.threads;
  json["times"] = Json::array();
  for (const FnaTimes& times : report.times) json["times"].push_back(to_json(times));
  json["headlines"] = Json::array();
  for (const FnaHeadline& h : fna_headlines(report.times))
    json["headlines"].push_back({{"name", h.name},
                                 {"cases", h.cases},
                                 {"average_speedup", h.average},
                                 {"paper_speedup", h.paper},
                                 {"speedup_at_best", h.most},
                                 {"share_of_best", h.share},
                                 {"verdict", name_of(h.verdict)}});
  return json.dump(2);
}

std::string fna_svg(const FnaReport& report) {
  std::string body;
  double right = kLeft;
  for (const int rank : {1, 2, 3})
    for (const nf_dtype dtype : {NF_FLOAT32, NF_BFLOAT16, NF_FLOAT16}) {
      const Panel panel = panel_of(report, rank, dtype, right);
      body += panel.svg;
      if (panel.right > panel.left) right = panel.right + 2 * kGap;
    }
  std::string axis;
  for (const double tick : {0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0}) {
    axis += line(kLeft - 6, right, tick, tick == 1 ? "stroke='#333'" : "stroke='#ddd'");
    axis += fmt::format("<text x='{}' y='{:.1f}' text-anchor='end' font-size='11'>{}x</text>\n", kLeft - 10,
                        kTop + kHeight - height_of(tick) + 4, tick);
  }
  return fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0:.0f} {1:.0f}' width='{0:.0f}' height='{1:.0f}' "
      "font-family='sans-serif'>\n<rect width='100%' height='100%' fill='white'/>\n"
      "<text x='{2}' y='22' font-size='15'>Times as fast as naive, forward: <tspan fill='{3}'>gemm</tspan> and "
      "<tspan fill='{4}'>fused</tspan>; dashed: the paper's averages on a GPU</text>\n"
      "<text x='{2}' y='40' font-size='11' fill='#555'>{5}, {6} thread{7}</text>\n{8}{9}</svg>\n",
      right + 20, kTop + kHeight + kBottom, kLeft, kColours[kGemm], kColours[kFused], report.machine.cpu,
      report.threads, report.threads == 1 ? "" : "s", axis, body);
}

}  // namespace nearfield::cli
