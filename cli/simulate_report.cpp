#include "simulate_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "format.h"

namespace nearfield::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kShown = 12, kShownWindows = 16;

std::string bound_text(double bound) { return fmt::format("{:.2f}x", bound); }
std::string percent(double part, double whole) {
  return whole > 0 ? fmt::format("{:.1f}%", 100 * part / whole) : std::string("-");
}
std::string joined(const Axes& axes) { return fmt::format("{}", fmt::join(axes, "x")); }
std::string tiles_text(const TileSizes& tiles) {
  return fmt::format("{}/{}", joined(tiles.tile), joined(tiles.key_tile));
}

Json json_of(const nf_visits& visits, bool timed) {
  Json json = {{"units", visits.units},
               {"dense_units", visits.dense_units},
               {"most_units", visits.most_units},
               {"keys", visits.keys},
               {"dense_keys", visits.dense_keys},
               {"most_keys", visits.most_keys},
               {"full_units", visits.full_units},
               {"masked_units", visits.masked_units},
               {"pairs", visits.pairs},
               {"waste", visits.waste},
               {"worst_bound", visits.worst_bound},
               {"mean_bound", visits.mean_bound}};
  if (!timed) return json;
  json["seconds"] = visits.seconds;
  json["dense_seconds"] = visits.dense_seconds;
  return json;
}

Json json_of(const Simulated& each, bool timed) {
  const nf_simulation& found = each.simulation;
  return {{"pattern", pattern_text(each.pattern)},
          {"window", window_text(each.pattern)},
          {"stride", stride_text(each.pattern)},
          {"grid", each.grid},
          {"tile", each.tiles.tile},
          {"key_tile", each.tiles.key_tile},
          {"query_tiles", found.query_tiles},
          {"dense_query_tiles", found.dense_query_tiles},
          {"useful_pairs", found.useful_pairs},
          {"dense_pairs", found.dense_pairs},
          {"ideal_bound", found.ideal_bound},
          {"is_block_sparse", each.is_block_sparse()},
          {"key_tiles", json_of(found.key_tiles, timed)},
          {"steps", json_of(found.steps, timed)}};
}

Json json_of(const std::vector<Simulated>& all, bool timed) {
  Json list = Json::array();
  for (const Simulated& each : all) list.push_back(json_of(each, timed));
  return list;
}

constexpr char kColumns[] = "{:<16} {:>22} {:>28}\n";
constexpr char kRow[] = "{:<14} {:<14} {:<22} {:>8} {:>8} {:>8} {:>8} {:>7} {:>8}\n";

void print_row(const Simulated& each) {
  const nf_visits& tiles = each.simulation.key_tiles;
  fmt::print(kRow, window_text(each.pattern), stride_text(each.pattern), tiles_text(each.tiles),
             bound_text(tiles.worst_bound), bound_text(tiles.mean_bound), bound_text(each.simulation.steps.mean_bound),
             bound_text(each.simulation.ideal_bound), fmt::format("{:.3f}", tiles.waste),
             percent(tiles.full_units, tiles.units));
}

void print_head() {
  fmt::print(kRow, "window", "stride", "tiles", "worst", "mean", "steps", "ideal", "waste", "no mask");
}

// The fastest without any mask, unless it is shown already.
void print_block_sparse(const std::vector<Simulated>& all, size_t shown) {
  const auto perfect = [](const Simulated& each) { return each.is_block_sparse(); };
  const auto first = std::find_if(all.begin(), all.end(), perfect);
  const auto count = std::count_if(all.begin(), all.end(), perfect);
  if (first == all.end()) return fmt::print("Perfectly block-sparse, without any mask: none of {}.\n", all.size());
  fmt::print("Perfectly block-sparse, without any mask: {} of {}, the fastest {} at stride {}, tiles {}.\n", count,
             all.size(), bound_text(first->simulation.key_tiles.worst_bound), stride_text(first->pattern),
             tiles_text(first->tiles));
  if (static_cast<size_t>(first - all.begin()) >= shown) print_row(*first);
}

}  // namespace

