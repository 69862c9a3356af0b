#include "pattern_arguments.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <tuple>
#include <vector>

#include "arguments.h"
#include "sphere_arguments.h"
#include "suggest.h"

namespace nearfield::cli {
namespace {

struct KnownPattern {
  std::string_view name;
  nf_pattern_kind kind;
  nf_curve_form form;        // of a curve
  std::string_view options;  // that it has
  bool is_global = false;    // of one on the sphere
};
constexpr KnownPattern kPatterns[] = {
    {"neighborhood", NF_NEIGHBORHOOD, {}, "kernel-size stride dilation causal boundary"},
    {"window", NF_WINDOW, {}, "size shift"},
    {"hilbert-window", NF_CURVE, NF_CURVE_WINDOW, "size shift dilation causal"},
    {"hilbert-slide", NF_CURVE, NF_CURVE_SLIDE, "size stride dilation causal"},
    {"hilbert-neighborhood", NF_CURVE, NF_CURVE_NEIGHBORHOOD, "size stride dilation causal"},
    {"curve-window", NF_CURVE, NF_CURVE_WINDOW, "size shift dilation causal order"},
    {"curve-slide", NF_CURVE, NF_CURVE_SLIDE, "size stride dilation causal order"},
    {"curve-neighborhood", NF_CURVE, NF_CURVE_NEIGHBORHOOD, "size stride dilation causal order"},
    {"sphere", NF_SPHERE, {}, "latitudes key-latitudes key-grid cutoff tolerance"},
    {"sphere-global", NF_SPHERE, {}, "latitudes key-latitudes key-grid", true},
};

std::vector<std::string> pattern_names() {
  std::vector<std::string> names;
  for (const KnownPattern& known : kPatterns) names.emplace_back(known.name);
  return names;
}

const KnownPattern& find_pattern(const std::string& name) {
  for (const KnownPattern& known : kPatterns)
    if (known.name == name) return known;
  const std::vector<std::string> names = pattern_names();
  throw UsageError(with_suggestion(fmt::format("pattern={}: must be one of {}", name, fmt::join(names, ", ")),
                                   nearest(name, names)));
}

bool takes(const KnownPattern& pattern, std::string_view option) {
  return fmt::format(" {} ", pattern.options).find(fmt::format(" {} ", option)) != std::string::npos;
}

std::string options_of(const KnownPattern& pattern) {
  std::string text;
  for (size_t begin = 0; begin < pattern.options.size();) {
    const size_t end = std::min(pattern.options.find(' ', begin), pattern.options.size());
    text += fmt::format("{}--{}", text.empty() ? "" : ", ", pattern.options.substr(begin, end - begin));
    begin = end + 1;
  }
  return text;
}

std::string or_default(const std::string& text, const char* otherwise) { return text.empty() ? otherwise : text; }

// One value for each of `rank` axes.
std::vector<int64_t> integers(const std::string& text, const char* otherwise, int rank, std::string_view name) {
  return broadcast(parse_integers(or_default(text, otherwise), name), rank, name);
}

// The one value of a pattern along an order.
template <class T>
T single(const std::vector<T>& values, std::string_view name) {
  if (values.size() != 1)
    throw UsageError(
        fmt::format("{}: has {} values: must have one, for the positions along the order", name, values.size()));
  return values[0];
}
int64_t integer_along(const std::string& text, const char* otherwise, std::string_view name) {
  return single(parse_integers(or_default(text, otherwise), name), name);
}

nf_neighborhood resolve_neighborhood(const PatternArguments& given, int rank) {
  const std::vector<int64_t> kernel = integers(given.kernel_size, "", rank, "kernel_size");
  const std::vector<int64_t> strides = integers(given.stride, "1", rank, "stride");
  const std::vector<int64_t> dilations = integers(given.dilation, "1", rank, "dilation");
  const auto causals = broadcast(split_list(or_default(given.causal, "false"), "is_causal"), rank, "is_causal");
  const auto boundaries = broadcast(split_list(or_default(given.boundary, "clamp"), "boundary"), rank, "boundary");
  nf_neighborhood result = nf_make_neighborhood(rank, kernel.data());
  for (size_t axis = 0; axis < static_cast<size_t>(rank); ++axis) {
    result.stride[axis] = strides[axis];
    result.dilation[axis] = dilations[axis];
    result.is_causal[axis] = parse_boolean(causals[axis], fmt::format("is_causal[{}]", axis)) ? 1 : 0;
    result.boundary[axis] = parse_boundary(boundaries[axis], fmt::format("boundary[{}]", axis));
  }
  return result;
}

nf_window resolve_window(const PatternArguments& given, int rank) {
  nf_window result = nf_make_window(rank, integers(given.size, "", rank, "size").data());
  const std::vector<int64_t> shifts = integers(given.shift, "0", rank, "shift");
  std::copy(shifts.begin(), shifts.end(), result.shift);
  return result;
}

nf_curve resolve_curve(const PatternArguments& given, const KnownPattern& known, int rank) {
  nf_curve result = nf_make_curve(rank, parse_order(or_default(given.order, "hilbert")), known.form,
                                  integer_along(given.size, "", "size"));
  result.shift = integer_along(given.shift, "0", "shift");
  result.stride = integer_along(given.stride, "1", "stride");
  result.dilation = integer_along(given.dilation, "1", "dilation");
  const std::string causal = single(split_list(or_default(given.causal, "false"), "is_causal"), "is_causal");
  result.is_causal = parse_boolean(causal, "is_causal") ? 1 : 0;
  return result;
}

nf_sphere_grid sphere_grid(const std::vector<int64_t>& lengths, const std::string& latitudes, const char* argument) {
  return {parse_latitudes(latitudes, argument), 0, lengths[0], lengths[1]};
}

nf_sphere resolve_sphere(const PatternArguments& given, const KnownPattern& known, const Grids& grids) {
  if (grids.query.size() != 2)
    throw UsageError(fmt::format("pattern={}: must have a grid of 2 axes, latitude and longitude: the query has {}",
                                 given.pattern, grids.query.size()));
  const std::vector<int64_t> keys = given.key_grid.empty() ? grids.key : parse_integers(given.key_grid, "key_grid");
  if (keys.size() != 2)
    throw UsageError(fmt::format("key_grid={}: must be 2 numbers, of latitudes and longitudes", given.key_grid));
  const std::string latitudes = or_default(given.latitudes, "equiangular");
  nf_sphere result = nf_make_sphere(0, 0, 0, 0);
  result.query = sphere_grid(grids.query, latitudes, "latitudes");
  result.key = sphere_grid(keys, given.key_latitudes.empty() ? latitudes : given.key_latitudes, "key_latitudes");
  result.is_global = known.is_global ? 1 : 0;
  if (!given.cutoff.empty()) {
    result.has_cutoff = 1;
    result.cutoff = parse_angle(given.cutoff, "cutoff");
  }
  if (!given.tolerance.empty()) result.tolerance = parse_number(given.tolerance, "tolerance");
  return result;
}

template <class T>
std::string axis_text(const T* values, int rank) {
  return fmt::format("{}", fmt::join(values, values + rank, ", "));
}

std::string text_of(const nf_neighborhood& pattern) {
  const int rank = pattern.pattern.rank;
  std::vector<std::string> boundaries;
  for (int axis = 0; axis < rank; ++axis)
    boundaries.emplace_back(name_of(static_cast<nf_boundary>(pattern.boundary[axis])));
  const std::vector<bool> causal(pattern.is_causal, pattern.is_causal + rank);
  return fmt::format("kernel_size {}; stride {}; dilation {}; causal {}; boundary {}",
                     axis_text(pattern.kernel_size, rank), axis_text(pattern.stride, rank),
                     axis_text(pattern.dilation, rank), fmt::join(causal, ", "), fmt::join(boundaries, ", "));
}

std::string text_of(const nf_window& pattern) {
  const int rank = pattern.pattern.rank;
  return fmt::format("window; size {}; shift {}", axis_text(pattern.size, rank), axis_text(pattern.shift, rank));
}

std::string text_of(const nf_curve& pattern) {
  const std::string order =
      pattern.order == NF_HILBERT ? "" : fmt::format("; order {}", name_of(static_cast<nf_order>(pattern.order)));
  return fmt::format("{}{}; size {}; {} {}; dilation {}; causal {}", pattern_name(pattern), order, pattern.size,
                     pattern.form == NF_CURVE_WINDOW ? "shift" : "stride",
                     pattern.form == NF_CURVE_WINDOW ? pattern.shift : pattern.stride, pattern.dilation,
                     pattern.is_causal != 0);
}

std::string text_of(const nf_sphere& pattern) { return sphere_text(pattern); }

// Whether a pattern of the library is what --pattern has under this name.
bool is_named(const AnyPattern& pattern, const KnownPattern& known) {
  if (known.kind != head_of(pattern)->kind) return false;
  if (const auto* curve = std::get_if<nf_curve>(&pattern))
    return known.form == curve->form && known.name.starts_with(curve->order == NF_HILBERT ? "hilbert" : "curve");
  const auto* sphere = std::get_if<nf_sphere>(&pattern);
  return sphere == nullptr || known.is_global == (sphere->is_global != 0);
}

}  // namespace

nf_order parse_order(std::string_view text, std::string_view name) {
  for (int32_t order = NF_HILBERT; nf_order_name(order) != nullptr; ++order)
    if (text == nf_order_name(order) || text == name_of(static_cast<nf_order>(order)))
      return static_cast<nf_order>(order);
  throw UsageError(fmt::format("{}={}: must be one of hilbert, morton, serpentine, row-major", name, text));
}

std::string name_of(nf_order order) {
  std::string text = nf_order_name(order);
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

std::string pattern_name(const AnyPattern& pattern) {
  for (const KnownPattern& known : kPatterns)
    if (is_named(pattern, known)) return std::string(known.name);
  return "unknown";
}

std::vector<int64_t> key_grid_of(const AnyPattern& pattern, const std::vector<int64_t>& grid) {
  const auto* sphere = std::get_if<nf_sphere>(&pattern);
  if (sphere == nullptr) return grid;
  return {sphere->key.nlat, sphere->key.nlon};
}

std::string pattern_text(const AnyPattern& pattern) {
  return std::visit([](const auto& each) { return text_of(each); }, pattern);
}

void PatternArguments::add_to(CLI::App& command) {
  const std::string group = "Pattern (of an axis: one value for all axes, or one for each: 7 or 5,7,7)";
  command
      .add_option("--pattern", pattern,
                  "neighborhood (default), window, hilbert-window, hilbert-slide, hilbert-neighborhood; "
                  "curve-window, curve-slide, curve-neighborhood along another --order; sphere, sphere-global")
      ->type_name("NAME")
      ->group(group);
  const auto add = [&](const char* name, std::string& value, const char* help, const char* type) {
    command.add_option(name, value, help)->type_name(type)->group(group);
  };
  add("-k,--kernel-size", kernel_size, "neighborhood: window, in tokens per axis", "N[,N...]");
  add("--size", size, "window: tokens per axis; hilbert-*, curve-*: tokens along the curve", "N[,N...]");
  add("--shift", shift, "*window: shift of the windows, below their size (default 0)", "N[,N...]");
  add("--order", order, "curve-*: hilbert (default), morton, serpentine or row-major", "NAME");
  add("--stride", stride, "Queries that share a window, at most its size (default 1); not of windows", "N[,N...]");
  add("--dilation", dilation, "Distance between a window's keys (default 1); not of window", "N[,N...]");
  add("--causal", causal, "Only keys at or before the query on this axis (default false); not of window",
      "BOOL[,BOOL...]");
  add("--boundary", boundary, "neighborhood, at the border: clamp, wrap or cut (default clamp)", "NAME[,NAME...]");
  add("--latitudes", latitudes,
      "sphere*: equiangular (default), legendre-gauss, lobatto or equiangular-trapezoidal; of queries and keys",
      "NAME");
  add("--key-latitudes", key_latitudes, "sphere*: those of the keys, where they differ", "NAME");
  add("--key-grid", key_grid, "sphere*: latitudes and longitudes of the keys (default: the key's, else the query's)",
      "NLAT,NLON");
  add("--cutoff", cutoff, "sphere: greatest distance of a key, in radians, or as 2deg (default: a step of latitude)",
      "ANGLE");
  add("--tolerance", tolerance, "sphere: keys up to (1 + tolerance)*cutoff are seen (default 0.001)", "X");
}

bool PatternArguments::any() const {
  if (pattern != "neighborhood") return true;
  for (const std::string* value : {&kernel_size, &stride, &dilation, &causal, &boundary, &size, &shift, &order,
                                   &latitudes, &key_latitudes, &key_grid, &cutoff, &tolerance})
    if (!value->empty()) return true;
  return false;
}

void PatternArguments::check() const {
  const KnownPattern& known = find_pattern(pattern);
  const std::tuple<std::string_view, std::string_view, const std::string&> given[] = {
      {"kernel-size", "kernel_size", kernel_size},
      {"stride", "stride", stride},
      {"dilation", "dilation", dilation},
      {"causal", "is_causal", causal},
      {"boundary", "boundary", boundary},
      {"size", "size", size},
      {"shift", "shift", shift},
      {"order", "order", order},
      {"latitudes", "latitudes", latitudes},
      {"key-latitudes", "key_latitudes", key_latitudes},
      {"key-grid", "key_grid", key_grid},
      {"cutoff", "cutoff", cutoff},
      {"tolerance", "tolerance", tolerance}};
  for (const auto& [option, name, value] : given)
    if (!value.empty() && !takes(known, option))
      throw UsageError(fmt::format("{}={}: must not come with --pattern {}, which takes {}", name, value, pattern,
                                   options_of(known)));
  if (known.kind == NF_SPHERE) return;  // all of its options have defaults
  const bool is_neighborhood = known.kind == NF_NEIGHBORHOOD;
  if ((is_neighborhood ? kernel_size : size).empty())
    throw UsageError(fmt::format("{}: is missing: --pattern {} takes it as --{}",
                                 is_neighborhood ? "kernel_size" : "size", pattern,
                                 is_neighborhood ? "kernel-size" : "size"));
}

AnyPattern PatternArguments::resolve(const Grids& grids) const {
  check();
  const KnownPattern& known = find_pattern(pattern);
  const int rank = static_cast<int>(grids.query.size());
  if (known.kind == NF_NEIGHBORHOOD) return resolve_neighborhood(*this, rank);
  if (known.kind == NF_WINDOW) return resolve_window(*this, rank);
  if (known.kind == NF_CURVE) return resolve_curve(*this, known, rank);
  return resolve_sphere(*this, known, grids);
}

}  // namespace nearfield::cli
