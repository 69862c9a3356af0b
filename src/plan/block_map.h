// What block-sparse attention kernels execute: tokens in a row, cut into blocks, and for each block of queries the
// blocks of keys that hold a seen pair, full ones and others with a mask. A pattern on a grid's axes is laid out
// row-major; of one along an order the positions are the row, so that all orders of as many tokens share a map.
//
// Built from each query's intervals, one block of queries at a time; no table of all pairs or of all pairs of blocks
// exists. It serves the engine block_sparse and the pictures of it; the fused engine executes plans (plan.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "pattern/pattern.h"

namespace nearfield::core {

// Of one map at most, and of all that the cache keeps.
inline constexpr size_t kMaxBlockMapBytes = size_t{256} << 20;

struct KeyBlock {
  int32_t index = 0;  // keys [index * block, + block), fewer in the last
  int32_t pairs = 0;  // that are seen: at least 1
  int64_t mask = -1;  // of the map's masks; -1: all pairs are seen
  bool full() const { return mask < 0; }
};

// Of a map's pairs of blocks, for one (batch, head).
struct BlockCounts {
  int64_t blocks = 0;  // pairs of a block of queries and one of keys: empty + full + masked
  int64_t empty = 0, full = 0, masked = 0;
  int64_t pairs = 0;  // (query, key) pairs that are seen
};

class BlockMap {
 public:
  // block: tokens of a block, 1 to 1024. without masks it counts as much and holds less.
  // Errors: unsupported for a map of more than kMaxBlockMapBytes, of more than 2^33 words of bits to be looked at, or
  // on the sphere.
  BlockMap(const Pattern& pattern, int64_t block, bool with_masks = true);

  int64_t tokens() const { return tokens_; }
  int64_t block() const { return block_; }
  int64_t block_count() const { return static_cast<int64_t>(rows_.size()) - 1; }  // on each side
  int64_t first_of(int64_t index) const { return index * block_; }
  int64_t size_of_block(int64_t index) const { return min_of(block_, tokens_ - index * block_); }

  // The key blocks of a block of queries that are not empty, in order.
  std::span<const KeyBlock> row(int64_t query_block) const {
    const auto at = static_cast<size_t>(query_block);
    return {blocks_.data() + rows_[at], static_cast<size_t>(rows_[at + 1] - rows_[at])};
  }
  // One bit for each pair: bit q % 32 of mask_of(b)[q / 32 * block() + k] is set if query q of the block sees key k of
  // it. Of a masked block of a map with masks.
  const uint32_t* mask_of(const KeyBlock& block) const {
    return masks_.data() + static_cast<size_t>(block.mask) * words_of_mask();
  }
  size_t words_of_mask() const { return static_cast<size_t>((block_ + 31) / 32 * block_); }

  const BlockCounts& counts() const { return counts_; }
  size_t bytes() const;

 private:
  class Row;
  void add(Row& row, int64_t query_block, bool with_masks);

  int64_t tokens_ = 0, block_ = 0;
  std::vector<int64_t> rows_;  // [block_count + 1]: where each begins in blocks_
  std::vector<KeyBlock> blocks_;
  std::vector<uint32_t> masks_;
  BlockCounts counts_;
};

// The map with masks, from a cache of kMaxBlockMapBytes. Thread-safe.
std::shared_ptr<const BlockMap> cached_block_map(const Pattern& pattern, int64_t block);

}  // namespace nearfield::core
