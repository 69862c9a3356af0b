// What the baseline engine tells of itself, and what it refuses; its numbers are checked by the property tests.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "nearfield/nearfield.hpp"

namespace nearfield {
namespace {

const std::vector<int64_t> kShape = {2, 24, 32, 3, 8};

Options on_blocks() { return Options().with_engine(NF_ENGINE_BLOCK_SPARSE).with_threads(2); }

std::string error_of(const auto& body, nf_status status) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(BlockSparse, ExplainsTheMapThatItRuns) {
  const Tensor tensor(nullptr, NF_FLOAT32, kShape);
  for (const auto& pattern : {hilbert_window(2, 64), hilbert_slide(2, 49), hilbert_neighborhood(2, 100)}) {
    const nf_explanation e = explain(pattern, tensor, tensor, tensor, on_blocks());
    const BlockMap map = block_map(pattern, {24, 32});
    EXPECT_EQ(e.engine, NF_ENGINE_BLOCK_SPARSE);
    EXPECT_EQ(e.tile[0], 128);
    EXPECT_EQ(e.tiles, 6);
    EXPECT_EQ(e.full_steps, map.counts.full);
    EXPECT_EQ(e.masked_steps, map.counts.masked);
    EXPECT_EQ(e.useful_pairs, static_cast<double>(map.counts.pairs * 2 * 3));
    EXPECT_EQ(e.executed_pairs, static_cast<double>((map.counts.full + map.counts.masked) * 128 * 128 * 2 * 3));
    EXPECT_DOUBLE_EQ(e.waste, e.executed_pairs / e.useful_pairs);
    EXPECT_GT(e.predicted_seconds, 0);
    EXPECT_NE(std::string(e.reason).find("keys and values gathered into the pattern's order"), std::string::npos);
  }
  const nf_explanation row_major = explain(neighborhood({5, 5}), tensor, tensor, tensor, on_blocks());
  EXPECT_EQ(row_major.tile[1], 128);
  EXPECT_NE(std::string(row_major.reason).find("row-major"), std::string::npos);
}

TEST(BlockSparse, IsNeverTakenUnasked) {
  const Tensor tensor(nullptr, NF_FLOAT32, kShape);
  EXPECT_EQ(explain(hilbert_window(2, 64), tensor, tensor, tensor).engine, NF_ENGINE_CPU);
}

// Keys and values along an order are gathered for one image and head at a time.
TEST(BlockSparse, MemoryDoesNotGrowWithTheBatch) {
  const auto bytes = [](int64_t batch, const nf_pattern* pattern) {
    const Tensor tensor(nullptr, NF_BFLOAT16, {batch, 24, 32, 3, 8});
    return forward_workspace(pattern, tensor, tensor, tensor, on_blocks());
  };
  const auto curve = hilbert_slide(2, 49);
  const auto grid = neighborhood({7, 7});
  EXPECT_EQ(bytes(1, curve), bytes(5, curve));
  EXPECT_EQ(bytes(1, curve), bytes(1, grid) + 24 * 32 * (8 + 8) * sizeof(float));
}

TEST(BlockSparse, NamesWhatItCannotDo) {
  const Tensor tensor(nullptr, NF_FLOAT32, kShape), mask(nullptr, NF_BOOL, {2, 24, 32}),
      weights(nullptr, NF_FLOAT32, {24, 32}), bias(nullptr, NF_FLOAT32, {3, 9, 9}),
      more(nullptr, NF_FLOAT32, {2, 4, 3, 8});
  const auto pattern = neighborhood({5, 5});
  const auto refusal = [&](const Modifiers& modifiers) {
    return error_of([&] { explain(pattern, tensor, tensor, tensor, on_blocks(), modifiers); }, NF_UNSUPPORTED);
  };
  EXPECT_EQ(refusal({.additional_keys = more, .additional_values = more}),
            "additional_keys: engine=block_sparse takes none; engine=cpu does");
  EXPECT_EQ(refusal({.key_mask = mask}), "key_mask: engine=block_sparse takes none; engine=cpu does");
  EXPECT_EQ(refusal({.key_weights = weights}), "key_weights: engine=block_sparse takes none; engine=cpu does");
  EXPECT_EQ(refusal({.bias = bias}), "bias: engine=block_sparse takes none; engine=cpu does");
  EXPECT_EQ(refusal({.softcap = 5}), "softcap=5: engine=block_sparse takes none; engine=cpu does");
  const Gradients wanted = {.query = tensor};
  EXPECT_EQ(error_of([&] { explain_backward(pattern, tensor, tensor, tensor, wanted, on_blocks()); }, NF_UNSUPPORTED),
            "backward: engine=block_sparse has none; engine=cpu and engine=reference do");
}

TEST(BlockSparse, RefusesMapsBeyondMemory) {
  const Tensor tensor(nullptr, NF_FLOAT32, {1, 2048, 2048, 1, 8});
  const std::string message = error_of(
      [&] {
        explain(neighborhood({99, 1025}), tensor, tensor, tensor, on_blocks());
      },
      NF_UNSUPPORTED);
  EXPECT_EQ(message.find("engine=block_sparse: block=128: the map of this pattern"), 0u) << message;
  EXPECT_NE(message.find("; engine=cpu needs no such map"), std::string::npos) << message;
}

}  // namespace
}  // namespace nearfield
