// What validation lets through, and the rules for the pattern, options and values, by the exact text of their
// messages. Shapes and dtypes: validate_shapes_test.cpp; contents and sharing of memory: validate_memory_test.cpp.
#include "dispatch/validate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>

#include "validate_call.h"

namespace nearfield::core {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

// ---- what comes through --------------------------------------------------------------------------------------------

TEST(Validate, TurnsAValidCallIntoAProblem) {
  Call call;
  call.pattern.stride[1] = 2;
  call.pattern.dilation[0] = 2;
  call.pattern.is_causal[0] = 1;
  call.pattern.boundary[1] = NF_WRAP;
  call.modifiers.softcap = 30;
  const Problem p = call.forward();
  EXPECT_EQ(p.shape.rank, 2);
  EXPECT_EQ(p.shape.batch, 2);
  EXPECT_EQ(p.shape.grid[0], 5);
  EXPECT_EQ(p.shape.grid[1], 6);
  EXPECT_EQ(p.shape.grid[2], 1);
  EXPECT_EQ(p.shape.heads, 4);
  EXPECT_EQ(p.shape.heads_kv, 2);
  EXPECT_EQ(p.shape.head_dim, 8);
  EXPECT_EQ(p.shape.head_dim_v, 3);
  EXPECT_EQ(p.shape.additional, 7);
  EXPECT_EQ(p.scale, 1 / std::sqrt(8.0));
  EXPECT_EQ(p.modifiers.softcap, 30);
  EXPECT_EQ(p.threading.num_threads, 1);
  const Pattern expected{2,
                         {NeighborhoodAxis{5, 5, 3, 1, 2, true, Boundary::clamp},
                          NeighborhoodAxis{6, 6, 5, 2, 1, false, Boundary::wrap}, NeighborhoodAxis{}},
                         {},
                         {}};
  EXPECT_EQ(p.pattern, expected);

  const std::pair<const TensorView*, const Owned*> views[] = {{&p.query, &call.query},
                                                              {&p.key, &call.key},
                                                              {&p.value, &call.value},
                                                              {&p.modifiers.additional_keys, &call.additional_keys},
                                                              {&p.modifiers.additional_values, &call.additional_values},
                                                              {&p.modifiers.key_mask, &call.key_mask},
                                                              {&p.modifiers.key_weights, &call.key_weights},
                                                              {&p.modifiers.bias, &call.bias},
                                                              {&call.outputs.out, &call.out},
                                                              {&call.outputs.logsumexp, &call.logsumexp}};
  for (const auto& [view, tensor] : views) {
    EXPECT_EQ(view->data, tensor->data);
    EXPECT_EQ(view->rank, tensor->rank);
    EXPECT_EQ(static_cast<int32_t>(view->dtype), tensor->dtype);
    EXPECT_TRUE(std::equal(view->sizes, view->sizes + view->rank, tensor->sizes));
    EXPECT_TRUE(std::equal(view->strides, view->strides + view->rank, tensor->strides));
  }
}

TEST(Validate, TurnsAValidBackwardIntoAProblem) {
  Call call;
  call.backward();
  const std::pair<const TensorView*, const Owned*> views[] = {
      {&call.given.out, &call.out},
      {&call.given.logsumexp, &call.logsumexp},
      {&call.given.dout, &call.dout},
      {&call.given.dlogsumexp, &call.dlogsumexp},
      {&call.wanted.query, &call.dquery},
      {&call.wanted.key, &call.dkey},
      {&call.wanted.value, &call.dvalue},
      {&call.wanted.additional_keys, &call.dadditional_keys},
      {&call.wanted.additional_values, &call.dadditional_values},
      {&call.wanted.key_weights, &call.dkey_weights},
      {&call.wanted.bias, &call.dbias}};
  for (const auto& [view, tensor] : views) EXPECT_EQ(view->data, tensor->data);

  // What is not given is a null view, also where the structs were used before.
  call.gradients = {sizeof(nf_gradients), nullptr, &call.dkey, nullptr, nullptr, nullptr, nullptr, nullptr};
  validate_backward(&call.pattern.pattern, &call.query, &call.key, &call.value, nullptr, nullptr, &call.out,
                    &call.logsumexp, &call.dout, nullptr, &call.gradients, call.given, call.wanted);
  EXPECT_FALSE(call.given.dlogsumexp || call.wanted.query || call.wanted.value || call.wanted.bias ||
               call.wanted.key_weights || call.wanted.additional_keys || call.wanted.additional_values);
  EXPECT_EQ(call.wanted.key.data, call.dkey.data);
}

TEST(Validate, ModifiersOptionsAndLogsumexpMayBeNull) {
  Call call;
  call.outputs.logsumexp.data = call.query.memory.data();
  const Problem p = validate_forward(&call.pattern.pattern, &call.query, &call.key, &call.value, nullptr, nullptr,
                                     &call.out, nullptr, call.outputs);
  EXPECT_FALSE(p.modifiers.any());
  EXPECT_FALSE(call.outputs.logsumexp);
  EXPECT_EQ(p.threading.num_threads, default_num_threads());
  EXPECT_EQ(p.threading.function, nullptr);
  EXPECT_EQ(p.scale, 1 / std::sqrt(8.0));
}

TEST(Validate, TakesEveryDType) {
  for (int32_t dtype : {NF_FLOAT64, NF_FLOAT32, NF_BFLOAT16, NF_FLOAT16}) {
    Call call(dtype);
    EXPECT_EQ(error_of([&] { call.forward(); }), "");
    EXPECT_EQ(error_of([&] { call.inputs(); }), "");
    EXPECT_EQ(error_of([&] { call.backward(); }), "");
    // Parameters and their gradients may have the query's dtype instead.
    call.bias.make(dtype, {4, 5, 9});
    call.key_weights.make(dtype, {5, 6});
    call.dkey_weights.make(dtype, {5, 6});
    EXPECT_EQ(error_of([&] { call.forward(); }), "");
    EXPECT_EQ(error_of([&] { call.backward(); }), "");
  }
}

TEST(Validate, ScaleIsReadOnlyIfGiven) {
  expect_valid(kAll, [](Call& c) { c.options.scale = kNan; });
  for (double scale : {0.0, -2.5}) {
    Call call;
    call.options.has_scale = 1;
    call.options.scale = scale;
    EXPECT_EQ(call.forward().scale, scale);
  }
}

TEST(Validate, PassesOnTheCallersParallelFor) {
  Call call;
  int context = 0;
  call.options.num_threads = 3;
  call.options.parallel_for = [](void*, int64_t, void (*)(void*, int64_t), void*) {};
  call.options.parallel_for_context = &context;
  const Problem p = call.forward();
  EXPECT_EQ(p.threading.num_threads, 3);
  EXPECT_EQ(p.threading.function, call.options.parallel_for);
  EXPECT_EQ(p.threading.context, &context);
}

// A (batch, heads, *grid, head_dim) tensor, reversed axes, expanded inputs, odd addresses.
TEST(Validate, TakesAnyStridesButThoseOfTheChannels) {
  expect_valid(kAll, [](Call& c) {
    for (Owned* t : {&c.query, &c.dquery}) {
      const int64_t strides[] = {4 * 5 * 6 * 8, 6 * 8, 8, 5 * 6 * 8, 1};
      std::copy(strides, strides + 5, t->strides);
    }
    const int64_t strides[] = {4 * 5 * 6, 6, 1, 5 * 6};
    std::copy(strides, strides + 4, c.logsumexp.strides);
  });
  expect_valid(kAll, [](Call& c) {
    c.out.data = c.out.memory.data() + c.out.memory.size() - 6 * 4 * 3 * 4;
    c.out.strides[0] *= -1;
    c.out.strides[1] *= -1;
    c.key.strides[0] = c.key.strides[1] = 0;
    c.value.memory.resize(c.value.memory.size() + 1);
    c.value.data = c.value.memory.data() + 1;
  });
}

TEST(Validate, NormalisesStridesThatNothingUses) {
  Call call;
  for (Owned* t : {&call.query, &call.key, &call.value, &call.out}) {
    t->sizes[0] = t->sizes[4] = 1;
    t->strides[0] = kHuge;
    t->strides[4] = -kHuge;
  }
  const Problem p = validate_forward(&call.pattern.pattern, &call.query, &call.key, &call.value, nullptr, nullptr,
                                     &call.out, nullptr, call.outputs);
  for (const TensorView* view :
       std::initializer_list<const TensorView*>{&p.query, &p.key, &p.value, &call.outputs.out}) {
    EXPECT_EQ(view->strides[0], 0);
    EXPECT_EQ(view->strides[4], 1);
  }
}

TEST(Validate, KeyWeightsWithoutBatchAreExpanded) {
  Call call;
  call.key_weights.make(NF_FLOAT32, {5, 6});
  call.dkey_weights.make(NF_FLOAT32, {5, 6});
  const Problem p = call.backward();
  for (const TensorView* view :
       std::initializer_list<const TensorView*>{&p.modifiers.key_weights, &call.wanted.key_weights}) {
    EXPECT_EQ(view->rank, 3);
    EXPECT_EQ(view->sizes[0], 2);
    EXPECT_EQ(view->sizes[1], 5);
    EXPECT_EQ(view->sizes[2], 6);
    EXPECT_EQ(view->strides[0], 0);
    EXPECT_EQ(view->strides[1], 6);
    EXPECT_EQ(view->strides[2], 1);
  }
}

TEST(Validate, EmptyProblemsAreLegalAndNeedNoMemory) {
  for (int empty : {0, 1, 2}) {
    expect_valid(kAll, [&](Call& c) {
      for (Owned* t : {&c.query, &c.key, &c.value, &c.out, &c.logsumexp, &c.key_mask, &c.key_weights, &c.dout,
                       &c.dlogsumexp, &c.dquery, &c.dkey, &c.dvalue, &c.dkey_weights}) {
        t->sizes[empty] = 0;
        t->data = nullptr;
      }
      for (Owned* t : {&c.additional_keys, &c.additional_values, &c.dadditional_keys, &c.dadditional_values}) {
        if (empty != 0) continue;
        t->sizes[0] = 0;
        t->data = nullptr;
      }
    });
  }
}

TEST(Validate, NoAdditionalKeysAreAbsent) {
  Call call;
  for (Owned* t : {&call.additional_keys, &call.additional_values, &call.dadditional_keys, &call.dadditional_values}) {
    t->sizes[1] = 0;
    t->data = nullptr;
  }
  const Problem p = call.backward();
  EXPECT_EQ(p.shape.additional, 0);
  EXPECT_FALSE(p.modifiers.additional_keys || p.modifiers.additional_values || call.wanted.additional_keys ||
               call.wanted.additional_values);
}

TEST(Validate, InputsNeedNoMemory) {
  Call call;
  for (Owned* t : {&call.query, &call.key, &call.value, &call.additional_keys, &call.additional_values, &call.key_mask,
                   &call.key_weights, &call.bias})
    t->data = nullptr;
  const Problem p = call.inputs();
  EXPECT_TRUE(p.modifiers.additional_keys && p.modifiers.additional_values && p.modifiers.key_mask &&
              p.modifiers.key_weights && p.modifiers.bias);
}

// ---- the pattern ---------------------------------------------------------------------------------------------------

TEST(Validate, PatternHead) {
  expect_error(kAll, "pattern.kind=7: must be 1 (neighborhood), 2 (window), 3 (curve) or 4 (sphere)",
               [](Call& c) { c.pattern.pattern.kind = 7; });
  expect_error(kAll, "pattern.rank=0: must be 1, 2 or 3", [](Call& c) { c.pattern.pattern.rank = 0; });
  expect_error(kAll, "pattern.rank=4: must be 1, 2 or 3", [](Call& c) { c.pattern.pattern.rank = 4; });
}

TEST(Validate, Windows) {
  expect_error(kAll, "kernel_size[1]=0: must be at least 1", [](Call& c) { c.pattern.kernel_size[1] = 0; });
  expect_error(kAll, "kernel_size[0]=-3: must be at least 1", [](Call& c) { c.pattern.kernel_size[0] = -3; });
  expect_error(kAll, "kernel_size[0]=1099511627777: must be at most 2^40",
               [](Call& c) { c.pattern.kernel_size[0] = kMaxWindow + 1; });
  expect_error(kAll, "stride[0]=0: must be at least 1", [](Call& c) { c.pattern.stride[0] = 0; });
  expect_error(kAll, "stride[0]=4: must be at most kernel_size[0]=3", [](Call& c) { c.pattern.stride[0] = 4; });
  expect_error(kAll, "dilation[1]=0: must be at least 1", [](Call& c) { c.pattern.dilation[1] = 0; });
  expect_error(kAll, "dilation[1]=1099511627777: must be at most 2^40",
               [](Call& c) { c.pattern.dilation[1] = kMaxWindow + 1; });
  expect_error(kAll, "is_causal[0]=2: must be 0 or 1", [](Call& c) { c.pattern.is_causal[0] = 2; });
  expect_error(kAll, "boundary[1]=3: must be 0 (clamp), 1 (wrap) or 2 (cut)",
               [](Call& c) { c.pattern.boundary[1] = 3; });
  expect_error(kAll, "boundary[1]=-1: must be 0 (clamp), 1 (wrap) or 2 (cut)",
               [](Call& c) { c.pattern.boundary[1] = -1; });
  expect_error(kAll, "is_causal[0]=1: must be 0 where boundary[0] is wrap", [](Call& c) {
    c.pattern.is_causal[0] = 1;
    c.pattern.boundary[0] = NF_WRAP;
  });
  expect_error(kAll, "dilation[0]=2: must be a divisor of the axis's 5 tokens where boundary[0] is wrap", [](Call& c) {
    c.pattern.dilation[0] = 2;
    c.pattern.boundary[0] = NF_WRAP;
  });
  // Axes beyond the rank are nobody's business.
  expect_valid(kAll, [](Call& c) { c.pattern.kernel_size[2] = c.pattern.stride[2] = c.pattern.dilation[2] = -1; });
}

TEST(Validate, WindowsMayExceedTheirAxis) {
  expect_valid(kAll, [](Call& c) {
    c.pattern.kernel_size[0] = c.pattern.stride[0] = c.pattern.dilation[0] = kMaxWindow;
    c.pattern.boundary[1] = NF_WRAP;
    c.pattern.kernel_size[1] = kMaxWindow;
    c.pattern.dilation[1] = 3;
    c.modifiers.bias = nullptr;
    c.gradients.bias = nullptr;
  });
}

// Only a dry run over expanded tensors gets this far.
TEST(Validate, PairsAreBounded) {
  expect_error(kInputs, "kernel_size[0]=2147483647: must be smaller: a head must have at most 2^53 (query, key) pairs",
               [](Call& c) {
                 c.modifiers = {sizeof(nf_modifiers), nullptr, nullptr, nullptr, nullptr, nullptr, 0};
                 c.pattern.kernel_size[0] = kMaxAxis;
                 for (Owned* t : {&c.query, &c.key, &c.value}) {
                   t->sizes[1] = kMaxAxis;
                   t->strides[1] = 0;
                 }
               });
}

// ---- values and options --------------------------------------------------------------------------------------------

TEST(Validate, Numbers) {
  expect_error(kAll, "softcap=-1: must be finite and at least 0", [](Call& c) { c.modifiers.softcap = -1; });
  expect_error(kAll, "softcap=nan: must be finite and at least 0", [](Call& c) { c.modifiers.softcap = kNan; });
  expect_error(kAll, "softcap=inf: must be finite and at least 0", [](Call& c) { c.modifiers.softcap = kInfinity; });
  expect_error(kAll, "has_scale=2: must be 0 or 1", [](Call& c) { c.options.has_scale = 2; });
  for (auto [scale, text] : {std::pair{kNan, "nan"}, {kInfinity, "inf"}, {-kInfinity, "-inf"}}) {
    expect_error(kAll, std::string("scale=") + text + ": must be finite", [&, value = scale](Call& c) {
      c.options.has_scale = 1;
      c.options.scale = value;
    });
  }
}

TEST(Validate, Options) {
  expect_error(kAll, "engine=6: must be 0 (auto), 1 (reference), 2 (cpu), 3 (block_sparse), 4 (naive) or 5 (gemm)",
               [](Call& c) { c.options.engine = 6; });
  expect_error(kAll, "isa=-1: must be 0 (auto), 1 (portable), 2 (avx2), 3 (avx512), 4 (neon) or 5 (portable16)",
               [](Call& c) { c.options.isa = -1; });
  expect_error(kAll, "kernel=3: must be 0 (auto), 1 (band) or 2 (tile)", [](Call& c) { c.options.kernel = 3; });
  expect_error(kAll, "num_threads=-1: must be at least 0", [](Call& c) { c.options.num_threads = -1; });
  expect_error(kAll, "options.reserved=1: must be 0", [](Call& c) { c.options.reserved = 1; });
  expect_error(kAll, "workspace_size=64: must be 0 where workspace is NULL",
               [](Call& c) { c.options.workspace_size = 64; });
  std::byte workspace[64];
  expect_valid(kAll, [&](Call& c) {
    c.options.engine = NF_ENGINE_CPU;
    c.options.isa = NF_ISA_AVX2;
    c.options.kernel = NF_KERNEL_TILE;
    c.options.workspace = workspace;
    c.options.workspace_size = sizeof workspace;
  });
}

TEST(Validate, ThreadsComeFromTheEnvironment) {
  const char* before = std::getenv("NEARFIELD_NUM_THREADS");
  const std::string kept = before != nullptr ? before : "";
  Call call;
  call.options.num_threads = 0;
  setenv("NEARFIELD_NUM_THREADS", "5", 1);
  EXPECT_EQ(call.forward().threading.num_threads, 5);
  setenv("NEARFIELD_NUM_THREADS", "many", 1);
  EXPECT_EQ(error_of([&] { call.forward(); }), "NEARFIELD_NUM_THREADS=many: must be a positive integer");
  before != nullptr ? setenv("NEARFIELD_NUM_THREADS", kept.c_str(), 1) : unsetenv("NEARFIELD_NUM_THREADS");
}

}  // namespace
}  // namespace nearfield::core
