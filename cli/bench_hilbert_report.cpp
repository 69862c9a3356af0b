#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench_hilbert.h"

namespace nearfield::cli {
namespace {

using Json = nlohmann::ordered_json;

// 120 columns.
constexpr char kTimesRow[] =
    "{:<12} {:>7} {:>3} {:>9} {:>5} {:>9} {:>5} {:>7} {:>9} {:>5} {:>7} {:>9} {:>5} {:>6} {:>8}\n";
constexpr char kTimesMarkdown[] = "| {} | {}, {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n";
constexpr char kBlocksRow[] = "{:>9} {:>4}   {:>9} {:>9}   {:>9} {:>9}   {:>9} {:>9}\n";
constexpr char kBlocksMarkdown[] = "| {}, {} | {} | {} | {} | {} | {} | {} |\n";

std::string grid_text(const HilbertSize& size) { return fmt::format("{}x{}", size.side, size.side); }
std::string percent(double fraction, int digits) { return fmt::format("{:.{}f}%", fraction * 100, digits); }
std::string times_text(double factor) { return fmt::format("{:.2f}x", factor); }
std::string milliseconds(double seconds) {
  return fmt::format("{:.{}f}", seconds * 1e3, seconds < 1e-2 ? 3 : seconds < 1 ? 2 : 0);
}

// Of the fused engine: a tenth is more than noise.
const char* faster(const HilbertTimes& times) {
  if (times.gain_of_curve() >= 1.1) return "curve";
  return times.gain_of_curve() <= 1 / 1.1 ? "2-D tile" : "even";
}

const char* contender_name(size_t which) {
  constexpr const char* kNames[kContenders] = {"block_sparse_row_major", "block_sparse_hilbert", "fused_grid",
                                               "fused_hilbert"};
  return kNames[which];
}

Json to_json(const nf_block_counts& counts) {
  return {{"blocks", counts.blocks},
          {"empty", counts.empty},
          {"full", counts.full},
          {"masked", counts.masked},
          {"empty_ratio", empty_ratio(counts)}};
}

Json to_json(const EmptyBlocks& blocks) {
  Json json = {{"grid", {blocks.size.side, blocks.size.side}}, {"width", blocks.size.width}};
  for (size_t kind = 0; kind < std::size(kLocalKinds); ++kind)
    json[std::string(name_of(kLocalKinds[kind]))] = {{"row_major", to_json(blocks.row_major[kind])},
                                                     {"hilbert", to_json(blocks.hilbert[kind])}};
  return json;
}

Json to_json(const HilbertTimes& times) {
  Json json = {{"pattern", name_of(times.kind)},
               {"grid", {times.size.side, times.size.side}},
               {"width", times.size.width},
               {"heads", kHilbertHeads},
               {"head_dim", kHilbertHeadDim}};
  if (!times.failure.empty()) {
    json["error"] = times.failure;
    return json;
  }
  for (size_t i = 0; i < kContenders; ++i) {
    const auto which = static_cast<Contender>(i);
    const nf_explanation& e = times.explanations[i];
    json[contender_name(i)] = {{"median_ms", times.seconds(which) * 1e3},
                               {"spread", times.timings[i].spread},
                               {"repetitions", times.timings[i].repetitions},
                               {"roofline_fraction", times.roofline_fraction(which)},
                               {"waste", e.waste},
                               {"useful_pairs", e.useful_pairs},
                               {"full_steps", e.full_steps},
                               {"masked_steps", e.masked_steps},
                               {"reason", e.reason},
                               {"error_max", times.checks[i].error_max},
                               {"checked_rows", times.checks[i].rows}};
  }
  json["gain_of_blocks"] = times.gain_of_blocks();
  json["gain_of_tiles"] = times.gain_of_tiles();
  json["gain_of_curve"] = times.gain_of_curve();
  return json;
}

const HilbertTimes* goal_of(const std::vector<HilbertTimes>& times) {
  for (const HilbertTimes& each : times)
    if (each.kind == LocalKind::window && each.size.side == kGoalSize.side && each.size.width == kGoalSize.width &&
        each.failure.empty())
      return &each;
  return nullptr;
}

}  // namespace

void print_blocks_head(SuiteFormat format) {
  fmt::print("Empty blocks of {} x {} tokens, of all; row-major: k x k on the grid, Hilbert: k^2 along the curve\n",
             kPaperBlock, kPaperBlock);
  if (format == SuiteFormat::markdown) {
    fmt::print(
        "\n| grid, k | window, row-major | Hilbert | slide, row-major | Hilbert | neighborhood, row-major | "
        "Hilbert |\n|---|---|---|---|---|---|---|\n");
    return;
  }
  fmt::print(kBlocksRow, "", "", "window", "", "slide", "", "neighb.", "");
  fmt::print(kBlocksRow, "grid", "k", "row-major", "Hilbert", "row-major", "Hilbert", "row-major", "Hilbert");
}

void print_blocks(const EmptyBlocks& blocks, SuiteFormat format) {
  std::string ratios[2][3];
  for (size_t kind = 0; kind < 3; ++kind) {
    ratios[0][kind] = percent(empty_ratio(blocks.row_major[kind]), 1);
    ratios[1][kind] = percent(empty_ratio(blocks.hilbert[kind]), 1);
  }
  fmt::print(fmt::runtime(format == SuiteFormat::markdown ? kBlocksMarkdown : kBlocksRow), grid_text(blocks.size),
             blocks.size.width, ratios[0][0], ratios[1][0], ratios[0][1], ratios[1][1], ratios[0][2], ratios[1][2]);
}

void print_times_head(const HilbertReport& report, SuiteFormat format) {
  fmt::print("\n{}, {} thread{}, {} head of {} channels; medians in ms, of calls in turn; roof: of {:.1f} GFLOP/s\n",
             nf_dtype_name(report.dtype), report.threads, report.threads == 1 ? "" : "s", kHilbertHeads,
             kHilbertHeadDim, report.machine.peak_gflops * report.threads);
  if (format == SuiteFormat::markdown) {
    fmt::print(
        "\n| pattern | grid, k | block-sparse, row-major | roof | block-sparse, Hilbert | roof | gain | fused, 2-D "
        "| roof | gain | fused, Hilbert | roof | over 2-D | faster |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    return;
  }
  fmt::print(kTimesRow, "", "", "", "blocks:", "", "blocks:", "", "", "fused:", "", "", "fused:", "", "over", "of the");
  fmt::print(kTimesRow, "pattern", "grid", "k", "row-major", "roof", "Hilbert", "roof", "gain", "2-D", "roof", "gain",
             "Hilbert", "roof", "2-D", "fused");
}

void print_times(const HilbertTimes& times, SuiteFormat format) {
  if (!times.failure.empty()) {
    fmt::print("{:<12} {:>7} {:>3} {}\n", name_of(times.kind), grid_text(times.size), times.size.width, times.failure);
    return;
  }
  const auto roof = [&](Contender which) { return percent(times.roofline_fraction(which), 0); };
  fmt::print(fmt::runtime(format == SuiteFormat::markdown ? kTimesMarkdown : kTimesRow), name_of(times.kind),
             grid_text(times.size), times.size.width, milliseconds(times.seconds(kSparseRowMajor)),
             roof(kSparseRowMajor), milliseconds(times.seconds(kSparseHilbert)), roof(kSparseHilbert),
             times_text(times.gain_of_blocks()), milliseconds(times.seconds(kFusedGrid)), roof(kFusedGrid),
             times_text(times.gain_of_tiles()), milliseconds(times.seconds(kFusedHilbert)), roof(kFusedHilbert),
             times_text(times.gain_of_curve()), faster(times));
  std::fflush(stdout);
}

void print_goal(const std::vector<HilbertTimes>& times) {
  const HilbertTimes* found = goal_of(times);
  if (found == nullptr) return;
  fmt::print(
      "\nGoal: {} window attention, k = {}, Hilbert over row-major, both block-sparse: {:.2f}x, at least {:.0f}x "
      "is wanted: {}\n",
      grid_text(kGoalSize), kGoalSize.width, found->gain_of_blocks(), kHilbertGoal,
      found->gain_of_blocks() >= kHilbertGoal ? "pass" : "miss");
}

std::string to_json(const HilbertReport& report) {
  Json json;
  json["suite"] = "hilbert";
  json["machine"] = machine_json(report.machine);
  json["dtype"] = nf_dtype_name(report.dtype);
  json["threads"] = report.threads;
  json["block"] = kPaperBlock;
  json["empty_blocks"] = Json::array();
  for (const EmptyBlocks& blocks : report.blocks) json["empty_blocks"].push_back(to_json(blocks));
  json["times"] = Json::array();
  for (const HilbertTimes& times : report.times) json["times"].push_back(to_json(times));
  if (const HilbertTimes* found = goal_of(report.times))
    json["goal"] = {{"gain_of_blocks", found->gain_of_blocks()},
                    {"at_least", kHilbertGoal},
                    {"met", found->gain_of_blocks() >= kHilbertGoal}};
  return json.dump(2);
}

}  // namespace nearfield::cli
