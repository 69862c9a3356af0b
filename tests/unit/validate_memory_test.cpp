// The rules for what lies in memory and who shares it, by the exact text of their messages.
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <string>

#include "dispatch/validate.h"
#include "validate_call.h"

namespace nearfield::core {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Validate, WeightsAreNonNegativeNumbers) {
  const auto set = [](Owned& tensor, int64_t element, double value) {
    store_double(tensor.memory.data() + element * size_of(static_cast<DType>(tensor.dtype)),
                 static_cast<DType>(tensor.dtype), value);
  };
  expect_error(kBoth, "key_weights[1][2][3]=-0.5: must be finite and at least 0",
               [&](Call& c) { set(c.key_weights, 30 + 2 * 6 + 3, -0.5); });
  expect_error(kBoth, "key_weights[0][0][0]=nan: must be finite and at least 0",
               [&](Call& c) { set(c.key_weights, 0, kNan); });
  expect_error(kBoth, "key_weights[1][4][5]=inf: must be finite and at least 0",
               [&](Call& c) { set(c.key_weights, 59, kInfinity); });
  expect_error(kBoth, "key_weights[4][0]=-1: must be finite and at least 0", [&](Call& c) {
    c.key_weights.make(NF_FLOAT32, {5, 6});
    c.dkey_weights.make(NF_FLOAT32, {5, 6});
    set(c.key_weights, 24, -1);
  });
  // Views are followed exactly: reversed, expanded, with gaps that hold anything.
  expect_error(kBoth, "key_weights[0][1][4]=-1: must be finite and at least 0", [&](Call& c) {
    c.key_weights.data = c.key_weights.memory.data() + 29 * 4;
    c.key_weights.strides[0] = 0;
    c.key_weights.strides[1] = -6;
    c.key_weights.strides[2] = -1;
    set(c.key_weights, 29 - 6 - 4, -1);
  });
  expect_valid(kAll, [&](Call& c) {
    c.key_weights.make(NF_FLOAT32, {2, 5, 6, 2});
    c.key_weights.rank = 3;
    for (int64_t i = 0; i < 60; ++i) set(c.key_weights, 2 * i + 1, kNan);
  });
  expect_valid(kAll, [&](Call& c) { set(c.key_weights, 7, -0.0); });
  // A dry run does not look.
  expect_valid(kInputs, [&](Call& c) { set(c.key_weights, 7, kNan); });
}

TEST(Validate, OutputsDoNotShareMemory) {
  const std::string rule = ": an output must not share memory with an input or another output";
  const std::string own = ": overlaps itself: each element of an output needs memory of its own";
  expect_error(kForward, "out: overlaps query" + rule, [](Call& c) { c.out.data = c.query.data; });
  expect_error(kForward, "out: overlaps value" + rule, [](Call& c) { c.out.data = c.value.data; });
  expect_error(kForward, "out: overlaps key_mask" + rule, [](Call& c) { c.out.data = c.key_mask.data; });
  expect_error(kForward, "logsumexp: overlaps key" + rule, [](Call& c) { c.logsumexp.data = c.key.memory.data() + 3; });
  expect_error(kForward, "logsumexp: overlaps out" + rule, [](Call& c) { c.logsumexp.data = c.out.data; });
  expect_error(kForward, "out" + own, [](Call& c) { c.out.strides[1] = 0; });
  expect_error(kForward, "logsumexp" + own, [](Call& c) { c.logsumexp.strides[2] = 1; });
  expect_error(kBackward, "gradients.query: overlaps dout" + rule, [](Call& c) { c.dout.data = c.dquery.data; });
  expect_error(kBackward, "gradients.key: overlaps key" + rule, [](Call& c) { c.dkey.data = c.key.data; });
  expect_error(kBackward, "gradients.value: overlaps logsumexp" + rule,
               [](Call& c) { c.logsumexp.data = c.dvalue.data; });  // dvalue is the larger one
  expect_error(kBackward, "gradients.bias: overlaps gradients.query" + rule,
               [](Call& c) { c.dbias.data = c.dquery.data; });
  expect_error(kBackward, "gradients.key_weights" + own, [](Call& c) { c.dkey_weights.strides[0] = 0; });
  // Inputs may coincide: self-attention without projections.
  expect_valid(kAll, [](Call& c) {
    c.key.data = c.query.data;
    c.value.data = c.query.data;
  });
}

std::string workspace_overlaps(const std::string& name) {
  return "workspace: overlaps " + name + ": the workspace must not share memory with an input or an output";
}

void lay_workspace(Call& call, const Owned& tensor, size_t first_byte, size_t size) {
  call.options.workspace = const_cast<std::byte*>(tensor.memory.data()) + first_byte;
  call.options.workspace_size = size;
}

