#include "inputs.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <optional>

#include "io/tensor_file.h"

namespace nearfield::cli {
namespace {

// What a tensor is for, and the names that --input accepts for it.
struct Role {
  const char* name;
  const char* short_name;  // nullptr: none
  std::string InputArguments::*argument;
  bool is_required;
  bool has_heads;  // laid out as `layout` says
};
constexpr Role kRoles[] = {
    {"query", "q", &InputArguments::query, true, true},
    {"key", "k", &InputArguments::key, true, true},
    {"value", "v", &InputArguments::value, true, true},
    {"bias", nullptr, &InputArguments::bias, false, false},
    {"key_mask", nullptr, &InputArguments::key_mask, false, false},
    {"key_weights", nullptr, &InputArguments::key_weights, false, false},
    {"additional_keys", nullptr, &InputArguments::additional_keys, false, true},
    {"additional_values", nullptr, &InputArguments::additional_values, false, true},
    {"dout", nullptr, &InputArguments::dout, false, true},
    {"dlogsumexp", nullptr, &InputArguments::dlogsumexp, false, false},
};

const Role& role_of(const std::string& name) {
  for (const Role& role : kRoles)
    if (role.name == name) return role;
  throw Failure("tensor '" + name + "': has no role");
}

// The role's name or its short one, whichever the file has; nothing if neither.
std::optional<std::string> find_name(const TensorFile& file, const Role& role, const std::string& label) {
  const bool has_long = file.has(role.name), has_short = role.short_name != nullptr && file.has(role.short_name);
  if (has_long && has_short)
    throw UsageError(fmt::format("{}={}: has both '{}' and '{}': say which, as {}:NAME", role.name, label, role.name,
                                 role.short_name, label));
  if (has_long) return role.name;
  if (has_short) return role.short_name;
  return std::nullopt;
}

OwnedTensor with_contiguous_rows(OwnedTensor tensor) {
  const bool contiguous = tensor.sizes.empty() || tensor.sizes.back() <= 1 || tensor.strides.back() == 1;
  return contiguous ? std::move(tensor) : tensor.in_c_order();
}

// Calls `read`; what is wrong with a file is told under the name of the argument that named it.
template <class Read>
auto from_argument(const char* argument, Read&& read) {
  try {
    return read();
  } catch (const FileError& error) {
    throw Failure(fmt::format("{}={}", argument, error.what()));
  }
}

OwnedTensor load_tensor(const Role& role, const std::string& text) {
  const TensorReference reference = parse_reference(text);
  const std::unique_ptr<TensorFile> file = open_tensor_file(reference.file);
  if (!reference.name.empty()) return file->read(reference.name);
  if (file->names().size() == 1) return file->read(file->names()[0]);
  return file->read(find_name(*file, role, text).value_or(role.name));
}

Layout parse_layout(const std::string& text) {
  if (text == "heads-last") return Layout::heads_last;
  if (text == "heads-first") return Layout::heads_first;
  throw UsageError(fmt::format("layout={}: must be heads-last or heads-first", text));
}

std::string flag_of(const Role& role) {
  std::string flag = fmt::format("--{}", role.name);
  for (char& c : flag)
    if (c == '_') c = '-';
  return flag;
}

}  // namespace

Tensor in_heads_last(const Tensor& tensor, Layout layout) {
  if (layout == Layout::heads_last || tensor.rank < 3) return tensor;
  std::vector<int> order = {0};
  for (int i = 2; i < tensor.rank - 1; ++i) order.push_back(i);
  order.push_back(1);
  order.push_back(tensor.rank - 1);
  return tensor.permuted(order);
}

Tensor logsumexp_in_heads_last(const Tensor& tensor, Layout layout) {
  if (layout == Layout::heads_last || tensor.rank < 3) return tensor;
  std::vector<int> order = {0};
  for (int i = 2; i < tensor.rank; ++i) order.push_back(i);
  order.push_back(1);
  return tensor.permuted(order);
}

Tensor Inputs::view(const std::string& role) const {
  const OwnedTensor& tensor = tensors_.at(role);
  if (tensor.sizes.size() > NF_MAX_DIMS)
    throw UsageError(
        fmt::format("{}: has {} dimensions: must have at most {}", role, tensor.sizes.size(), NF_MAX_DIMS));
  return role_of(role).has_heads ? in_heads_last(tensor.view(), layout_) : tensor.view();
}

Grids Inputs::grids() const {
  const auto grid_of = [](const Tensor& tensor) {
    return std::vector<int64_t>(tensor.sizes + 1, tensor.sizes + tensor.rank - 2);
  };
  const Tensor queries = query(), keys = key();
  return {grid_of(queries), grid_of(keys.rank == queries.rank ? keys : queries)};
}

Modifiers Inputs::modifiers() const {
  const auto optional = [&](const char* role) {
    return tensors_.contains(role) ? std::optional<Tensor>(view(role)) : std::nullopt;
  };
  Modifiers modifiers;
  modifiers.additional_keys = optional("additional_keys");
  modifiers.additional_values = optional("additional_values");
  modifiers.key_mask = optional("key_mask");
  modifiers.key_weights = optional("key_weights");
  modifiers.bias = optional("bias");
  modifiers.softcap = softcap_;
  return modifiers;
}

std::optional<Tensor> Inputs::dout() const { return has("dout") ? std::optional<Tensor>(view("dout")) : std::nullopt; }

std::optional<Tensor> Inputs::dlogsumexp() const {
  if (!has("dlogsumexp")) return std::nullopt;
  return logsumexp_in_heads_last(view("dlogsumexp"), layout_);
}

OwnedTensor Inputs::make_like(const std::string& role) const {
  const OwnedTensor& tensor = tensors_.at(role);
  return make_tensor(tensor.dtype, tensor.sizes);
}

Tensor Inputs::view_like(const std::string& role, const OwnedTensor& tensor) const {
  return role_of(role).has_heads ? in_heads_last(tensor.view(), layout_) : tensor.view();
}

void InputArguments::add_to(CLI::App& command) {
  const std::string group = "Tensors (.npy, .npz or .safetensors; FILE:NAME takes one of many)";
  command.add_option("-i,--input", input, "All of the following that it has, as query or q, ..., key_mask, ...")
      ->type_name("FILE")
      ->group(group);
  const auto add = [&](const Role& role, const char* help) {
    command.add_option(flag_of(role), this->*role.argument, help)->type_name("FILE[:NAME]")->group(group);
  };
  add(kRoles[0], "(batch, *grid, heads, head_dim)");
  add(kRoles[1], "(batch, *grid, heads_kv, head_dim)");
  add(kRoles[2], "(batch, *grid, heads_kv, head_dim_v)");
  add(kRoles[3], "(heads, 2*kernel_size-1 per axis): added by relative position");
  add(kRoles[4], "(batch, *grid) bool: true keys take part");
  add(kRoles[5], "(*grid) or (batch, *grid), >= 0: factors of exp(logit)");
  add(kRoles[6], "(batch, M, heads_kv, head_dim): seen by all queries");
  add(kRoles[7], "(batch, M, heads_kv, head_dim_v)");
  command.add_option("--layout", layout, "heads-last (default), or heads-first: (batch, heads, *grid, head_dim)")
      ->type_name("NAME")
      ->group(group);
  command.add_option("--softcap", softcap, "c > 0: logits become c*tanh(logit/c)")->type_name("C")->group(group);
}

void InputArguments::add_backward_to(CLI::App& command) {
  const std::string group = "Backward";
  command.add_option("--dout", dout, "(batch, *grid, heads, head_dim_v): the gradient of out")
      ->type_name("FILE[:NAME]")
      ->group(group);
  command.add_option("--dlogsumexp", dlogsumexp, "(batch, *grid, heads): the gradient of logsumexp")
      ->type_name("FILE[:NAME]")
      ->group(group);
}

bool InputArguments::any() const { return !files().empty(); }

std::vector<std::filesystem::path> InputArguments::files() const {
  std::vector<std::filesystem::path> result;
  if (!input.empty()) result.emplace_back(input);
  for (const Role& role : kRoles)
    if (!(this->*role.argument).empty()) result.push_back(parse_reference(this->*role.argument).file);
  return result;
}

Inputs InputArguments::load() const {
  const Layout parsed_layout = parse_layout(layout);
  const double parsed_softcap = parse_number(softcap, "softcap");
  const std::unique_ptr<TensorFile> common =
      from_argument("input", [&] { return input.empty() ? nullptr : open_tensor_file(input); });
  TensorMap tensors;
  for (const Role& role : kRoles) {
    const std::string& text = this->*role.argument;
    if (!text.empty()) {
      tensors.emplace(role.name,
                      from_argument(role.name, [&] { return with_contiguous_rows(load_tensor(role, text)); }));
      continue;
    }
    const std::optional<std::string> name = common ? find_name(*common, role, input) : std::nullopt;
    if (name) {
      tensors.emplace(role.name, from_argument("input", [&] { return with_contiguous_rows(common->read(*name)); }));
    } else if (role.is_required) {
      throw UsageError(
          fmt::format("{}: is missing: must be given as {} FILE, or by an --input with a tensor '{}' or "
                      "'{}'",
                      role.name, flag_of(role), role.name, role.short_name));
    }
  }
  grid_rank_of(tensors.at("query").sizes.size(), "query");
  return Inputs(std::move(tensors), parsed_layout, parsed_softcap);
}

TensorReference parse_reference(const std::string& text) {
  std::error_code ignored;
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || std::filesystem::exists(text, ignored)) return {text, {}};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

}  // namespace nearfield::cli
