// nearfield run: attention over tensors in files.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>

#include "arguments.h"
#include "commands.h"
#include "format.h"
#include "forward_call.h"
#include "inputs.h"
#include "io/tensor_file.h"
#include "pattern_arguments.h"
#include "progress.h"

namespace nearfield::cli {
namespace {

// Work between two redraws of the progress bar: long enough that starting a call costs nothing beside it.
constexpr double kSecondsPerPart = 0.25;
constexpr double kMaxParts = 200;

struct RunArguments {
  InputArguments inputs;
  PatternArguments pattern;
  EngineArguments engine;
  std::string out;
  bool logsumexp = false, backward = false, unfused = false;
};

// Everything about the output that can be wrong before there is one.
void check_output_path(const RunArguments& arguments) {
  const std::filesystem::path path = arguments.out;
  FileFormat format;
  try {
    format = format_of(path);
  } catch (const FileError&) {
    throw UsageError(fmt::format("out={}: must end in .npy, .npz or .safetensors", arguments.out));
  }
  if (arguments.backward && format == FileFormat::npy)
    throw UsageError(fmt::format("out={}: must be .npz or .safetensors to hold several gradients", arguments.out));
  if (arguments.unfused && format == FileFormat::npy)
    throw UsageError(fmt::format("out={}: must be .npz or .safetensors to hold weights too", arguments.out));
  if (arguments.logsumexp && format == FileFormat::npy)
    throw UsageError(fmt::format("out={}: must be .npz or .safetensors to hold logsumexp too", arguments.out));
  for (const std::filesystem::path& input : arguments.inputs.files()) {
    std::error_code error;
    if (std::filesystem::equivalent(path, input, error) && !error)
      throw UsageError(fmt::format("out={}: must not be an input, which it would overwrite", arguments.out));
  }
  std::error_code error;
  const std::filesystem::path directory = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  if (!std::filesystem::is_directory(directory, error))
    throw UsageError(fmt::format("out={}: there is no directory {}", arguments.out, directory.string()));
}

// Outputs in the layout of the inputs.
std::vector<int64_t> stored_sizes(std::vector<int64_t> heads_last, int heads_axis, Layout layout) {
  if (layout == Layout::heads_last) return heads_last;
  const int64_t heads = heads_last[static_cast<size_t>(heads_axis)];
  heads_last.erase(heads_last.begin() + heads_axis);
  heads_last.insert(heads_last.begin() + 1, heads);
  return heads_last;
}

OwnedTensor make_out(const Inputs& inputs) {
  const Tensor query = inputs.query(), value = inputs.value();
  if (value.rank != query.rank)
    throw UsageError(fmt::format("value: has {} dimensions: must have {}, as query", value.rank, query.rank));
  std::vector<int64_t> sizes(query.sizes, query.sizes + query.rank);
  sizes.back() = value.sizes[value.rank - 1];
  return make_tensor(static_cast<nf_dtype>(query.dtype), stored_sizes(sizes, query.rank - 2, inputs.layout()));
}

OwnedTensor make_logsumexp(const Inputs& inputs) {
  const Tensor query = inputs.query();
  const std::vector<int64_t> sizes(query.sizes, query.sizes + query.rank - 1);
  return make_tensor(query.dtype == NF_FLOAT64 ? NF_FLOAT64 : NF_FLOAT32,
                     stored_sizes(sizes, query.rank - 2, inputs.layout()));
}

// (batch, *grid, heads, slots and additional keys), in the layout of the inputs. Refused before memory is taken for
// what the machine does not have.
OwnedTensor make_weights(const Inputs& inputs, const nf_pattern* pattern) {
  const Tensor query = inputs.query();
  std::vector<int64_t> sizes(query.sizes, query.sizes + query.rank);
  const std::vector<int64_t> grid(query.sizes + 1, query.sizes + query.rank - 2);
  double slots = 1;
  for (const int64_t each : weight_slots(pattern, grid)) slots *= static_cast<double>(each);
  if (const std::optional<Tensor> more = inputs.modifiers().additional_keys)
    slots += static_cast<double>(more->sizes[1]);
  double bytes = slots * static_cast<double>(size_of(static_cast<nf_dtype>(query.dtype)));
  for (int i = 0; i + 1 < query.rank; ++i) bytes *= static_cast<double>(query.sizes[i]);
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (bytes > memory)
    throw Failure(fmt::format("unfused: weights of {} queries and heads x {:.0f} slots take {}: this machine has {}",
                              shape_text(std::span(sizes).first(sizes.size() - 1)), slots, bytes_text(bytes),
                              bytes_text(memory)));
  sizes.back() = static_cast<int64_t>(slots);
  return make_tensor(static_cast<nf_dtype>(query.dtype), stored_sizes(sizes, query.rank - 2, inputs.layout()));
}

// Seconds that the calls took. Without a terminal there is nobody to show progress to, and the work stays whole.
double run_with_progress(const ForwardCall& call, const nf_explanation& explanation) {
  const bool watched = isatty(STDERR_FILENO) == 1;
  const double parts = watched ? std::min(explanation.predicted_seconds / kSecondsPerPart, kMaxParts) : 1;
  const std::vector<ForwardCall> calls = split(call, static_cast<int64_t>(parts));
  Progress progress(static_cast<int64_t>(calls.size()));
  const auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < calls.size(); ++i) {
    if (calls.size() > 1) progress.show(static_cast<int64_t>(i), "parts of batch and heads");
    calls[i].run();
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string summary(const RunArguments& arguments, const OwnedTensor& out, const nf_explanation& explanation,
                    double seconds, double flops) {
  std::string how(name(static_cast<nf_engine>(explanation.engine)));
  if (explanation.isa != NF_ISA_AUTO) how += " " + std::string(name(static_cast<nf_isa>(explanation.isa)));
  if (explanation.kernel != NF_KERNEL_AUTO) how += " " + std::string(name(static_cast<nf_kernel>(explanation.kernel)));
  return fmt::format("{}: out {} {}{}; {}, {} thread{}, {}, {:.3g} GFLOP/s", arguments.out, shape_text(out.sizes),
                     name(out.dtype), arguments.logsumexp ? " and logsumexp" : "", how, explanation.num_threads,
                     explanation.num_threads == 1 ? "" : "s", seconds_text(seconds),
                     seconds > 0 ? flops / seconds * 1e-9 : 0.0);
}

void write_outputs(const RunArguments& arguments, const TensorMap& outputs) {
  try {
    write_tensor_file(arguments.out, outputs);
  } catch (const FileError& error) {
    throw Failure(fmt::format("out={}", error.what()));
  }
}

// The gradients of every tensor that is given and has one, as dquery, dkey, ..., beside what the forward gives.
void run_backward_files(const RunArguments& arguments) {
  const Options options = arguments.engine.resolve();
  check_output_path(arguments);
  const Inputs inputs = arguments.inputs.load();
  if (!inputs.has("dout"))
    throw UsageError("dout: is missing: --backward takes it as --dout FILE, or from an --input with a tensor 'dout'");
  const AnyPattern pattern = arguments.pattern.resolve(inputs.grids());
  const Modifiers modifiers = inputs.modifiers();
  explain(head_of(pattern), inputs.query(), inputs.key(), inputs.value(), options, modifiers);  // the library's rules
  TensorMap outputs;
  outputs.emplace("out", make_out(inputs));
  outputs.emplace("logsumexp", make_logsumexp(inputs));
  const auto gradient = [&](const char* role) -> std::optional<Tensor> {
    if (!inputs.has(role)) return std::nullopt;
    const auto [place, is_new] = outputs.emplace(fmt::format("d{}", role), inputs.make_like(role));
    return inputs.view_like(role, place->second);
  };
  Gradients gradients;
  gradients.query = gradient("query");
  gradients.key = gradient("key");
  gradients.value = gradient("value");
  gradients.additional_keys = gradient("additional_keys");
  gradients.additional_values = gradient("additional_values");
  gradients.key_weights = gradient("key_weights");
  gradients.bias = gradient("bias");
  const Tensor out = in_heads_last(outputs.at("out").view(), inputs.layout());
  const Tensor logsumexp = logsumexp_in_heads_last(outputs.at("logsumexp").view(), inputs.layout());
  forward(head_of(pattern), inputs.query(), inputs.key(), inputs.value(), out, logsumexp, options, modifiers);
  const auto start = std::chrono::steady_clock::now();
  backward(head_of(pattern), inputs.query(), inputs.key(), inputs.value(), out, logsumexp, *inputs.dout(), gradients,
           inputs.dlogsumexp(), options, modifiers);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write_outputs(arguments, outputs);
  std::string names;
  for (const auto& [output, tensor] : outputs) names += (names.empty() ? "" : ", ") + output;
  fmt::print("{}: {}; backward {}\n", arguments.out, names, seconds_text(seconds));
}

// The forward that leaves its attention weights, too.
void run_unfused_files(const RunArguments& arguments) {
  Options options = arguments.engine.resolve();
  if (options.engine == NF_ENGINE_AUTO) options.engine = NF_ENGINE_GEMM;
  check_output_path(arguments);
  const Inputs inputs = arguments.inputs.load();
  const AnyPattern pattern = arguments.pattern.resolve(inputs.grids());
  const Modifiers modifiers = inputs.modifiers();
  explain(head_of(pattern), inputs.query(), inputs.key(), inputs.value(), options, modifiers);  // the library's rules
  TensorMap outputs;
  outputs.emplace("weights", make_weights(inputs, head_of(pattern)));
  outputs.emplace("out", make_out(inputs));
  std::optional<Tensor> logsumexp;
  if (arguments.logsumexp) {
    outputs.emplace("logsumexp", make_logsumexp(inputs));
    logsumexp = logsumexp_in_heads_last(outputs.at("logsumexp").view(), inputs.layout());
  }
  const OwnedTensor& weights = outputs.at("weights");
  const auto start = std::chrono::steady_clock::now();
  forward_weights(head_of(pattern), inputs.query(), inputs.key(), inputs.value(),
                  in_heads_last(outputs.at("out").view(), inputs.layout()),
                  in_heads_last(weights.view(), inputs.layout()), logsumexp, options, modifiers);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write_outputs(arguments, outputs);
  fmt::print("{}: out{} and weights {} {}, {}; {}, {}\n", arguments.out, arguments.logsumexp ? ", logsumexp" : "",
             shape_text(weights.sizes), name(weights.dtype), bytes_text(static_cast<double>(weights.bytes.size())),
             name(static_cast<nf_engine>(options.engine)), seconds_text(seconds));
}

void run_files(const RunArguments& arguments) {
  arguments.pattern.check();
  if (arguments.backward && arguments.unfused) throw UsageError("unfused: must not come with --backward");
  if (arguments.backward) return run_backward_files(arguments);
  if (!arguments.inputs.dout.empty() || !arguments.inputs.dlogsumexp.empty())
    throw UsageError("dout: is for --backward");
  if (arguments.unfused) return run_unfused_files(arguments);
  const Options options = arguments.engine.resolve();
  check_output_path(arguments);
  const Inputs inputs = arguments.inputs.load();
  const AnyPattern pattern = arguments.pattern.resolve(inputs.grids());
  const Modifiers modifiers = inputs.modifiers();
  // The library's rules, before memory for outputs is taken.
  const nf_explanation explanation =
      explain(head_of(pattern), inputs.query(), inputs.key(), inputs.value(), options, modifiers);
  TensorMap outputs;
  outputs.emplace("out", make_out(inputs));
  if (arguments.logsumexp) outputs.emplace("logsumexp", make_logsumexp(inputs));
  const OwnedTensor& out = outputs.at("out");
  ForwardCall call = {pattern, inputs.query(), inputs.key(), inputs.value(), in_heads_last(out.view(), inputs.layout()),
                      {},      options,        modifiers};
  if (arguments.logsumexp) call.logsumexp = logsumexp_in_heads_last(outputs.at("logsumexp").view(), inputs.layout());
  const double seconds = run_with_progress(call, explanation);
  write_outputs(arguments, outputs);
  fmt::print("{}\n", summary(arguments, out, explanation, seconds, useful_flops(call, explanation)));
}

constexpr char kExamples[] =
    "Examples:\n"
    "  nearfield run --input qkv.npz --kernel-size 7 --out out.npy\n"
    "  nearfield run --query a.npz:q --key a.npz:k --value b.npy -k 5,7,7 --causal true,false,false --out out.npz "
    "--lse\n"
    "  nearfield run -i x.safetensors --layout heads-first -k 13 --dilation 2 --boundary wrap --engine reference \\\n"
    "      --out out.safetensors\n"
    "  nearfield run -i qkv.npz --pattern hilbert-window --size 49 --shift 24 -o out.npy\n"
    "  nearfield run --query u.npy --key x.npy --value x.npy --pattern sphere --cutoff 5deg -o out.npy\n"
    "  nearfield run --unfused --input qkv.npz -k 7 --out attention.npz\n"
    "  nearfield run --backward --input qkv.npz --dout dout.npy -k 7 --out gradients.npz\n"
    "The output holds 'out', and with --lse 'logsumexp', in the layout of the inputs and the dtype of the query;\n"
    "with --unfused also 'weights' (batch, *grid, heads, slots), the softmax over each window, slots row-major over "
    "the\n"
    "axes and then the additional keys; with --backward both, and 'dquery', 'dkey', 'dvalue' and the gradients of the "
    "modifiers that are given.\n";

}  // namespace

void add_run(CLI::App& app) {
  CLI::App* command = app.add_subcommand("run", "Attention over tensors in .npy, .npz or .safetensors files");
  const auto arguments = std::make_shared<RunArguments>();
  arguments->inputs.add_to(*command);
  arguments->pattern.add_to(*command);
  arguments->engine.add_to(*command);
  command->add_flag("--backward", arguments->backward, "Forward, then the gradients of all tensors given")
      ->group("Backward");
  arguments->inputs.add_backward_to(*command);
  command->add_option("-o,--out", arguments->out, "Where the result goes: .npy, .npz or .safetensors")
      ->required()
      ->type_name("FILE")
      ->group("Output");
  command->add_flag("--lse", arguments->logsumexp, "Write logsumexp too")->group("Output");
  command
      ->add_flag("--unfused", arguments->unfused,
                 "Write the attention weights too: by engine gemm, unless naive or reference is asked for")
      ->group("Output");
  command->footer(kExamples);
  command->callback([arguments] { run_files(*arguments); });
}

}  // namespace nearfield::cli
