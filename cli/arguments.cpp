#include "arguments.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <utility>

namespace nearfield::cli {
namespace {

[[noreturn]] void refuse(std::string_view name, std::string_view text, std::string_view rule) {
  throw UsageError(fmt::format("{}={}: {}", name, text, rule));
}

// from_chars, all of the text.
template <class T>
bool parse_whole(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string joined(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

// Names of one of the library's enumerations, in order of value: they end at the first null.
std::vector<std::string> names_in(const char* (*name_at)(int32_t)) {
  std::vector<std::string> names;
  for (int32_t i = 0; name_at(i) != nullptr; ++i) names.emplace_back(name_at(i));
  return names;
}

int32_t parse_name(const std::vector<std::string>& names, std::string_view text, std::string_view argument) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == text) return static_cast<int32_t>(i);
  refuse(argument, text, "must be one of " + joined(names));
}

constexpr std::pair<std::string_view, nf_dtype> kDtypeNames[] = {
    {"f64", NF_FLOAT64},   {"float64", NF_FLOAT64},   {"fp64", NF_FLOAT64}, {"double", NF_FLOAT64},
    {"f32", NF_FLOAT32},   {"float32", NF_FLOAT32},   {"fp32", NF_FLOAT32}, {"float", NF_FLOAT32},
    {"bf16", NF_BFLOAT16}, {"bfloat16", NF_BFLOAT16}, {"f16", NF_FLOAT16},  {"float16", NF_FLOAT16},
    {"fp16", NF_FLOAT16},  {"half", NF_FLOAT16},
};

const std::vector<std::string>& boundary_names() {
  static const std::vector<std::string> names = {"clamp", "wrap", "cut"};  // in order of nf_boundary
  return names;
}

}  // namespace

int64_t parse_integer(std::string_view text, std::string_view name) {
  int64_t value = 0;
  if (!parse_whole(text, value)) refuse(name, text, "must be an integer of 64 bits");
  return value;
}

double parse_number(std::string_view text, std::string_view name) {
  double value = 0;
  if (!parse_whole(text, value) || !std::isfinite(value)) refuse(name, text, "must be a finite number");
  return value;
}

bool parse_boolean(std::string_view text, std::string_view name) {
  if (text == "true" || text == "yes" || text == "1") return true;
  if (text == "false" || text == "no" || text == "0") return false;
  refuse(name, text, "must be true or false");
}

std::vector<std::string> split_list(std::string_view text, std::string_view name) {
  std::vector<std::string> elements;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    std::string_view element = text.substr(begin, comma - begin);
    while (!element.empty() && element.front() == ' ') element.remove_prefix(1);
    while (!element.empty() && element.back() == ' ') element.remove_suffix(1);
    if (element.empty()) refuse(name, text, "must be a list separated by commas, without empty elements");
    elements.emplace_back(element);
    begin = comma + 1;
  }
  return elements;
}

std::vector<int64_t> parse_integers(std::string_view text, std::string_view name) {
  const std::vector<std::string> elements = split_list(text, name);
  std::vector<int64_t> values;
  for (size_t i = 0; i < elements.size(); ++i)
    values.push_back(
        parse_integer(elements[i], elements.size() == 1 ? std::string(name) : fmt::format("{}[{}]", name, i)));
  return values;
}

nf_dtype parse_dtype(std::string_view text, std::string_view name) {
  for (const auto& [known, dtype] : kDtypeNames)
    if (known == text) return dtype;
  refuse(name, text, "must be one of f64, f32, bf16, f16 (or float64, float32, bfloat16, float16)");
}

nf_boundary parse_boundary(std::string_view text, std::string_view name) {
  return static_cast<nf_boundary>(parse_name(boundary_names(), text, name));
}
nf_engine parse_engine(std::string_view text, std::string_view name) {
  return static_cast<nf_engine>(parse_name(names_in(nf_engine_name), text, name));
}
nf_isa parse_isa(std::string_view text, std::string_view name) {
  return static_cast<nf_isa>(parse_name(names_in(nf_isa_name), text, name));
}
nf_kernel parse_kernel(std::string_view text, std::string_view name) {
  return static_cast<nf_kernel>(parse_name(names_in(nf_kernel_name), text, name));
}

const char* name_of(nf_boundary boundary) { return boundary_names().at(static_cast<size_t>(boundary)).c_str(); }

std::string engine_names() { return joined(names_in(nf_engine_name)); }
std::string isa_names() { return joined(names_in(nf_isa_name)); }
std::string kernel_names() { return joined(names_in(nf_kernel_name)); }

void EngineArguments::add_to(CLI::App& command) {
  const std::string group = "Execution";
  command.add_option("--engine", engine, "Engine: " + engine_names())->type_name("NAME")->group(group);
  command.add_option("--isa", isa, "Instruction set: " + isa_names())->type_name("NAME")->group(group);
  command.add_option("--kernel", kernel, "Method of the CPU engine: " + kernel_names())
      ->type_name("NAME")
      ->group(group);
  command.add_option("--threads", threads, "Threads; 0 (default): NEARFIELD_NUM_THREADS, else all cores")
      ->type_name("N")
      ->group(group);
  command.add_option("--scale", scale, "Factor of the logits (default 1/sqrt(head_dim))")->type_name("X")->group(group);
}

Options EngineArguments::resolve() const {
  Options options;
  options.engine = parse_engine(engine);
  options.isa = parse_isa(isa);
  options.kernel = parse_kernel(kernel);
  const int64_t count = parse_integer(threads, "num_threads");
  if (count < 0 || count > INT32_MAX) refuse("num_threads", threads, "must be 0 or more, and fit 32 bits");
  options.num_threads = static_cast<int32_t>(count);
  if (!scale.empty()) options.with_scale(parse_number(scale, "scale"));
  return options;
}

int grid_rank_of(size_t dimensions, std::string_view name) {
  if (dimensions < 4 || dimensions > 6)
    throw UsageError(
        fmt::format("{}: has {} dimensions: must have 4, 5 or 6 (batch, *grid, heads, head_dim)", name, dimensions));
  return static_cast<int>(dimensions) - 3;
}

}  // namespace nearfield::cli
