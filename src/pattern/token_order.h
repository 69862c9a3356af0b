// Token orders: walks through all tokens of a grid, along which a pattern may be laid instead of along its axes. A
// caller's memory stays row-major; an engine looks up where the token at a position lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace nearfield::core {

enum class OrderKind : int32_t {
  hilbert = 1,  // hilbert.h
  morton = 2,   // Z-order: by the interleaved bits of the coordinates, the last axis' lowest; cells beyond are left out
  serpentine = 3,  // rows to and fro: every other one backwards, likewise every other plane
  row_major = 4,
};

// "hilbert", ...; nullptr if there is no such order.
const char* order_name(OrderKind kind);

struct OrderKey {
  OrderKind kind = OrderKind::hilbert;
  int rank = 0;
  int64_t grid[3] = {1, 1, 1};
  bool operator==(const OrderKey&) const = default;
};

struct TokenOrder {
  OrderKey key;
  std::vector<int32_t> tokens;     // [position]: row-major token
  std::vector<int32_t> positions;  // [token]: the inverse

  // rank 1 to 3; the grid has fewer than 2^31 tokens.
  explicit TokenOrder(const OrderKey& key);

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  size_t bytes() const { return sizeof *this + (tokens.capacity() + positions.capacity()) * sizeof(int32_t); }
  int64_t token_at(int64_t position) const { return tokens[static_cast<size_t>(position)]; }
  int64_t position_of(int64_t token) const { return positions[static_cast<size_t>(token)]; }
  // A row-major token's coordinate on each of the grid's axes; 0 beyond the rank.
  void coordinates_of(int64_t token, int64_t (&coordinates)[3]) const;
};

// The order, from a cache of those used last: at most kOrderCacheEntries and kOrderCacheBytes. Thread-safe.
inline constexpr size_t kOrderCacheEntries = 16;
inline constexpr size_t kOrderCacheBytes = size_t{64} << 20;
std::shared_ptr<const TokenOrder> cached_order(const OrderKey& key);

}  // namespace nearfield::core
