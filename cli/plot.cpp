// nearfield plot: pictures of patterns, plans and orders, as SVG and PNG.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include "arguments.h"
#include "commands.h"
#include "plots.h"
#include "suggest.h"

namespace nearfield::cli {
namespace {

struct PlotArguments {
  GridArguments grid;
  std::string kind, out, query, block;
};

std::optional<Axes> query_of(const PlotArguments& arguments) {
  if (arguments.query.empty()) return std::nullopt;
  return parse_integers(arguments.query, "query");
}

// What a kind has no use for is refused rather than ignored.
void refuse(const PlotArguments& arguments, bool takes_query, bool takes_tiles, bool takes_block) {
  const std::tuple<const char*, const std::string&, bool> given[] = {{"query", arguments.query, takes_query},
                                                                     {"tile", arguments.grid.tile, takes_tiles},
                                                                     {"key_tile", arguments.grid.key_tile, takes_tiles},
                                                                     {"block", arguments.block, takes_block}};
  for (const auto& [name, value, takes] : given)
    if (!value.empty() && !takes)
      throw UsageError(fmt::format("{}={}: is not for plot {}", name, value, arguments.kind));
}

Picture window(const PlotArguments& arguments) {
  refuse(arguments, true, false, false);
  return plot_window(arguments.grid.resolve_pattern(), arguments.grid.resolve_grid(), query_of(arguments));
}

Picture plan(const PlotArguments& arguments) {
  refuse(arguments, false, true, false);
  const AnyPattern pattern = arguments.grid.resolve_pattern();
  return plot_plan(pattern, arguments.grid.resolve_grid(), arguments.grid.resolve_tiles(pattern));
}

Picture blocks(const PlotArguments& arguments) {
  refuse(arguments, false, false, true);
  const int64_t block = arguments.block.empty() ? 128 : parse_integer(arguments.block, "block");
  return plot_blocks(arguments.grid.resolve_pattern(), arguments.grid.resolve_grid(), block);
}

Picture curve(const PlotArguments& arguments) {
  refuse(arguments, false, false, false);
  PatternArguments pattern = arguments.grid.pattern;
  if (pattern.pattern == "neighborhood") {  // none was named: the order alone
    const std::string order = std::exchange(pattern.order, "");
    if (pattern.any()) pattern.check();  // says what a pattern along a curve is
    if (!pattern.kernel_size.empty())
      throw UsageError("kernel_size: is not for plot curve: name a pattern along an order, such as hilbert-window");
    return plot_curve(order.empty() ? NF_HILBERT : parse_order(order), arguments.grid.resolve_grid(), nullptr);
  }
  const AnyPattern resolved = arguments.grid.resolve_pattern();
  const auto* along = std::get_if<nf_curve>(&resolved);
  if (along == nullptr)
    throw UsageError(fmt::format("pattern={}: must be one along an order for plot curve", pattern.pattern));
  return plot_curve(static_cast<nf_order>(along->order), arguments.grid.resolve_grid(), &resolved);
}

Picture sphere(const PlotArguments& arguments) {
  refuse(arguments, true, false, false);
  GridArguments grid = arguments.grid;
  if (grid.pattern.pattern == "neighborhood") grid.pattern.pattern = "sphere";
  const AnyPattern pattern = grid.resolve_pattern();
  const auto* on_sphere = std::get_if<nf_sphere>(&pattern);
  if (on_sphere == nullptr)
    throw UsageError(fmt::format("pattern={}: must be sphere or sphere-global for plot sphere", grid.pattern.pattern));
  return plot_sphere(*on_sphere, query_of(arguments));
}

struct Kind {
  const char* name;
  Picture (*draw)(const PlotArguments&);
};
constexpr Kind kKinds[] = {
    {"window", window}, {"plan", plan}, {"blocks", blocks}, {"curve", curve}, {"sphere", sphere}};

void run_plot(const PlotArguments& arguments) {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  if (arguments.kind.empty())
    throw UsageError(fmt::format("kind: is missing: must be one of {}", fmt::join(names, ", ")));
  const auto found = std::find(names.begin(), names.end(), arguments.kind);
  if (found == names.end())
    throw UsageError(with_suggestion(fmt::format("kind={}: must be one of {}", arguments.kind, fmt::join(names, ", ")),
                                     nearest(arguments.kind, names)));
  if (arguments.out.empty()) throw UsageError("out: is missing: give --out FILE.svg or FILE.png");
  check_picture_path(arguments.out);
  const Picture picture = kKinds[found - names.begin()].draw(arguments);
  write_picture(picture, arguments.out);
  fmt::print("Wrote {}.\n", arguments.out);
}

constexpr char kExamples[] =
    "Kinds:\n"
    "  window   which keys a query sees, over a grid of 1, 2 or 3 axes\n"
    "  plan     which steps tiles of queries visit, full and masked, and the waste of each tile\n"
    "  blocks   which blocks of tokens a block-sparse kernel visits\n"
    "  curve    an order's walk through a grid, and the windows along it\n"
    "  sphere   which keys a query on the sphere sees, on a map\n"
    "Examples:\n"
    "  nearfield plot window --grid 24,32 -k 7 --query 3,10 --out window.svg\n"
    "  nearfield plot plan --grid 512 -k 64 --stride 16 --tile 16 --key-tile 64 --out plan.png\n"
    "  nearfield plot blocks --grid 64,64 --pattern hilbert-window --size 64 --out blocks.svg\n"
    "  nearfield plot curve --grid 16,24 --pattern hilbert-window --size 16 --out curve.svg\n"
    "  nearfield plot sphere --grid 91,180 --cutoff 20deg --query 10,60 --out sphere.png\n";

}  // namespace

void add_plot(CLI::App& app) {
  CLI::App* command = app.add_subcommand("plot", "Pictures of windows, plans, orders and the sphere: SVG or PNG");
  const auto arguments = std::make_shared<PlotArguments>();
  command->add_option("kind", arguments->kind, "window, plan, blocks, curve or sphere")->type_name("KIND");
  command->add_option("--out", arguments->out, "Where to write it")->type_name("FILE.svg|FILE.png");
  command->add_option("--query", arguments->query, "window, sphere: coordinates of the query (default: the middle)")
      ->type_name("N[,N...]");
  command->add_option("--block", arguments->block, "blocks: tokens of a block (default 128)")->type_name("N");
  arguments->grid.add_to(*command);
  command->footer(kExamples);
  command->callback([arguments] { run_plot(*arguments); });
}

}  // namespace nearfield::cli
