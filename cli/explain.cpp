// nearfield explain: what would run, and why; from a shape alone or from files.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "arguments.h"
#include "commands.h"
#include "format.h"
#include "inputs.h"
#include "pattern_arguments.h"
#include "sphere_arguments.h"

namespace nearfield::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ExplainArguments {
  InputArguments inputs;
  PatternArguments pattern;
  EngineArguments engine;
  std::string shape, dtype = "f32", heads_kv, head_dim_v;
  bool json = false, backward = false;
};

struct Explained {
  Tensor query;
  AnyPattern pattern;
  nf_explanation explanation;
};

nf_explanation explain_call(const ExplainArguments& arguments, const AnyPattern& pattern, const Tensor& query,
                            const Tensor& key, const Tensor& value, const Modifiers& modifiers) {
  const Options options = arguments.engine.resolve();
  if (!arguments.backward) return explain(head_of(pattern), query, key, value, options, modifiers);
  const Gradients all = {.query = query,
                         .key = key,
                         .value = value,
                         .additional_keys = modifiers.additional_keys,
                         .additional_values = modifiers.additional_values,
                         .key_weights = modifiers.key_weights,
                         .bias = modifiers.bias};
  return explain_backward(head_of(pattern), query, key, value, all, options, modifiers);
}

Explained explain_shape(const ExplainArguments& arguments) {
  const std::vector<int64_t> sizes = parse_integers(arguments.shape, "shape");
  grid_rank_of(sizes.size(), "shape");
  const std::vector<int64_t> grid(sizes.begin() + 1, sizes.end() - 2);
  const nf_dtype dtype = parse_dtype(arguments.dtype);
  const AnyPattern pattern = arguments.pattern.resolve({grid, grid});
  const std::vector<int64_t> keys = key_grid_of(pattern, grid);
  std::vector<int64_t> key = sizes;
  std::copy(keys.begin(), keys.end(), key.begin() + 1);
  std::vector<int64_t> value = key;
  if (!arguments.heads_kv.empty())
    key[key.size() - 2] = value[value.size() - 2] = parse_integer(arguments.heads_kv, "heads_kv");
  if (!arguments.head_dim_v.empty()) value.back() = parse_integer(arguments.head_dim_v, "head_dim_v");
  Modifiers modifiers;
  modifiers.softcap = parse_number(arguments.inputs.softcap, "softcap");
  const Tensor query(nullptr, dtype, sizes);
  return {
      query, pattern,
      explain_call(arguments, pattern, query, Tensor(nullptr, dtype, key), Tensor(nullptr, dtype, value), modifiers)};
}

Explained explain_files(const ExplainArguments& arguments) {
  const Inputs inputs = arguments.inputs.load();
  const AnyPattern pattern = arguments.pattern.resolve(inputs.grids());
  Tensor query = inputs.query();
  const nf_explanation explanation =
      explain_call(arguments, pattern, query, inputs.key(), inputs.value(), inputs.modifiers());
  query.data = nullptr;  // the memory goes with `inputs`
  return {query, pattern, explanation};
}

void print_text(const Explained& e) {
  const auto axes = static_cast<size_t>(plan_rank(e.pattern));
  const nf_explanation& x = e.explanation;
  const auto line = [](std::string_view name, const std::string& text) { fmt::print("{:<16} {}\n", name, text); };
  const auto sizes = std::span(e.query.sizes, static_cast<size_t>(e.query.rank));
  line("query", fmt::format("{} {}", shape_text(sizes), name(static_cast<nf_dtype>(e.query.dtype))));
  line("pattern", pattern_text(e.pattern));
  line("engine", x.engine == NF_ENGINE_AUTO ? "none" : std::string(name(static_cast<nf_engine>(x.engine))));
  line("instruction set", x.isa == NF_ISA_AUTO ? "none" : std::string(name(static_cast<nf_isa>(x.isa))));
  line("kernel", x.kernel == NF_KERNEL_AUTO ? "none" : std::string(name(static_cast<nf_kernel>(x.kernel))));
  line("threads", std::to_string(x.num_threads));
  line("tile", axes_text({x.tile, axes}) + " queries");
  line("step", "at most " + axes_text({x.step, axes}) + " keys");
  line("per head", fmt::format("{} tiles; {} full and {} masked steps", x.tiles, x.full_steps, x.masked_steps));
  line("pairs", fmt::format("{} useful, {} executed: waste {:.3f}", count_text(x.useful_pairs),
                            count_text(x.executed_pairs), x.waste));
  line("predicted", seconds_text(x.predicted_seconds));
  line("workspace", bytes_text(static_cast<double>(x.workspace)));
  line("plan", bytes_text(static_cast<double>(x.plan_memory)));
  line("reason", x.reason);
}

Json axis_json(const int64_t* values, int rank) { return std::vector<int64_t>(values, values + rank); }

template <class Enumeration>
Json name_json(int32_t value) {
  return value == 0 ? Json(nullptr) : Json(name(static_cast<Enumeration>(value)));
}