TEST(Validate, TheWorkspaceSharesNoMemory) {
  struct Place {
    const char* name;
    Owned Call::*tensor;
    Faces faces;
  };
  const Place places[] = {{"query", &Call::query, kBoth},
                          {"key", &Call::key, kBoth},
                          {"value", &Call::value, kBoth},
                          {"additional_keys", &Call::additional_keys, kBoth},
                          {"additional_values", &Call::additional_values, kBoth},
                          {"key_mask", &Call::key_mask, kBoth},
                          {"key_weights", &Call::key_weights, kBoth},
                          {"bias", &Call::bias, kBoth},
                          {"out", &Call::out, kBoth},
                          {"logsumexp", &Call::logsumexp, kBoth},
                          {"dout", &Call::dout, kBackward},
                          {"dlogsumexp", &Call::dlogsumexp, kBackward},
                          {"gradients.query", &Call::dquery, kBackward},
                          {"gradients.key", &Call::dkey, kBackward},
                          {"gradients.value", &Call::dvalue, kBackward},
                          {"gradients.additional_keys", &Call::dadditional_keys, kBackward},
                          {"gradients.additional_values", &Call::dadditional_values, kBackward},
                          {"gradients.key_weights", &Call::dkey_weights, kBackward},
                          {"gradients.bias", &Call::dbias, kBackward}};
  for (const Place& place : places) {
    SCOPED_TRACE(place.name);
    const auto at_first_byte = [&](Call& c) { lay_workspace(c, c.*place.tensor, 0, 1); };
    const auto at_last_byte = [&](Call& c) {
      lay_workspace(c, c.*place.tensor, (c.*place.tensor).memory.size() - 1, 1);
    };
    expect_error(place.faces, workspace_overlaps(place.name), at_first_byte);
    expect_error(place.faces, workspace_overlaps(place.name), at_last_byte);
    // A dry run does not look, and a forward is not given the backward's tensors.
    expect_valid(place.faces == kBoth ? kInputs : kForward, at_first_byte);
  }
}

// Elements count, not what lies between them.
TEST(Validate, TheWorkspaceMayLieBetweenElements) {
  const auto in_the_gap = [](size_t first_byte, size_t size) {
    return [=](Call& c) {
      c.query.make(NF_FLOAT32, {2, 5, 6, 4, 16});
      c.query.sizes[4] = 8;  // every other 32 bytes
      lay_workspace(c, c.query, first_byte, size);
    };
  };
  expect_valid(kAll, in_the_gap(32, 32));
  expect_valid(kAll, in_the_gap(64 * 77 + 32, 32));
  expect_valid(kAll, in_the_gap(0, 0));
  expect_error(kBoth, workspace_overlaps("query"), in_the_gap(31, 1));
  expect_error(kBoth, workspace_overlaps("query"), in_the_gap(32, 33));
  expect_error(kBoth, workspace_overlaps("query"), in_the_gap(64 * 77 + 32, std::numeric_limits<size_t>::max()));
}

// dq, dk and dv as slices of one packed buffer, beside q, k and v as slices of another.
TEST(Validate, SlicesOfOneBufferAreFine) {
  expect_valid(kAll, [](Call& c) {
    for (auto tensors : {std::initializer_list<Owned*>{&c.query, &c.key}, {&c.dquery, &c.dkey}}) {
      Owned& first = **tensors.begin();
      first.make(NF_FLOAT32, {2, 5, 6, 6, 8});  // 4 heads of the query and 2 of the key
      first.sizes[3] = 4;
      Owned& second = **(tensors.begin() + 1);
      second.data = first.memory.data() + 4 * 8 * 4;
      std::copy(first.strides, first.strides + 5, second.strides);
    }
  });
}

TEST(Validate, GradientsNeedTheirTensor) {
  const auto orphan = [](const char* name) {
    return std::string("gradients.") + name + ": must be NULL where " + name + " is NULL";
  };
  expect_error(kBackward, orphan("additional_keys"),
               [](Call& c) { c.modifiers.additional_keys = c.modifiers.additional_values = nullptr; });
  expect_error(kBackward, orphan("additional_values"), [](Call& c) {
    c.modifiers.additional_keys = c.modifiers.additional_values = nullptr;
    c.gradients.additional_keys = nullptr;
  });
  expect_error(kBackward, orphan("key_weights"), [](Call& c) { c.modifiers.key_weights = nullptr; });
  expect_error(kBackward, orphan("bias"), [](Call& c) { c.modifiers.bias = nullptr; });
}

}  // namespace
}  // namespace nearfield::core
