// docs/api.md lists every rule that arguments have to follow, each with the message of a call that breaks it. Here each
// rule is broken, and the message looked up in the page: an outdated or missing row fails, and prints the row to write.
// Those of the geometry are in api_doc_geometry_test.cpp.
#include "api_doc.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "c_api_cases.h"
#include "nearfield/nearfield.h"

namespace {

using namespace nearfield::test;

// A valid call of everything, which rules are then broken in: 2 images of 4 x 6 tokens, 4 heads over 2 of keys.
struct Call {
  std::vector<float> memory = std::vector<float>(12000, 0.5F);
  std::vector<unsigned char> mask_memory = std::vector<unsigned char>(48, 1);
  size_t used = 0;
  nf_neighborhood neighborhood = {};
  nf_tensor query, key, value, out, logsumexp, additional_keys, additional_values, mask, weights, bias, dout, dquery,
      dbias;
  const nf_pattern* pattern = &neighborhood.pattern;
  const nf_tensor *q = &query, *k = &key, *o = &out;
  nf_modifiers modifiers = no_modifiers();
  nf_options options = nf_default_options();
  nf_gradients gradients = {};

  Call() {
    const int64_t windows[2] = {3, 3};
    neighborhood = nf_make_neighborhood(2, windows);
    query = take({2, 4, 6, 4, 8}), key = take({2, 4, 6, 2, 8}), value = take({2, 4, 6, 2, 8});
    out = take({2, 4, 6, 4, 8}), logsumexp = take({2, 4, 6, 4}), dout = take({2, 4, 6, 4, 8});
    additional_keys = take({2, 3, 2, 8}), additional_values = take({2, 3, 2, 8});
    weights = take({4, 6}), bias = take({4, 5, 5}), dbias = take({4, 5, 5}), dquery = take({2, 4, 6, 4, 8});
    mask = tensor(mask_memory.data(), NF_BOOL, {2, 4, 6});
    gradients.struct_size = sizeof gradients;
    gradients.query = &dquery;
  }
  Call(const Call&) = delete;