void print_simulated(const Simulated& each, bool timed) {
  const nf_simulation& found = each.simulation;
  const auto line = [](std::string_view name, const std::string& text) { fmt::print("{:<16} {}\n", name, text); };
  line("pattern", pattern_text(each.pattern));
  line("grid", axes_text(each.grid));
  line("tiles", fmt::format("{} of {} queries; key tiles of {}", count_text(found.query_tiles),
                            axes_text(each.tiles.tile), axes_text(each.tiles.key_tile)));
  line("pairs", fmt::format("{} of {}: an ideal speed-up of {}", count_text(found.useful_pairs),
                            count_text(found.dense_pairs), bound_text(found.ideal_bound)));
  line("block-sparse", each.is_block_sparse() ? "perfectly: no key tile needs a mask" : "not perfectly: masks");
  fmt::print("\n");
  fmt::print(kColumns, "", "key tiles, fixed", "steps, from the first key");
  const auto both = [&](const char* name, auto text) {
    fmt::print(kColumns, name, text(found.key_tiles), text(found.steps));
  };
  both("worst bound", [](const nf_visits& v) { return bound_text(v.worst_bound); });
  both("mean bound", [](const nf_visits& v) { return bound_text(v.mean_bound); });
  both("visited, mean", [&](const nf_visits& v) {
    return fmt::format("{:.2f} of {:.0f}", v.units / std::max(found.query_tiles, 1.0),
                       v.dense_units / std::max(found.dense_query_tiles, 1.0));
  });
  both("visited, most", [](const nf_visits& v) { return fmt::format("{:.0f}", v.most_units); });
  both("without mask", [](const nf_visits& v) { return percent(v.full_units, v.units); });
  both("waste", [](const nf_visits& v) { return fmt::format("{:.3f}", v.waste); });
  if (!timed) return;
  both("predicted", [](const nf_visits& v) { return seconds_text(v.seconds); });
  both("dense", [](const nf_visits& v) { return seconds_text(v.dense_seconds); });
  both("speed-up", [](const nf_visits& v) { return v.seconds > 0 ? bound_text(v.dense_seconds / v.seconds) : "-"; });
}

void print_sweep(const Sweep& sweep, bool timed) {
  const size_t shown = std::min(kShown, sweep.strides.size());
  fmt::print("{} combinations of strides{} and tiles (queries/keys); the best {}, by the slowest tile's bound:\n",
             sweep.strides.size(), sweep.all_strides ? "" : " (powers of two and the window)", shown);
  print_head();
  for (size_t i = 0; i < shown; ++i) print_row(sweep.strides[i]);
  print_block_sparse(sweep.strides, shown);
  if (timed) {
    const nf_visits& best = sweep.strides.front().simulation.key_tiles;
    fmt::print("The best is predicted to take {} with key tiles, dense attention {}.\n", seconds_text(best.seconds),
               seconds_text(best.dense_seconds));
  }
  if (sweep.same_cost) {
    fmt::print("\nThe same cost as the best, and larger:\n");
    print_row(*sweep.same_cost);
  }
  if (sweep.pareto.empty()) return;
  fmt::print("\nWindows from half to twice as long of which no other is as large and as fast{}:\n",
             sweep.pareto.size() > kShownWindows ? fmt::format(", {} of {}", kShownWindows, sweep.pareto.size()) : "");
  print_head();
  const size_t rows = std::min(kShownWindows, sweep.pareto.size());
  for (size_t i = 0; i < rows; ++i)  // the first, the last and some between
    print_row(sweep.pareto[rows == 1 ? 0 : i * (sweep.pareto.size() - 1) / (rows - 1)]);
}

std::string to_json(const Simulated& simulated, bool timed) { return json_of(simulated, timed).dump(2); }

std::string to_json(const Sweep& sweep, bool timed) {
  const Json json = {{"all_strides", sweep.all_strides},
                     {"strides", json_of(sweep.strides, timed)},
                     {"same_cost", sweep.same_cost ? json_of(*sweep.same_cost, timed) : Json(nullptr)},
                     {"pareto", json_of(sweep.pareto, timed)}};
  return json.dump(2);
}

std::string to_csv(const std::vector<Simulated>& all, bool timed) {
  std::string text =
      "window,stride,grid,tile,key_tile,query_tiles,useful_pairs,dense_pairs,ideal_bound,is_block_sparse";
  for (const char* way : {"key_tiles", "steps"}) {
    for (const char* name : {"worst_bound", "mean_bound", "units", "most_units", "masked_units", "keys", "waste"})
      text += fmt::format(",{}_{}", way, name);
    if (timed) text += fmt::format(",{0}_seconds,{0}_dense_seconds", way);
  }
  text += '\n';
  const auto cell = [](std::string axes) {
    std::replace(axes.begin(), axes.end(), ',', 'x');
    return axes;
  };
  for (const Simulated& each : all) {
    const nf_simulation& found = each.simulation;
    text +=
        fmt::format("{},{},{},{},{},{},{},{},{},{}", cell(window_text(each.pattern)), cell(stride_text(each.pattern)),
                    joined(each.grid), joined(each.tiles.tile), joined(each.tiles.key_tile), found.query_tiles,
                    found.useful_pairs, found.dense_pairs, found.ideal_bound, each.is_block_sparse());
    for (const nf_visits* visits : {&found.key_tiles, &found.steps}) {
      text += fmt::format(",{},{},{},{},{},{},{}", visits->worst_bound, visits->mean_bound, visits->units,
                          visits->most_units, visits->masked_units, visits->keys, visits->waste);
      if (timed) text += fmt::format(",{},{}", visits->seconds, visits->dense_seconds);
    }
    text += '\n';
  }
  return text;
}

}  // namespace nearfield::cli
