#include "pattern/token_order.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/lru_cache.h"
#include "pattern/hilbert.h"

namespace nearfield::core {
namespace {

int64_t tokens_of(const OrderKey& key) {
  int64_t tokens = 1;
  for (int a = 0; a < key.rank; ++a) tokens *= key.grid[a];
  return tokens;
}

std::vector<int32_t> row_major_tokens(const OrderKey& key) {
  std::vector<int32_t> tokens(static_cast<size_t>(tokens_of(key)));
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

// Walks the blocks of 2^level cells a side in Z-order, leaving out those beyond the grid. `origin`: of the block.
void walk_morton(const OrderKey& key, int level, const int64_t (&origin)[3], std::vector<int32_t>& tokens) {
  int64_t token = 0;
  for (int a = 0; a < key.rank; ++a) {
    if (origin[a] >= key.grid[a]) return;
    token = token * key.grid[a] + origin[a];
  }
  if (level == 0) {
    tokens.push_back(static_cast<int32_t>(token));
    return;
  }
  for (int child = 0; child < 1 << key.rank; ++child) {
    int64_t corner[3] = {};
    for (int a = 0; a < key.rank; ++a)
      corner[a] = origin[a] + (static_cast<int64_t>(child >> (key.rank - 1 - a) & 1) << (level - 1));
    walk_morton(key, level - 1, corner, tokens);
  }
}

std::vector<int32_t> morton_tokens(const OrderKey& key) {
  const int64_t longest = *std::max_element(key.grid, key.grid + key.rank);
  int level = 0;
  while (int64_t{1} << level < longest) ++level;
  std::vector<int32_t> tokens;
  tokens.reserve(static_cast<size_t>(tokens_of(key)));
  walk_morton(key, level, {0, 0, 0}, tokens);
  return tokens;
}

// Every other line is walked backwards, so that each begins beside the end of the one before it; and so on for planes.
std::vector<int32_t> serpentine_tokens(const OrderKey& key) {
  std::vector<int32_t> tokens = row_major_tokens(key);
  const auto size = static_cast<int64_t>(tokens.size());
  int64_t block = 1;  // of positions; reversed as a whole, it is walked from its end to its begin
  for (int a = key.rank - 1; a > 0 && size > 0; --a) {
    block *= key.grid[a];
    for (int64_t outer = 0; outer < size; outer += block * key.grid[a - 1])
      for (int64_t i = 1; i < key.grid[a - 1]; i += 2)
        std::reverse(tokens.begin() + outer + i * block, tokens.begin() + outer + (i + 1) * block);
  }
  return tokens;
}

std::vector<int32_t> tokens_along(const OrderKey& key) {
  switch (key.kind) {
    case OrderKind::hilbert: return hilbert_tokens(key.rank, key.grid);
    case OrderKind::morton: return morton_tokens(key);
    case OrderKind::serpentine: return serpentine_tokens(key);
    case OrderKind::row_major: break;
  }
  return row_major_tokens(key);
}

}  // namespace

const char* order_name(OrderKind kind) {
  switch (kind) {
    case OrderKind::hilbert: return "hilbert";
    case OrderKind::morton: return "morton";
    case OrderKind::serpentine: return "serpentine";
    case OrderKind::row_major: return "row_major";
  }
  return nullptr;
}

TokenOrder::TokenOrder(const OrderKey& wanted) : key(wanted), tokens(tokens_along(wanted)), positions(tokens.size()) {
  for (size_t p = 0; p < tokens.size(); ++p) positions[static_cast<size_t>(tokens[p])] = static_cast<int32_t>(p);
}

void TokenOrder::coordinates_of(int64_t token, int64_t (&coordinates)[3]) const {
  std::fill_n(coordinates, 3, 0);
  for (int a = key.rank - 1; a >= 0; token /= key.grid[a--]) coordinates[a] = token % key.grid[a];
}

std::shared_ptr<const TokenOrder> cached_order(const OrderKey& key) {
  // Never destroyed: threads of the host may still run while the process exits.
  static auto& cache = *new LruCache<OrderKey, TokenOrder>(kOrderCacheEntries, kOrderCacheBytes);
  return cache.get(key, [&] { return std::make_shared<const TokenOrder>(key); });
}

}  // namespace nearfield::core