  nf_tensor take(std::initializer_list<int64_t> sizes) {
    const nf_tensor result = tensor(memory.data() + used, NF_FLOAT32, sizes);
    used += static_cast<size_t>(result.strides[0] * result.sizes[0]);
    return result;
  }
  nf_status forward() { return nf_forward(pattern, q, k, &value, &modifiers, &options, o, &logsumexp); }
  nf_status backward(const nf_gradients* g) {
    return nf_backward(pattern, q, k, &value, &modifiers, &options, &out, &logsumexp, &dout, nullptr, g);
  }
  nf_status explain() {
    nf_explanation explanation = {};
    explanation.struct_size = sizeof explanation;
    return nf_explain(pattern, q, k, &value, &modifiers, &options, &explanation);
  }
};

struct Rule {
  nf_status status;
  std::function<nf_status(Call&)> broken;  // breaks the rule, makes the call
};

// A call of nf_forward after `change`.
std::function<nf_status(Call&)> forward_after(void (*change)(Call&)) {
  return [change](Call& c) {
    change(c);
    return c.forward();
  };
}

std::function<nf_status(Call&)> with_environment(const char* name, const char* value) {
  return [=](Call& c) {
    const char* const before = std::getenv(name);
    const std::string kept = before != nullptr ? before : "";
    setenv(name, value, 1);
    const nf_status status = c.forward();
    before != nullptr ? setenv(name, kept.c_str(), 1) : unsetenv(name);
    return status;
  };
}

void expect_documented(const std::vector<Rule>& rules) {
  DocumentedRules page;
  for (const Rule& rule : rules) {
    Call call;
    EXPECT_EQ(rule.broken(call), rule.status) << nf_last_error();
    page.expect_next(nf_last_error());
  }
}

constexpr nf_status kInvalid = NF_INVALID_ARGUMENT;

TEST(ApiDoc, ThisCallBreaksNoRule) {
  Call call;
  call.modifiers.bias = &call.bias;
  call.modifiers.key_mask = &call.mask;
  call.modifiers.key_weights = &call.weights;
  call.modifiers.additional_keys = &call.additional_keys;
  call.modifiers.additional_values = &call.additional_values;
  call.gradients.bias = &call.dbias;
  call.options.engine = NF_ENGINE_REFERENCE;
  EXPECT_EQ(call.forward(), NF_OK) << nf_last_error();
  EXPECT_EQ(call.backward(&call.gradients), NF_OK) << nf_last_error();
}

TEST(ApiDoc, Patterns) {
  expect_documented({
      {kInvalid, forward_after([](Call& c) { c.pattern = nullptr; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.pattern.struct_size = 8; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.pattern.kind = 7; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.pattern.rank = 4; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.kernel_size[1] = 0; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.kernel_size[0] = (int64_t{1} << 40) + 1; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.stride[0] = 0; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.stride[1] = 4; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.dilation[0] = -2; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.is_causal[0] = 2; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.boundary[0] = 3; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.is_causal[0] = 1, c.neighborhood.boundary[0] = NF_WRAP; })},
      {kInvalid, forward_after([](Call& c) { c.neighborhood.dilation[1] = 4, c.neighborhood.boundary[1] = NF_WRAP; })},
      {kInvalid,
       [](Call& c) {
         for (nf_tensor* t : {&c.query, &c.key, &c.value}) t->sizes[1] = t->sizes[2] = 1 << 20;
         c.neighborhood.kernel_size[0] = c.neighborhood.kernel_size[1] = 1 << 20;
         return c.explain();
       }},
  });
}

template <class Pattern>
std::function<nf_status(Call&)> forward_along(Pattern pattern) {
  return [pattern](Call& c) {
    c.pattern = &pattern.pattern;
    return c.forward();
  };
}

TEST(ApiDoc, WindowsAndCurves) {
  constexpr int64_t kSizes[] = {2, 3};
  const auto window = [&](auto change) {
    nf_window pattern = nf_make_window(2, kSizes);
    change(pattern);
    return forward_along(pattern);
  };
  const auto curve = [](auto change) {
    nf_curve pattern = nf_make_curve(2, NF_HILBERT, NF_CURVE_WINDOW, 9);
    change(pattern);
    return forward_along(pattern);
  };
  expect_documented({
      {kInvalid, window([](nf_window& w) { w.size[1] = 0; })},
      {kInvalid, window([](nf_window& w) { w.shift[0] = -1; })},
      {kInvalid, window([](nf_window& w) { w.shift[1] = 3; })},
      {kInvalid, curve([](nf_curve& c) { c.order = 9; })},
      {kInvalid, curve([](nf_curve& c) { c.form = 0; })},
      {kInvalid, curve([](nf_curve& c) { c.size = 0; })},
      {kInvalid, curve([](nf_curve& c) { c.shift = 9; })},
      {kInvalid, curve([](nf_curve& c) { c.form = NF_CURVE_SLIDE, c.shift = 1; })},
      {kInvalid, curve([](nf_curve& c) { c.stride = 2; })},
      {kInvalid, curve([](nf_curve& c) { c.form = NF_CURVE_SLIDE, c.stride = 10; })},
      {kInvalid, curve([](nf_curve& c) { c.dilation = 0; })},
      {kInvalid, curve([](nf_curve& c) { c.is_causal = 2; })},
      {kInvalid, curve([](nf_curve& c) { c.reserved = 1; })},
  });
}

TEST(ApiDoc, Spheres) {
  const auto sphere = [](auto change) {
    nf_sphere pattern = nf_make_sphere(4, 6, 4, 6);
    change(pattern);
    return forward_along(pattern);
  };
  expect_documented({
      {kInvalid, sphere([](nf_sphere& s) { s.query.latitudes = 4; })},
      {kInvalid, sphere([](nf_sphere& s) { s.key.nlat = 1; })},
      {kInvalid, sphere([](nf_sphere& s) { s.query.nlon = 0; })},
      {kInvalid, sphere([](nf_sphere& s) { s.query.nlon = 8, s.key.nlon = 12; })},
      {kInvalid, sphere([](nf_sphere& s) { s.query.nlat = 1; })},
      {kInvalid, sphere([](nf_sphere& s) { s.has_cutoff = 1, s.cutoff = 0; })},
      {kInvalid, sphere([](nf_sphere& s) { s.tolerance = -1; })},
      {kInvalid, sphere([](nf_sphere& s) { s.is_global = 2; })},
      {kInvalid, sphere([](nf_sphere& s) { s.query.nlon = s.key.nlon = 12; })},
      {kInvalid, sphere([](nf_sphere& s) { s.key.nlon = 12; })},
      {kInvalid,
       [](Call& c) {
         const nf_sphere pattern = nf_make_sphere(4, 6, 4, 6);
         c.pattern = &pattern.pattern;
         c.modifiers.bias = &c.bias;
         return c.forward();
       }},
  });
}

TEST(ApiDoc, Tensors) {
  expect_documented({
      {kInvalid, forward_after([](Call& c) { c.q = nullptr; })},
      {kInvalid, forward_after([](Call& c) { c.query.rank = 4; })},
      {kInvalid, forward_after([](Call& c) { c.query.sizes[0] = -1; })},
      {kInvalid, forward_after([](Call& c) { c.query.sizes[4] = 1024; })},
      {kInvalid, forward_after([](Call& c) { c.key.sizes[2] = 5; })},
      {kInvalid, forward_after([](Call& c) { c.key.sizes[3] = 3; })},
      {kInvalid, forward_after([](Call& c) { c.value.sizes[3] = 4; })},
      {kInvalid, forward_after([](Call& c) { c.query.dtype = 9; })},
      {kInvalid, forward_after([](Call& c) { c.key.dtype = NF_FLOAT16; })},
      {kInvalid, forward_after([](Call& c) { c.logsumexp.dtype = NF_FLOAT64; })},
      {kInvalid, forward_after([](Call& c) { c.value.strides[4] = 2; })},
      {kInvalid, forward_after([](Call& c) { c.query.strides[0] = int64_t{1} << 60; })},
      {kInvalid,
       [](Call& c) {
         for (nf_tensor* t : {&c.query, &c.key, &c.value}) t->sizes[0] = int64_t{1} << 60, t->strides[0] = 0;
         return c.explain();
       }},
      {kInvalid, forward_after([](Call& c) { c.key.data = nullptr; })},
      {kInvalid, forward_after([](Call& c) { c.out.data = c.query.data; })},
      {kInvalid, forward_after([](Call& c) { c.out.strides[0] = 0; })},
  });
}

TEST(ApiDoc, Modifiers) {
  expect_documented({
      {kInvalid, forward_after([](Call& c) { c.modifiers.struct_size = 8; })},
      {kInvalid, forward_after([](Call& c) { c.modifiers.softcap = -1; })},
      {kInvalid, forward_after([](Call& c) { c.modifiers.additional_keys = &c.additional_keys; })},
      {kInvalid, forward_after([](Call& c) {
         c.additional_values.sizes[1] = 2;
         c.modifiers.additional_keys = &c.additional_keys, c.modifiers.additional_values = &c.additional_values;
       })},
      {kInvalid, forward_after([](Call& c) { c.mask.dtype = NF_FLOAT32, c.modifiers.key_mask = &c.mask; })},
      {kInvalid, forward_after([](Call& c) { c.weights.rank = 1, c.modifiers.key_weights = &c.weights; })},
      {kInvalid, forward_after([](Call& c) {
         static_cast<float*>(c.weights.data)[8] = -0.5F;
         c.modifiers.key_weights = &c.weights;
       })},
      {kInvalid, forward_after([](Call& c) { c.bias.sizes[1] = 3, c.modifiers.bias = &c.bias; })},
      {kInvalid, forward_after([](Call& c) { c.bias.dtype = NF_FLOAT16, c.modifiers.bias = &c.bias; })},
  });
}

TEST(ApiDoc, Options) {
  expect_documented({
      {kInvalid, forward_after([](Call& c) { c.options.struct_size = 0; })},
      {kInvalid, forward_after([](Call& c) { c.options.has_scale = 2; })},
      {kInvalid, forward_after([](Call& c) { c.options.has_scale = 1, c.options.scale = INFINITY; })},
      {kInvalid, forward_after([](Call& c) { c.options.engine = 7; })},
      {kInvalid, forward_after([](Call& c) { c.options.isa = 9; })},
      {kInvalid, forward_after([](Call& c) { c.options.kernel = 3; })},
      {kInvalid, forward_after([](Call& c) { c.options.num_threads = -1; })},
      {kInvalid, forward_after([](Call& c) { c.options.reserved = 1; })},
      {kInvalid, forward_after([](Call& c) { c.options.workspace_size = 64; })},
      {kInvalid, forward_after([](Call& c) { c.options.workspace = c.out.data, c.options.workspace_size = 64; })},
      {kInvalid, with_environment("NEARFIELD_NUM_THREADS", "many")},
      {kInvalid, with_environment("NEARFIELD_ISA", "sse9")},
  });
}

TEST(ApiDoc, BackwardAndResults) {
  expect_documented({
      {kInvalid, [](Call& c) { return c.backward(nullptr); }},
      {kInvalid,
       [](Call& c) {
         c.gradients.struct_size = 8;
         return c.backward(&c.gradients);
       }},
      {kInvalid,
       [](Call& c) {
         c.gradients.bias = &c.dbias;
         return c.backward(&c.gradients);
       }},
      {kInvalid,
       [](Call& c) {
         nf_explanation explanation = {};
         return nf_explain(c.pattern, c.q, c.k, &c.value, nullptr, nullptr, &explanation);
       }},
      {kInvalid,
       [](Call& c) { return nf_forward_workspace(c.pattern, c.q, c.k, &c.value, nullptr, nullptr, nullptr); }},
      {kInvalid, [](Call&) { return nf_measure_peak(NF_ISA_AUTO, NF_FLOAT32, 0, std::array<double, 1>{}.data()); }},
      {kInvalid, [](Call&) { return nf_measure_peak(NF_ISA_AUTO, NF_BFLOAT16, 1, std::array<double, 1>{}.data()); }},
  });
}

// The call's tensors as two packed pieces of its grid.
struct RaggedCall : Call {
  std::vector<int64_t> offsets = {0, 24, 48}, grids = {4, 6, 4, 6};
  nf_ragged ragged = {sizeof(nf_ragged), 2, offsets.data(), grids.data()};
  const nf_ragged* pieces = &ragged;

