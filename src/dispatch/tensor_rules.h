// Rules for one tensor argument: which shape, dtype, strides and memory it must have. Errors as in validate.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "base/tensor_view.h"
#include "dispatch/memory.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

inline constexpr const char* kAxisNames[] = {"axis 0", "axis 1", "axis 2"};
inline constexpr const char* kAsInQuery = "as in query";

// One dimension: either least <= size <= most, or exactly one size.
struct DimRule {
  const char* name;              // "head_dim"
  int64_t least = 0, most = -1;  // a range, if exactly < 0
  int64_t exactly = -1;
  const char* because = nullptr;  // "as in query": why exactly this size
};
inline DimRule between(const char* name, int64_t least, int64_t most) { return {name, least, most, -1, nullptr}; }
inline DimRule exactly(const char* name, int64_t size, const char* because) { return {name, 0, -1, size, because}; }

struct DimRules {
  DimRule dims[kMaxDims];
  int count = 0;
  void add(const DimRule& rule) { dims[count++] = rule; }
};

// One of up to two dtypes, or any that holds numbers.
struct DTypeRule {
  DType allowed[2] = {};
  int count = 0;             // 0: any but bool
  const char* because = "";  // ", as in query"
};

// The dtype of query; of logsumexp; and of bias, weights and their gradients: the accumulator's or the query's.
constexpr DTypeRule same_dtype(DType query) { return {{query}, 1, ", as in query"}; }
constexpr DTypeRule accumulator_dtype(DType query) {
  return {{accumulator_of(query)}, 1, query == DType::float64 ? " for a float64 query" : " unless query is float64"};
}
constexpr DTypeRule parameter_dtype(DType query) {
  const DType accumulator = accumulator_of(query);
  if (accumulator == query) return same_dtype(query);
  return {{accumulator, query}, 2, ""};
}

enum class Layout { any_strides, contiguous_channels };

// Checks a tensor against the rules and makes a view of it: null if it has no elements, strides of dimensions of size 0
// or 1 normalised.
TensorView take_tensor(const char* name, const nf_tensor* tensor, const DimRules& dims, const DTypeRule& dtype,
                       Layout layout, Memory memory);

// A view under its argument's name, for messages.
struct NamedView {
  const char* name;
  TensorView view;
};

// Every output's elements have memory of their own, which no input, no other output and no other element shares. Null
// views are passed over.
void check_outputs(const NamedView* inputs, int input_count, const NamedView* outputs, int output_count);

// No element of an input or output lies in the caller's workspace of `size` bytes, which the engine overwrites.
// Neither null views nor a null workspace meet anything.
void check_workspace(const void* workspace, size_t size, const NamedView* views, int count);

// Every element is finite and >= 0, else an error that names its index.
void check_weights(const char* name, const TensorView& weights);

}  // namespace nearfield::core
