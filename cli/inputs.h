// The tensors of a call, from files: which file and name each comes from, and views of them in the library's order.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "io/tensor.h"
#include "nearfield/nearfield.hpp"
#include "pattern_arguments.h"

namespace nearfield::cli {

// How tensors with heads lie in files: (batch, *grid, heads, head_dim) or (batch, heads, *grid, head_dim). The
// additional keys and values are (batch, M, heads_kv, ...) or (batch, heads_kv, M, ...).
enum class Layout { heads_last, heads_first };

// The library's view of a tensor that lies in the given layout; no copy.
Tensor in_heads_last(const Tensor& tensor, Layout layout);
// The same of (batch, *grid, heads), which lies as (batch, heads, *grid) with heads first.
Tensor logsumexp_in_heads_last(const Tensor& tensor, Layout layout);

// The memory of a call. Tensors lie as in the files, but for those whose innermost dimension was not contiguous
// (Fortran order): they are copies.
class Inputs {
 public:
  Inputs(TensorMap tensors, Layout layout, double softcap)
      : tensors_(std::move(tensors)), layout_(layout), softcap_(softcap) {}

  Tensor query() const { return view("query"); }
  Tensor key() const { return view("key"); }
  Tensor value() const { return view("value"); }
  Modifiers modifiers() const;
  // Of a backward: nothing where no file has it.
  std::optional<Tensor> dout() const;
  std::optional<Tensor> dlogsumexp() const;
  bool has(const std::string& role) const { return tensors_.contains(role); }
  // Memory like a role's tensor, in its layout, and the library's view of it.
  OwnedTensor make_like(const std::string& role) const;
  Tensor view_like(const std::string& role, const OwnedTensor& tensor) const;
  Layout layout() const { return layout_; }
  // Of query and key; the query's for both where the key has another number of axes, which the library refuses.
  Grids grids() const;

 private:
  Tensor view(const std::string& role) const;

  TensorMap tensors_;  // by role: "query", "key_mask", ...
  Layout layout_;
  double softcap_;
};

// --input --query --key --value, --bias and the other modifiers, --softcap, --layout
struct InputArguments {
  std::string input, query, key, value;
  std::string bias, key_mask, key_weights, additional_keys, additional_values;  // FILE or FILE:NAME; empty: absent
  std::string dout, dlogsumexp;                                                 // likewise; of a backward
  std::string softcap = "0";
  std::string layout = "heads-last";

  void add_to(CLI::App& command);
  void add_backward_to(CLI::App& command);
  bool any() const;  // whether a file is named
  Inputs load() const;
  std::vector<std::filesystem::path> files() const;
};

// "x.npz:q" is tensor q of x.npz; a file of that whole name comes first. The name is "" if none is given.
struct TensorReference {
  std::filesystem::path file;
  std::string name;
};
TensorReference parse_reference(const std::string& text);

}  // namespace nearfield::cli