  RaggedCall() {
    for (nf_tensor* t : {&query, &key, &value, &out, &logsumexp}) {
      t->rank -= 2;
      t->sizes[0] = 48;
      t->strides[0] = t->strides[2];
      for (int d = 1; d < t->rank; ++d) t->sizes[d] = t->sizes[d + 2], t->strides[d] = t->strides[d + 2];
    }
  }
  nf_status forward() { return nf_forward_ragged(pattern, pieces, q, k, &value, &modifiers, &options, o, &logsumexp); }
};

Rule ragged_after(void (*change)(RaggedCall&)) {
  return {kInvalid, [change](Call&) {
            RaggedCall c;
            change(c);
            return c.forward();
          }};
}

TEST(ApiDoc, Ragged) {
  RaggedCall valid;
  EXPECT_EQ(valid.forward(), NF_OK) << nf_last_error();
  expect_documented({
      ragged_after([](RaggedCall& c) { c.pieces = nullptr; }),
      ragged_after([](RaggedCall& c) { c.ragged.struct_size = 8; }),
      ragged_after([](RaggedCall& c) { c.ragged.count = -1; }),
      ragged_after([](RaggedCall& c) { c.ragged.token_offsets = nullptr; }),
      ragged_after([](RaggedCall& c) { c.ragged.grids = nullptr; }),
      ragged_after([](RaggedCall& c) { c.grids[2] = -3; }),
      ragged_after([](RaggedCall& c) { c.offsets[0] = 1; }),
      ragged_after([](RaggedCall& c) { c.offsets[2] = 20; }),
      ragged_after([](RaggedCall& c) { c.offsets[2] = 40; }),
      ragged_after([](RaggedCall& c) { c.grids[2] = 3; }),
      ragged_after([](RaggedCall& c) { c.neighborhood.dilation[1] = 4, c.neighborhood.boundary[1] = NF_WRAP; }),
      ragged_after([](RaggedCall& c) { c.query.rank = 5; }),
      ragged_after([](RaggedCall& c) { c.key.sizes[0] = 47; }),
      ragged_after([](RaggedCall& c) {
        c.additional_keys.sizes[0] = 1;
        c.modifiers.additional_keys = &c.additional_keys, c.modifiers.additional_values = &c.additional_values;
      }),
      ragged_after([](RaggedCall& c) { c.options.workspace = c.memory.data(), c.options.workspace_size = 64; }),
  });
}

// Two parts, merged into a third tensor of their shape.
struct MergeCall : Call {
  nf_tensor lses[2] = {take({2, 4, 6, 4}), take({2, 4, 6, 4})};
  nf_merge_part parts[2] = {{&query, &lses[0]}, {&dout, &lses[1]}};
  const nf_merge_part* given = parts;
  int32_t count = 2;

