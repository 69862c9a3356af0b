// nearfield simulate: how much faster than dense attention a pattern can be with tiles of a given shape.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "commands.h"
#include "progress.h"
#include "simulate_page.h"
#include "simulate_report.h"
#include "simulation.h"

namespace nearfield::cli {
namespace {

struct SimulateArguments {
  GridArguments grid;
  RateArguments rates;
  std::string html;
  bool sweep = false, json = false, csv = false;
};

void print_result(const SimulateArguments& arguments, const Simulated& found, bool timed) {
  if (arguments.json) return fmt::print("{}\n", to_json(found, timed));
  if (arguments.csv) return fmt::print("{}", to_csv({found}, timed));
  print_simulated(found, timed);
}

void print_result(const SimulateArguments& arguments, const Sweep& found, bool timed) {
  if (arguments.json) return fmt::print("{}\n", to_json(found, timed));
  if (arguments.csv) {
    std::vector<Simulated> all = found.strides;
    all.insert(all.end(), found.pareto.begin(), found.pareto.end());
    return fmt::print("{}", to_csv(all, timed));
  }
  print_sweep(found, timed);
}

void write_page(const SimulateArguments& arguments, const AnyPattern& pattern, const Axes& grid,
                const TileSizes& tiles) {
  if (arguments.sweep || arguments.json || arguments.csv)
    throw UsageError(fmt::format("html={}: must not come with --sweep, --json or --csv", arguments.html));
  simulate_pattern(pattern, grid, tiles, std::nullopt);  // refuses what the page could not show
  write_file(arguments.html, simulation_page(pattern, grid, tiles));
  fmt::print("Wrote {}: open it in a browser.\n", arguments.html);
}

void run_simulate(const SimulateArguments& arguments) {
  if (arguments.json && arguments.csv) throw UsageError("csv: must not come with --json");
  const AnyPattern pattern = arguments.grid.resolve_pattern();
  const Axes grid = arguments.grid.resolve_grid();
  const TileSizes tiles = arguments.grid.resolve_tiles(pattern);
  const bool timed = arguments.rates.resolve(tiles.tile).has_value();
  if (!arguments.html.empty()) return write_page(arguments, pattern, grid, tiles);
  if (!arguments.sweep)
    return print_result(arguments, simulate_pattern(pattern, grid, tiles, arguments.rates.resolve(tiles.tile)), timed);
  const bool given = !arguments.grid.tile.empty() || !arguments.grid.key_tile.empty();
  SweepRequest request{pattern, grid, given ? std::vector{tiles} : tile_shapes(pattern, grid, tiles),
                       [&](const Axes& tile) { return arguments.rates.resolve(tile); }};
  std::unique_ptr<Progress> progress;
  int64_t of = 0;
  const Sweep found = sweep(request, [&](int64_t done, int64_t total, std::string_view label) {
    if (total != of || !progress) progress = std::make_unique<Progress>(of = total);
    progress->show(done, label);
  });
  progress.reset();
  print_result(arguments, found, timed);
}

constexpr char kExamples[] =
    "Examples:\n"
    "  nearfield simulate --grid 30,48,80 -k 18,24,24 --tile 4,8,8 --key-tile 2,8,8\n"
    "  nearfield simulate --grid 256,256 -k 80 --stride 16 --tile 16 --gflops 100 --head-dim 128\n"
    "  nearfield simulate --grid 30,48,80 -k 18,24,24 --tile 4,8,8 --key-tile 2,8,8 --sweep\n"
    "  nearfield simulate --grid 96,96 --pattern hilbert-slide --size 256 --sweep --csv\n"
    "  nearfield simulate --grid 30,48,80 -k 18,24,24 --tile 4,8,8 --key-tile 2,8,8 --html gna.html\n"
    "  nearfield simulate --grid 721,1440 --pattern sphere --cutoff 7deg\n"
    "Two ways to cut the keys: key tiles lie on a fixed grid, as those of block-sparse kernels, and count whole; "
    "steps\n"
    "begin at a tile's first key, as this library's own do, and cost what they hold. The worst bound holds if every "
    "tile\n"
    "of queries takes as long as the longest, the mean one if their work is shared out evenly.\n";

}  // namespace

void add_simulate(CLI::App& app) {
  CLI::App* command = app.add_subcommand("simulate", "How much faster than dense attention tiles can be, by counting");
  const auto arguments = std::make_shared<SimulateArguments>();
  arguments->grid.add_to(*command);
  arguments->rates.add_to(*command);
  command->add_flag(
      "--sweep", arguments->sweep,
      "All strides of the window, and unless tiles are given all shapes of as many tokens; windows of the "
      "same cost, and the set of the largest and fastest ones");
  command->add_option("--html", arguments->html, "Write a page on which grid, window, stride and tiles can be changed")
      ->type_name("FILE")
      ->group("Output");
  command->add_flag("--json", arguments->json, "Print JSON")->group("Output");
  command->add_flag("--csv", arguments->csv, "Print comma-separated values")->group("Output");
  command->footer(kExamples);
  command->callback([arguments] { run_simulate(*arguments); });
}

}  // namespace nearfield::cli
