// For the tests of validation: a valid call with every argument, and the message that a change of it gives.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "base/error.h"
#include "dispatch/validate.h"

namespace nearfield::core {

// A packed tensor of zeros with memory of its own.
struct Owned : nf_tensor {
  Owned() : nf_tensor{} {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  void make(int32_t type, std::initializer_list<int64_t> shape) {
    dtype = type;
    rank = static_cast<int32_t>(shape.size());
    int64_t stride = 1;
    for (int d = rank - 1; d >= 0; --d) {
      sizes[d] = shape.begin()[d];
      strides[d] = stride;
      stride *= sizes[d];
    }
    memory.assign(static_cast<size_t>(stride * size_of(static_cast<DType>(type))), std::byte{0});
    data = memory.data();
  }
  std::vector<std::byte> memory;
};

// A valid call with every argument; each test breaks one thing. Batch 2, grid 5x6, 4 heads over 2, head_dim 8,
// head_dim_v 3, kernel 3x5, 7 additional keys.
struct Call {
  nf_neighborhood pattern = {};
  Owned query, key, value, out, logsumexp, additional_keys, additional_values, key_mask, key_weights, bias;
  Owned dout, dlogsumexp, dquery, dkey, dvalue, dadditional_keys, dadditional_values, dkey_weights, dbias;
  nf_modifiers modifiers = {};
  nf_options options = {};
  nf_gradients gradients = {};
  ForwardOutputs outputs;
  BackwardInputs given;
  Gradients wanted;

  explicit Call(int32_t dtype = NF_FLOAT32) {
    const int32_t sums = dtype == NF_FLOAT64 ? NF_FLOAT64 : NF_FLOAT32;
    pattern.pattern = {sizeof pattern, NF_NEIGHBORHOOD, 2};
    for (int a = 0; a < 3; ++a) pattern.kernel_size[a] = pattern.stride[a] = pattern.dilation[a] = 1;
    pattern.kernel_size[0] = 3;
    pattern.kernel_size[1] = 5;
    for (Owned* t : {&query, &dquery}) t->make(dtype, {2, 5, 6, 4, 8});
    for (Owned* t : {&key, &dkey}) t->make(dtype, {2, 5, 6, 2, 8});
    for (Owned* t : {&value, &dvalue}) t->make(dtype, {2, 5, 6, 2, 3});
    for (Owned* t : {&out, &dout}) t->make(dtype, {2, 5, 6, 4, 3});
    for (Owned* t : {&logsumexp, &dlogsumexp}) t->make(sums, {2, 5, 6, 4});
    for (Owned* t : {&additional_keys, &dadditional_keys}) t->make(dtype, {2, 7, 2, 8});
    for (Owned* t : {&additional_values, &dadditional_values}) t->make(dtype, {2, 7, 2, 3});
    key_mask.make(NF_BOOL, {2, 5, 6});
    for (Owned* t : {&key_weights, &dkey_weights}) t->make(sums, {2, 5, 6});
    for (Owned* t : {&bias, &dbias}) t->make(sums, {4, 5, 9});
    modifiers = {sizeof modifiers, &additional_keys, &additional_values, &key_mask, &key_weights, &bias, 0};
    options.struct_size = sizeof options;
    options.num_threads = 1;
    gradients = {sizeof gradients,    &dquery,       &dkey, &dvalue, &dadditional_keys,
                 &dadditional_values, &dkey_weights, &dbias};
  }

  Problem forward() {
    return validate_forward(&pattern.pattern, &query, &key, &value, &modifiers, &options, &out, &logsumexp, outputs);
  }
  Problem inputs() { return validate_inputs(&pattern.pattern, &query, &key, &value, &modifiers, &options); }
  Problem backward() {
    return validate_backward(&pattern.pattern, &query, &key, &value, &modifiers, &options, &out, &logsumexp, &dout,
                             &dlogsumexp, &gradients, given, wanted);
  }
};

// "" if nothing was thrown.
template <class Function>
std::string error_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    return error.what();
  }
  return "";
}

enum Faces { kForward = 1, kInputs = 2, kBackward = 4, kAll = 7, kBoth = 5 };

// `faces` give this message, "" for none, once `change` has been made to a valid call.
template <class Change>
void expect_error(Faces faces, const std::string& message, const Change& change) {
  Call call;
  change(call);
  if (faces & kForward) {
    EXPECT_EQ(error_of([&] { call.forward(); }), message);
  }
  if (faces & kInputs) {
    EXPECT_EQ(error_of([&] { call.inputs(); }), message);
  }
  if (faces & kBackward) {
    EXPECT_EQ(error_of([&] { call.backward(); }), message);
  }
}

template <class Change>
void expect_valid(Faces faces, const Change& change) {
  expect_error(faces, "", change);
}

}  // namespace nearfield::core
