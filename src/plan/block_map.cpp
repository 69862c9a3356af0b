#include "plan/block_map.h"

#include <algorithm>
#include <bit>
#include <variant>

#include "base/error.h"
#include "base/lru_cache.h"

namespace nearfield::core {
namespace {

constexpr size_t kCacheEntries = 64;
constexpr double kMaxWork = 8589934592.0;  // words of bits

// Tokens first, first + step, ... of an axis that a query sees: one run, or two across a seam.
struct AxisKeys {
  int64_t first[2] = {}, count[2] = {};
  int64_t step = 1;
};

AxisKeys axis_keys(const AxisRule& axis, int64_t token) {
  return std::visit(
      [&](const auto& rule) {
        const int64_t residue = token % rule.dilation, n = ceil_div(rule.keys - residue, rule.dilation);
        const Interval window = rule.keys_of(n, token / rule.dilation);
        AxisKeys keys;
        keys.step = rule.dilation;
        const int64_t start = window.length == n ? 0 : floor_mod(window.start, n);
        keys.count[0] = min_of(window.length, n - start);
        keys.count[1] = window.length - keys.count[0];
        keys.first[0] = start * rule.dilation + residue;
        keys.first[1] = residue;
        return keys;
      },
      axis);
}

int64_t length_of(const AxisRule& axis) {
  return std::visit([](const auto& rule) { return rule.keys; }, axis);
}

// About how many words of bits are set for all queries together.
double work_of(const Pattern& pattern, int64_t tokens) {
  auto work = static_cast<double>(tokens);
  for (int a = 0; a < pattern.rank; ++a)
    std::visit(
        [&](const auto& rule) {
          const auto longest = static_cast<double>(min_of(rule.kernel_size, ceil_div(rule.keys, rule.dilation)));
          work *= a + 1 < pattern.rank || rule.dilation > 1 ? longest : longest / 64 + 2;
        },
        pattern.axes[a]);
  return work;
}

// body(first, count, step): keys of query `token`, as row-major tokens, an axis' run at a time.
template <class Body>
void for_each_run(const Pattern& pattern, int64_t token, const Body& body) {
  AxisKeys keys[kMaxGridRank];
  int64_t lengths[kMaxGridRank] = {1, 1, 1};
  const int lead = kMaxGridRank - pattern.rank;  // axes of one token stand before the pattern's
  for (int a = 0; a < lead; ++a) keys[a].count[0] = 1;
  for (int a = kMaxGridRank - 1; a >= lead; --a) {
    lengths[a] = length_of(pattern.axes[a - lead]);
    keys[a] = axis_keys(pattern.axes[a - lead], token % lengths[a]);
    token /= lengths[a];
  }
  const auto each = [](const AxisKeys& axis, const auto& visit) {
    for (int part = 0; part < 2; ++part)
      for (int64_t i = 0; i < axis.count[part]; ++i) visit(axis.first[part] + i * axis.step);
  };
  each(keys[0], [&](int64_t y0) {
    each(keys[1], [&](int64_t y1) {
      const int64_t line = (y0 * lengths[1] + y1) * lengths[2];
      for (int part = 0; part < 2; ++part)
        if (keys[2].count[part] > 0) body(line + keys[2].first[part], keys[2].count[part], keys[2].step);
    });
  });
}

[[noreturn]] void refuse_size(int64_t block) {
  unsupported("block=", block, ": the map of this pattern in such blocks would exceed ", kMaxBlockMapBytes >> 20,
              " MiB");
}

}  // namespace

// The bits of one block of queries: [touched key blocks][queries of a block][words of keys].
class BlockMap::Row {
 public:
  Row(const BlockMap& map) : block_(map.block_), words_((map.block_ + 63) / 64) {
    slots_.assign(static_cast<size_t>(map.block_count()), -1);
  }

  // Query `query` of the block sees these tokens.
  void see(int64_t query, int64_t first, int64_t count, int64_t step) {
    if (step > 1) {
      for (int64_t i = 0; i < count; ++i) see(query, first + i * step, 1, 1);
      return;
    }
    for (int64_t end = first + count; first < end;) {
      const int64_t index = first / block_, low = first - index * block_, high = min_of(block_, end - index * block_);
      uint64_t* line = bits_of(index) + query * words_;
      for (int64_t at = low; at < high;) {
        const int64_t bit = at % 64, length = min_of(64 - bit, high - at);
        line[at / 64] |= (length == 64 ? ~uint64_t{0} : (uint64_t{1} << length) - 1) << bit;
        at += length;
      }
      first = index * block_ + high;
    }
  }

  std::vector<int32_t>& touched() { return touched_; }
  const uint64_t* bits(int32_t index) const {
    return bits_.data() + static_cast<int64_t>(slots_[static_cast<size_t>(index)]) * block_ * words_;
  }
  int64_t words() const { return words_; }