Json json_of(const nf_neighborhood& pattern) {
  const int rank = pattern.pattern.rank;
  std::vector<std::string> boundary;
  for (int axis = 0; axis < rank; ++axis)
    boundary.emplace_back(name_of(static_cast<nf_boundary>(pattern.boundary[axis])));
  return {{"kind", "neighborhood"},
          {"kernel_size", axis_json(pattern.kernel_size, rank)},
          {"stride", axis_json(pattern.stride, rank)},
          {"dilation", axis_json(pattern.dilation, rank)},
          {"is_causal", std::vector<bool>(pattern.is_causal, pattern.is_causal + rank)},
          {"boundary", boundary}};
}

Json json_of(const nf_window& pattern) {
  const int rank = pattern.pattern.rank;
  return {{"kind", "window"}, {"size", axis_json(pattern.size, rank)}, {"shift", axis_json(pattern.shift, rank)}};
}

Json json_of(const nf_curve& pattern) {
  return {{"kind", pattern_name(pattern)},
          {"order", name_of(static_cast<nf_order>(pattern.order))},
          {"size", pattern.size},
          {"shift", pattern.shift},
          {"stride", pattern.stride},
          {"dilation", pattern.dilation},
          {"is_causal", pattern.is_causal != 0}};
}

Json json_of(const nf_sphere_grid& grid) {
  return {{"latitudes", name_of(static_cast<nf_latitudes>(grid.latitudes))}, {"nlat", grid.nlat}, {"nlon", grid.nlon}};
}

Json json_of(const nf_sphere& pattern) {
  Json json = {{"kind", pattern_name(pattern)}, {"query", json_of(pattern.query)}, {"key", json_of(pattern.key)}};
  if (pattern.is_global != 0) return json;
  json["cutoff"] = cutoff_of(pattern);
  json["tolerance"] = pattern.tolerance;
  return json;
}

void print_json(const Explained& e) {
  const int rank = plan_rank(e.pattern);
  const nf_explanation& x = e.explanation;
  Json json = {
      {"query",
       {{"sizes", axis_json(e.query.sizes, e.query.rank)}, {"dtype", name(static_cast<nf_dtype>(e.query.dtype))}}},
      {"pattern", std::visit([](const auto& each) { return json_of(each); }, e.pattern)},
      {"engine", name_json<nf_engine>(x.engine)},
      {"isa", name_json<nf_isa>(x.isa)},
      {"kernel", name_json<nf_kernel>(x.kernel)},
      {"num_threads", x.num_threads},
      {"tile", axis_json(x.tile, rank)},
      {"step", axis_json(x.step, rank)},
      {"tiles", x.tiles},
      {"full_steps", x.full_steps},
      {"masked_steps", x.masked_steps},
      {"useful_pairs", x.useful_pairs},
      {"executed_pairs", x.executed_pairs},
      {"waste", x.waste},
      {"predicted_seconds", x.predicted_seconds},
      {"workspace", x.workspace},
      {"plan_memory", x.plan_memory},
      {"reason", x.reason},
  };
  fmt::print("{}\n", json.dump(2));
}

void run_explain(const ExplainArguments& arguments) {
  if (arguments.shape.empty() == !arguments.inputs.any())
    throw UsageError(arguments.shape.empty() ? "shape: is missing: give --shape, or files"
                                             : "shape=" + arguments.shape + ": must not come with files");
  const Explained explained = arguments.shape.empty() ? explain_files(arguments) : explain_shape(arguments);
  arguments.json ? print_json(explained) : print_text(explained);
}

constexpr char kExamples[] =
    "Examples:\n"
    "  nearfield explain --shape 1,56,56,2,32 --kernel-size 7\n"
    "  nearfield explain --shape 2,16,48,84,8,64 --dtype bf16 -k 5,7,7 --causal true,false,false --json\n"
    "  nearfield explain --input qkv.npz -k 7 --kernel tile\n"
    "  nearfield explain --shape 1,96,96,2,64 --pattern hilbert-slide --size 256 --engine block_sparse\n"
    "  nearfield explain --shape 1,721,1440,1,64 --pattern sphere --cutoff 1deg\n"
    "  nearfield explain --shape 1,181,360,1,64 --pattern sphere --key-grid 91,180 --key-latitudes legendre-gauss\n"
    "The predicted time comes from typical machine rates: an order, not a promise. nearfield bench measures.\n";

}  // namespace

void add_explain(CLI::App& app) {
  CLI::App* command = app.add_subcommand("explain", "What would run, on what, and why");
  const auto arguments = std::make_shared<ExplainArguments>();
  const std::string group = "Shape (instead of files)";
  command->add_option("--shape", arguments->shape, "Of the query: batch,*grid,heads,head_dim")
      ->type_name("N,N,...")
      ->group(group);
  command->add_option("--dtype", arguments->dtype, "f64, f32 (default), bf16 or f16")->type_name("NAME")->group(group);
  command->add_option("--heads-kv", arguments->heads_kv, "Heads of key and value (default: those of the query)")
      ->type_name("N")
      ->group(group);
  command->add_option("--head-dim-v", arguments->head_dim_v, "Channels of value (default: head_dim)")
      ->type_name("N")
      ->group(group);
  arguments->inputs.add_to(*command);
  arguments->pattern.add_to(*command);
  arguments->engine.add_to(*command);
  command->add_flag("--backward", arguments->backward, "Of the gradients of all tensors, not of the forward");
  command->add_flag("--json", arguments->json, "Print JSON")->group("Output");
  command->footer(kExamples);
  command->callback([arguments] { run_explain(*arguments); });
}

}  // namespace nearfield::cli
