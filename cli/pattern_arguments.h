// --pattern and the options that describe it: any of the library's patterns, from the command line.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "commands.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {

using AnyPattern = std::variant<nf_neighborhood, nf_window, nf_curve, nf_sphere>;

// What the library's functions take.
inline const nf_pattern* head_of(const AnyPattern& pattern) {
  return std::visit([](const auto& each) { return &each.pattern; }, pattern);
}
// Axes of what nf_explanation says about tiles: the grid's, or one, that of the positions along an order.
inline int plan_rank(const AnyPattern& pattern) {
  return std::holds_alternative<nf_curve>(pattern) ? 1 : head_of(pattern)->rank;
}
// The grid of keys, for queries on `grid`: the same, but on the sphere what the pattern says.
std::vector<int64_t> key_grid_of(const AnyPattern& pattern, const std::vector<int64_t>& grid);
// "kernel_size 7, 7; stride 1, 1; ...", "window; size 8, 8; shift 0, 0", "hilbert-slide; size 49; ...", "sphere; ...".
std::string pattern_text(const AnyPattern& pattern);
// "hilbert-window", "curve-slide": the name under which --pattern has it.
std::string pattern_name(const AnyPattern& pattern);

// Axes' lengths. On the sphere those of keys may differ from those of queries.
struct Grids {
  std::vector<int64_t> query, key;
};

// Options that were not given are empty. Whatever a pattern does not have is refused, even if it says the default.
struct PatternArguments {
  std::string pattern = "neighborhood";
  std::string kernel_size, stride, dilation, causal, boundary;
  std::string size, shift, order;
  std::string latitudes, key_latitudes, key_grid, cutoff, tolerance;

  void add_to(CLI::App& command);
  bool any() const;  // whether one of them was given
  // What can be wrong before there is a grid: an option that the pattern does not have, or lacks.
  void check() const;
  // grids: of the tensors, 1, 2 or 3 axes. Where there are no keys yet, those of the query: --key-grid overrides them.
  AnyPattern resolve(const Grids& grids) const;
};

// hilbert, morton, serpentine, row-major.
nf_order parse_order(std::string_view text, std::string_view name = "order");
std::string name_of(nf_order order);

}  // namespace nearfield::cli