  void clear() {
    for (const int32_t index : touched_) slots_[static_cast<size_t>(index)] = -1;
    touched_.clear();
    bits_.clear();
  }

 private:
  uint64_t* bits_of(int64_t index) {
    int32_t& slot = slots_[static_cast<size_t>(index)];
    if (slot < 0) {
      const auto line = static_cast<size_t>(block_ * words_);
      if ((bits_.size() + line) * sizeof(uint64_t) > kMaxBlockMapBytes) refuse_size(block_);
      slot = static_cast<int32_t>(touched_.size());
      touched_.push_back(static_cast<int32_t>(index));
      bits_.resize(bits_.size() + line, 0);
    }
    return bits_.data() + slot * block_ * words_;
  }

  const int64_t block_, words_;
  std::vector<int32_t> slots_;  // [key blocks]: place in bits_, -1: not touched
  std::vector<int32_t> touched_;
  std::vector<uint64_t> bits_;
};

BlockMap::BlockMap(const Pattern& pattern, int64_t block, bool with_masks) : block_(block) {
  if (pattern.sphere)
    unsupported("pattern.kind=4 (sphere): a block map is of one sequence of tokens, not of two grids");
  tokens_ = 1;
  for (int a = 0; a < pattern.rank; ++a) tokens_ *= length_of(pattern.axes[a]);
  const int64_t count = ceil_div(tokens_, block);
  if (static_cast<size_t>(count) > kMaxBlockMapBytes / sizeof(int64_t)) refuse_size(block);
  if (!(work_of(pattern, tokens_) <= kMaxWork))
    unsupported("block=", block, ": the map of this pattern would take longer than what it is for: it must look at ",
                "no more than 2^33 words of bits");
  rows_.assign(static_cast<size_t>(count) + 1, 0);
  Row row(*this);
  for (int64_t index = 0; index < count; ++index) {
    for (int64_t q = 0; q < size_of_block(index); ++q)
      for_each_run(pattern, first_of(index) + q,
                   [&](int64_t first, int64_t keys, int64_t step) { row.see(q, first, keys, step); });
    add(row, index, with_masks);
    row.clear();
  }
  blocks_.shrink_to_fit();
  masks_.shrink_to_fit();
  counts_.blocks = count * count;
  counts_.empty = counts_.blocks - counts_.full - counts_.masked;
}

// Appends a row of the map.
void BlockMap::add(Row& row, int64_t query_block, bool with_masks) {
  std::sort(row.touched().begin(), row.touched().end());
  const int64_t queries = size_of_block(query_block);
  for (const int32_t index : row.touched()) {
    const uint64_t* bits = row.bits(index);
    int64_t pairs = 0;
    for (int64_t i = 0; i < queries * row.words(); ++i) pairs += std::popcount(bits[i]);
    KeyBlock entry{index, static_cast<int32_t>(pairs), -1};
    counts_.pairs += pairs;
    if (pairs == queries * size_of_block(index)) {
      ++counts_.full;
    } else {
      entry.mask = counts_.masked++;
      if (with_masks) {
        masks_.resize(masks_.size() + words_of_mask(), 0);
        uint32_t* mask = masks_.data() + static_cast<size_t>(entry.mask) * words_of_mask();
        for (int64_t q = 0; q < queries; ++q)
          for (int64_t w = 0; w < row.words(); ++w)
            for (uint64_t left = bits[q * row.words() + w]; left != 0; left &= left - 1)
              mask[q / 32 * block_ + w * 64 + std::countr_zero(left)] |= uint32_t{1} << (q % 32);
      }
    }
    blocks_.push_back(entry);
    if (bytes() > kMaxBlockMapBytes) refuse_size(block_);
  }
  rows_[static_cast<size_t>(query_block) + 1] = static_cast<int64_t>(blocks_.size());
}

size_t BlockMap::bytes() const {
  return sizeof *this + rows_.size() * sizeof(int64_t) + blocks_.size() * sizeof(KeyBlock) +
         masks_.size() * sizeof(uint32_t);
}

std::shared_ptr<const BlockMap> cached_block_map(const Pattern& pattern, int64_t block) {
  struct Key {
    Pattern pattern;
    int64_t block;
    bool operator==(const Key&) const = default;
  };
  // Never destroyed: threads of the host may still run while the process exits.
  static auto& cache = *new LruCache<Key, BlockMap>(kCacheEntries, kMaxBlockMapBytes);
  const Pattern rules = pattern.without_order();
  return cache.get({rules, block}, [&] { return std::make_shared<const BlockMap>(rules, block); });
}

}  // namespace nearfield::core
