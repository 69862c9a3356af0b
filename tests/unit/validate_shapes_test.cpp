// The rules for pointers, shapes, dtypes and strides of each argument, by the exact text of their messages.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "dispatch/validate.h"
#include "validate_call.h"

namespace nearfield::core {
namespace {

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

// ---- pointers and structs ------------------------------------------------------------------------------------------

TEST(Validate, NullPointersAreNamed) {
  Call c;
  const auto forward = [&](const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                           const nf_tensor* value, const nf_tensor* out) {
    return error_of([&] { validate_forward(pattern, query, key, value, nullptr, nullptr, out, nullptr, c.outputs); });
  };
  const nf_pattern* p = &c.pattern.pattern;
  EXPECT_EQ(forward(nullptr, nullptr, nullptr, nullptr, nullptr), "pattern: must not be NULL");
  EXPECT_EQ(forward(p, nullptr, nullptr, nullptr, nullptr), "query: must not be NULL");
  EXPECT_EQ(forward(p, &c.query, nullptr, nullptr, nullptr), "key: must not be NULL");
  EXPECT_EQ(forward(p, &c.query, &c.key, nullptr, nullptr), "value: must not be NULL");
  EXPECT_EQ(forward(p, &c.query, &c.key, &c.value, nullptr), "out: must not be NULL");
  const auto backward = [&](const nf_tensor* out, const nf_tensor* logsumexp, const nf_tensor* dout,
                            const nf_gradients* gradients) {
    return error_of([&] {
      validate_backward(p, &c.query, &c.key, &c.value, nullptr, nullptr, out, logsumexp, dout, nullptr, gradients,
                        c.given, c.wanted);
    });
  };
  EXPECT_EQ(backward(nullptr, nullptr, nullptr, nullptr), "gradients: must not be NULL");
  c.gradients = {sizeof(nf_gradients), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  EXPECT_EQ(backward(nullptr, nullptr, nullptr, &c.gradients), "out: must not be NULL");
  EXPECT_EQ(backward(&c.out, nullptr, nullptr, &c.gradients), "logsumexp: must not be NULL");
  EXPECT_EQ(backward(&c.out, &c.logsumexp, nullptr, &c.gradients), "dout: must not be NULL");
  EXPECT_EQ(backward(&c.out, &c.logsumexp, &c.dout, &c.gradients), "");
}

TEST(Validate, NullMemoryIsNamed) {
  expect_error(kBoth, "query.data: must not be NULL", [](Call& c) { c.query.data = nullptr; });
  expect_error(kBoth, "key.data: must not be NULL", [](Call& c) { c.key.data = nullptr; });
  expect_error(kBoth, "value.data: must not be NULL", [](Call& c) { c.value.data = nullptr; });
  expect_error(kBoth, "bias.data: must not be NULL", [](Call& c) { c.bias.data = nullptr; });
  expect_error(kBoth, "key_mask.data: must not be NULL", [](Call& c) { c.key_mask.data = nullptr; });
  expect_error(kBoth, "out.data: must not be NULL", [](Call& c) { c.out.data = nullptr; });
  expect_error(kBoth, "logsumexp.data: must not be NULL", [](Call& c) { c.logsumexp.data = nullptr; });
  expect_error(kBackward, "dout.data: must not be NULL", [](Call& c) { c.dout.data = nullptr; });
  expect_error(kBackward, "gradients.key.data: must not be NULL", [](Call& c) { c.dkey.data = nullptr; });
}

TEST(Validate, StructSizes) {
  expect_error(kAll, "pattern.struct_size=8: must be at least 16", [](Call& c) { c.pattern.pattern.struct_size = 8; });
  expect_error(kAll, "pattern.struct_size=16: must be at least " + std::to_string(sizeof(nf_neighborhood)),
               [](Call& c) { c.pattern.pattern.struct_size = 16; });
  expect_error(kAll, "modifiers.struct_size=0: must be at least " + std::to_string(sizeof(nf_modifiers)),
               [](Call& c) { c.modifiers.struct_size = 0; });
  expect_error(kAll, "options.struct_size=8: must be at least " + std::to_string(sizeof(nf_options)),
               [](Call& c) { c.options.struct_size = 8; });
  expect_error(kBackward, "gradients.struct_size=8: must be at least " + std::to_string(sizeof(nf_gradients)),
               [](Call& c) { c.gradients.struct_size = 8; });
}

// ---- shapes and dtypes ---------------------------------------------------------------------------------------------

TEST(Validate, Ranks) {
  expect_error(kAll, "query.rank=4: must be 5 (batch, axis 0, axis 1, heads, head_dim)",
               [](Call& c) { c.query.rank = 4; });
  expect_error(kAll, "key.rank=6: must be 5 (batch, axis 0, axis 1, heads_kv, head_dim)",
               [](Call& c) { c.key.rank = 6; });
  expect_error(kAll, "value.rank=-1: must be 5 (batch, axis 0, axis 1, heads_kv, head_dim_v)",
               [](Call& c) { c.value.rank = -1; });
  expect_error(kBoth, "out.rank=1000: must be 5 (batch, axis 0, axis 1, heads, head_dim_v)",
               [](Call& c) { c.out.rank = 1000; });
  expect_error(kBoth, "logsumexp.rank=5: must be 4 (batch, axis 0, axis 1, heads)",
               [](Call& c) { c.logsumexp.rank = 5; });
  expect_error(kAll, "key_mask.rank=2: must be 3 (batch, axis 0, axis 1)", [](Call& c) { c.key_mask.rank = 2; });
  expect_error(kAll, "key_weights.rank=4: must be 2 (*grid) or 3 (batch, *grid)",
               [](Call& c) { c.key_weights.rank = 4; });
  expect_error(kAll, "additional_keys.rank=3: must be 4 (batch, additional keys, heads_kv, head_dim)",
               [](Call& c) { c.additional_keys.rank = 3; });
  // The pattern says how many axes there are.
  expect_error(kAll, "query.rank=5: must be 6 (batch, axis 0, axis 1, axis 2, heads, head_dim)",
               [](Call& c) { c.pattern.pattern.rank = 3; });
}

TEST(Validate, ShapesOfQueryKeyAndValue) {
  expect_error(kAll, "query.sizes[0]=-1 (batch): must be at least 0", [](Call& c) { c.query.sizes[0] = -1; });
  expect_error(kAll, "query.sizes[1]=-5 (axis 0): must be at least 0", [](Call& c) { c.query.sizes[1] = -5; });
  expect_error(kAll, "query.sizes[2]=2147483648 (axis 1): must be at most 2147483647",
               [](Call& c) { c.query.sizes[2] = int64_t{1} << 31; });
  expect_error(kAll, "query.sizes[3]=0 (heads): must be at least 1", [](Call& c) { c.query.sizes[3] = 0; });
  expect_error(kAll, "query.sizes[4]=600 (head_dim): must be at most 512", [](Call& c) { c.query.sizes[4] = 600; });
  expect_error(kAll, "query.sizes[4]=0 (head_dim): must be at least 1", [](Call& c) { c.query.sizes[4] = 0; });
  expect_error(kAll, "key.sizes[0]=3 (batch): must be 2, as in query", [](Call& c) { c.key.sizes[0] = 3; });
  expect_error(kAll, "key.sizes[2]=7 (axis 1): must be 6, as in query", [](Call& c) { c.key.sizes[2] = 7; });
  expect_error(kAll, "key.sizes[3]=0 (heads_kv): must be at least 1", [](Call& c) { c.key.sizes[3] = 0; });
  expect_error(kAll, "key.sizes[3]=3 (heads_kv): must divide the 4 heads of query",
               [](Call& c) { c.key.sizes[3] = 3; });
  expect_error(kAll, "key.sizes[3]=8 (heads_kv): must divide the 4 heads of query",
               [](Call& c) { c.key.sizes[3] = 8; });
  expect_error(kAll, "key.sizes[4]=9 (head_dim): must be 8, as in query", [](Call& c) { c.key.sizes[4] = 9; });
  expect_error(kAll, "value.sizes[1]=4 (axis 0): must be 5, as in query", [](Call& c) { c.value.sizes[1] = 4; });
  expect_error(kAll, "value.sizes[3]=1 (heads_kv): must be 2, as in key", [](Call& c) { c.value.sizes[3] = 1; });
  expect_error(kAll, "value.sizes[4]=513 (head_dim_v): must be at most 512", [](Call& c) { c.value.sizes[4] = 513; });
  expect_error(kAll, "value.sizes[4]=0 (head_dim_v): must be at least 1", [](Call& c) { c.value.sizes[4] = 0; });
}

TEST(Validate, ShapesOfOutputs) {
  expect_error(kBoth, "out.sizes[0]=1 (batch): must be 2, as in query", [](Call& c) { c.out.sizes[0] = 1; });
  expect_error(kBoth, "out.sizes[3]=2 (heads): must be 4, as in query", [](Call& c) { c.out.sizes[3] = 2; });
  expect_error(kBoth, "out.sizes[4]=8 (head_dim_v): must be 3, as in value", [](Call& c) { c.out.sizes[4] = 8; });
  expect_error(kBoth, "logsumexp.sizes[3]=2 (heads): must be 4, as in query",
               [](Call& c) { c.logsumexp.sizes[3] = 2; });
  expect_error(kBackward, "dout.sizes[4]=8 (head_dim_v): must be 3, as in value", [](Call& c) { c.dout.sizes[4] = 8; });
  expect_error(kBackward, "dlogsumexp.sizes[1]=6 (axis 0): must be 5, as in query",
               [](Call& c) { c.dlogsumexp.sizes[1] = 6; });
  expect_error(kBackward, "gradients.query.sizes[4]=3 (head_dim): must be 8, as in query",
               [](Call& c) { c.dquery.sizes[4] = 3; });
  expect_error(kBackward, "gradients.key.sizes[3]=4 (heads_kv): must be 2, as in key",
               [](Call& c) { c.dkey.sizes[3] = 4; });
  expect_error(kBackward, "gradients.value.sizes[4]=8 (head_dim_v): must be 3, as in value",
               [](Call& c) { c.dvalue.sizes[4] = 8; });
  expect_error(kBackward, "gradients.additional_keys.sizes[1]=6 (additional keys): must be 7, as in additional_keys",
               [](Call& c) { c.dadditional_keys.sizes[1] = 6; });
  expect_error(kBackward, "gradients.additional_values.sizes[0]=1 (batch): must be 2, as in query",
               [](Call& c) { c.dadditional_values.sizes[0] = 1; });
  expect_error(kBackward, "gradients.key_weights.rank=2: must be 3 (batch, axis 0, axis 1)", [](Call& c) {
    c.dkey_weights.make(NF_FLOAT32, {5, 6});
  });
  expect_error(kBackward, "gradients.key_weights.rank=3: must be 2 (axis 0, axis 1)", [](Call& c) {
    c.key_weights.make(NF_FLOAT32, {5, 6});
  });
  expect_error(kBackward, "gradients.bias.sizes[2]=5 (axis 1): must be 9, 2*kernel_size[1]-1",
               [](Call& c) { c.dbias.sizes[2] = 5; });
}

TEST(Validate, DTypes) {
  const std::string number = ": must be float64 (0), float32 (1), bfloat16 (2) or float16 (3)";
  expect_error(kAll, "query.dtype=9" + number, [](Call& c) { c.query.dtype = 9; });
  expect_error(kAll, "query.dtype=-1" + number, [](Call& c) { c.query.dtype = -1; });
  expect_error(kAll, "query.dtype=bool" + number, [](Call& c) { c.query.dtype = NF_BOOL; });
  expect_error(kAll, "key.dtype=9: must be float32, as in query", [](Call& c) { c.key.dtype = 9; });
  expect_error(kAll, "key.dtype=float16: must be float32, as in query", [](Call& c) { c.key.dtype = NF_FLOAT16; });
  expect_error(kAll, "value.dtype=bool: must be float32, as in query", [](Call& c) { c.value.dtype = NF_BOOL; });
  expect_error(kBoth, "out.dtype=float64: must be float32, as in query", [](Call& c) { c.out.dtype = NF_FLOAT64; });
  expect_error(kBoth, "logsumexp.dtype=float64: must be float32 unless query is float64",
               [](Call& c) { c.logsumexp.dtype = NF_FLOAT64; });
  expect_error(kBackward, "dout.dtype=bfloat16: must be float32, as in query",
               [](Call& c) { c.dout.dtype = NF_BFLOAT16; });
  expect_error(kBackward, "dlogsumexp.dtype=bfloat16: must be float32 unless query is float64",
               [](Call& c) { c.dlogsumexp.dtype = NF_BFLOAT16; });
  expect_error(kAll, "additional_keys.dtype=float16: must be float32, as in query",
               [](Call& c) { c.additional_keys.dtype = NF_FLOAT16; });
  expect_error(kAll, "key_mask.dtype=float32: must be bool", [](Call& c) { c.key_mask.dtype = NF_FLOAT32; });
  expect_error(kAll, "key_weights.dtype=float64: must be float32, as in query",
               [](Call& c) { c.key_weights.dtype = NF_FLOAT64; });
  expect_error(kAll, "bias.dtype=bool: must be float32, as in query", [](Call& c) { c.bias.dtype = NF_BOOL; });
  expect_error(kBackward, "gradients.bias.dtype=float16: must be float32, as in query",
               [](Call& c) { c.dbias.dtype = NF_FLOAT16; });

  Call half(NF_FLOAT16);
  half.bias.dtype = NF_BFLOAT16;
  EXPECT_EQ(error_of([&] { half.inputs(); }), "bias.dtype=bfloat16: must be float32 or float16");
  half.bias.dtype = NF_FLOAT32;
  half.logsumexp.dtype = NF_FLOAT16;
  EXPECT_EQ(error_of([&] { half.forward(); }), "logsumexp.dtype=float16: must be float32 unless query is float64");
  Call wide(NF_FLOAT64);
  wide.logsumexp.dtype = NF_FLOAT32;
  EXPECT_EQ(error_of([&] { wide.forward(); }), "logsumexp.dtype=float32: must be float64 for a float64 query");
}

TEST(Validate, ChannelsAreContiguous) {
  expect_error(kAll, "query.strides[4]=2 (head_dim): must be 1", [](Call& c) { c.query.strides[4] = 2; });
  expect_error(kAll, "key.strides[4]=-1 (head_dim): must be 1", [](Call& c) { c.key.strides[4] = -1; });
  expect_error(kAll, "value.strides[4]=0 (head_dim_v): must be 1", [](Call& c) { c.value.strides[4] = 0; });
  expect_error(kBoth, "out.strides[4]=4 (head_dim_v): must be 1", [](Call& c) { c.out.strides[4] = 4; });
  expect_error(kAll, "additional_keys.strides[3]=7 (head_dim): must be 1",
               [](Call& c) { c.additional_keys.strides[3] = 7; });
  expect_error(kBackward, "gradients.value.strides[4]=2 (head_dim_v): must be 1",
               [](Call& c) { c.dvalue.strides[4] = 2; });
}

TEST(Validate, ExtentsAreBounded) {
  expect_error(kAll, "query.strides[1]=" + std::to_string(kHuge) + ": the tensor must span at most 2^60 bytes",
               [](Call& c) { c.query.strides[1] = kHuge; });
  expect_error(kAll, "key.strides[0]=-9223372036854775808: the tensor must span at most 2^60 bytes",
               [](Call& c) { c.key.strides[0] = std::numeric_limits<int64_t>::min(); });
  expect_error(kAll, "query.strides[3]=80000000000000000: the tensor must span at most 2^60 bytes", [](Call& c) {
    for (int d : {0, 1}) c.query.strides[d] = 10;
    c.query.strides[2] = int64_t{10000000000000000};
    c.query.strides[3] = int64_t{80000000000000000};
  });
  expect_error(kAll, "query.sizes[0]=1152921504606846977 (batch): must be at most 1152921504606846976",
               [](Call& c) { c.query.sizes[0] = (int64_t{1} << 60) + 1; });
  expect_error(kAll, "query.sizes[1]=5: the tensor must have at most 2^60 elements", [](Call& c) {
    c.query.sizes[0] = int64_t{1} << 60;
    for (int d = 0; d < 4; ++d) c.query.strides[d] = 0;
  });
  // An empty tensor has no extent.
  expect_valid(kInputs, [](Call& c) {
    c.modifiers = {sizeof(nf_modifiers), nullptr, nullptr, nullptr, nullptr, nullptr, 0};
    for (Owned* t : {&c.query, &c.key, &c.value}) {
      t->sizes[0] = 0;
      t->strides[1] = kHuge;
    }
  });
}

TEST(Validate, ModifierShapes) {
  expect_error(kAll, "additional_values: must not be NULL: additional_keys and additional_values come together",
               [](Call& c) { c.modifiers.additional_values = nullptr; });
  expect_error(kAll, "additional_keys: must not be NULL: additional_keys and additional_values come together",
               [](Call& c) { c.modifiers.additional_keys = nullptr; });
  expect_error(kAll, "additional_keys.sizes[0]=1 (batch): must be 2, as in query",
               [](Call& c) { c.additional_keys.sizes[0] = 1; });
  expect_error(kAll, "additional_keys.sizes[1]=-1 (additional keys): must be at least 0",
               [](Call& c) { c.additional_keys.sizes[1] = -1; });
  expect_error(kAll, "additional_keys.sizes[2]=4 (heads_kv): must be 2, as in key",
               [](Call& c) { c.additional_keys.sizes[2] = 4; });
  expect_error(kAll, "additional_keys.sizes[3]=3 (head_dim): must be 8, as in query",
               [](Call& c) { c.additional_keys.sizes[3] = 3; });
  expect_error(kAll, "additional_values.sizes[1]=6 (additional keys): must be 7, as in additional_keys",
               [](Call& c) { c.additional_values.sizes[1] = 6; });
  expect_error(kAll, "additional_values.sizes[3]=8 (head_dim_v): must be 3, as in value",
               [](Call& c) { c.additional_values.sizes[3] = 8; });
  expect_error(kAll, "key_mask.sizes[2]=5 (axis 1): must be 6, as in query", [](Call& c) { c.key_mask.sizes[2] = 5; });
  expect_error(kAll, "key_weights.sizes[0]=1 (batch): must be 2, as in query",
               [](Call& c) { c.key_weights.sizes[0] = 1; });
  expect_error(kAll, "key_weights.sizes[1]=5 (axis 1): must be 6, as in query", [](Call& c) {
    c.key_weights.make(NF_FLOAT32, {5, 5});
  });
  expect_error(kAll, "bias.sizes[0]=2 (heads): must be 4, as in query", [](Call& c) { c.bias.sizes[0] = 2; });
  expect_error(kAll, "bias.sizes[1]=3 (axis 0): must be 5, 2*kernel_size[0]-1", [](Call& c) { c.bias.sizes[1] = 3; });
}

}  // namespace
}  // namespace nearfield::core
