// Arguments that several sub-commands share: names to enumerations, lists with broadcast, and the option group that
// says how to run it (pattern_arguments.h has the pattern's). Whatever a text cannot mean is a UsageError that names
// argument, value and rule; whether a value makes sense (stride <= kernel_size, ...) is the library's to say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "commands.h"
#include "io/tensor.h"  // size_of(dtype)
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {

// `name` is the argument's name in messages: "kernel_size".
int64_t parse_integer(std::string_view text, std::string_view name);
double parse_number(std::string_view text, std::string_view name);  // finite
bool parse_boolean(std::string_view text, std::string_view name);   // true, yes, 1; false, no, 0

// "7,7" -> {7, 7}. Spaces around an element are ignored; an empty list or element is an error.
std::vector<std::string> split_list(std::string_view text, std::string_view name);
std::vector<int64_t> parse_integers(std::string_view text, std::string_view name);

// f32, float32, fp32, float, ...: any floating dtype. Engine, isa and kernel have the library's own names.
nf_dtype parse_dtype(std::string_view text, std::string_view name = "dtype");
nf_boundary parse_boundary(std::string_view text, std::string_view name = "boundary");
nf_engine parse_engine(std::string_view text, std::string_view name = "engine");
nf_isa parse_isa(std::string_view text, std::string_view name = "isa");
nf_kernel parse_kernel(std::string_view text, std::string_view name = "kernel");
const char* name_of(nf_boundary boundary);

// "auto, portable, avx2": what parse_isa and its like accept, for help texts.
std::string engine_names();
std::string isa_names();
std::string kernel_names();

// One value stands for every axis; otherwise one for each is needed.
template <class T>
std::vector<T> broadcast(std::vector<T> values, int rank, std::string_view name) {
  if (values.size() == 1) values.resize(static_cast<size_t>(rank), values[0]);
  if (values.size() != static_cast<size_t>(rank))
    throw UsageError(std::string(name) + ": has " + std::to_string(values.size()) +
                     " values: must have 1, or one for " + "each of the " + std::to_string(rank) + " axes");
  return values;
}

// --engine --isa --kernel --threads --scale
struct EngineArguments {
  std::string engine = "auto";
  std::string isa = "auto";
  std::string kernel = "auto";
  std::string threads = "0";
  std::string scale;  // empty: 1/sqrt(head_dim)

  void add_to(CLI::App& command);
  Options resolve() const;
};

// Rank of the grid of a (batch, *grid, heads, head_dim) tensor. Error: `query: has 7 dimensions: must have 4, 5 or 6`.
int grid_rank_of(size_t dimensions, std::string_view name);

}  // namespace nearfield::cli