  nf_status forward() { return nf_merge(count, given, nullptr, &out, &logsumexp); }
};

Rule merge_after(void (*change)(MergeCall&)) {
  return {kInvalid, [change](Call&) {
            MergeCall c;
            change(c);
            return c.forward();
          }};
}

TEST(ApiDoc, Merging) {
  MergeCall valid;
  EXPECT_EQ(valid.forward(), NF_OK) << nf_last_error();
  expect_documented({
      merge_after([](MergeCall& c) { c.count = 0; }),
      merge_after([](MergeCall& c) { c.count = 17; }),
      merge_after([](MergeCall& c) { c.given = nullptr; }),
      merge_after([](MergeCall& c) { c.parts[1].logsumexp = nullptr; }),
      merge_after([](MergeCall& c) { c.query.rank = 3; }),
      merge_after([](MergeCall& c) { c.dout.sizes[2] = 5; }),
      merge_after([](MergeCall& c) { c.dout.dtype = NF_FLOAT16; }),
      merge_after([](MergeCall& c) { c.lses[0].dtype = NF_FLOAT64; }),
      merge_after([](MergeCall& c) { c.out.data = c.dout.data; }),
      {kInvalid,
       [](Call&) {
         MergeCall c;
         return nf_merge_backward(c.count, c.given, nullptr, &c.dquery, nullptr, nullptr);
       }},
  });
}

TEST(ApiDoc, Unsupported) {
  expect_documented({
      {NF_UNSUPPORTED,
       [](Call& c) {
         struct Newer {
           nf_options known = nf_default_options();
           int64_t unknown = 1;
         } newer;
         newer.known.struct_size = sizeof newer;
         return nf_forward(c.pattern, c.q, c.k, &c.value, nullptr, &newer.known, c.o, nullptr);
       }},
  });
}

}  // namespace
