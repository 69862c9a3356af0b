// Tiles that go through their keys side by side. Where a window does not fit in the near caches, tile after tile would
// fetch it from memory; neighbours see mostly the same keys, so a group of them fetches it about once. Each tile keeps
// the order of its own steps, so that grouping changes no result.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/cpu/tile_walk.h"

namespace nearfield::core {

inline constexpr int64_t kMostTilesTogether = 8;
// Keys and values of a tile that are still there for the next one.
inline constexpr int64_t kNearCacheBytes = kMostKeyRingBytes;

inline int64_t tiles_together(const Problem& problem, const Plan& plan) {
  const int64_t tiles = plan.tile_count();
  // Along an order a tile fetches the next one's keys already.
  if (tiles == 0 || problem.pattern.order) return 1;
  const int64_t channels = problem.shape.head_dim + problem.shape.head_dim_v;
  const int64_t keys = plan.statistics().visited_keys / tiles;
  return keys * channels * size_of(accumulator_of(problem.key.dtype)) > kNearCacheBytes
             ? std::min(tiles, kMostTilesTogether)
             : 1;
}

template <class T>
struct GroupedTile {
  Tile tile;
  TileSteps list;
  size_t done = 0;  // of list.bundles
  int64_t queries = 0;
  T *query, *maximum, *sum, *accumulator;  // as in TileStep
};

template <class T>
class TileGroup {
 public:
  TileGroup(Arena& arena, const Problem& problem, const Plan& plan, int64_t lanes, int64_t key_stride,
            int64_t value_stride)
      : tiles_(static_cast<size_t>(tiles_together(problem, plan))) {
    for (GroupedTile<T>& each : tiles_) {
      each.query = arena.take<T>(lanes * key_stride);
      each.maximum = arena.take<T>(lanes);
      each.sum = arena.take<T>(lanes);
      each.accumulator = arena.take<T>(lanes * value_stride);
    }
  }

  GroupedTile<T>& operator[](int64_t i) { return tiles_[static_cast<size_t>(i)]; }

  // Of the first `count` tiles that one whose next keys come first in the grid; nullptr once all are done.
  GroupedTile<T>* next(int64_t count, int rank) {
    GroupedTile<T>* first = nullptr;
    for (int64_t i = 0; i < count; ++i) {
      GroupedTile<T>& each = (*this)[i];
      if (each.done < each.list.bundles.size() && (first == nullptr || is_before(each, *first, rank))) first = &each;
    }
    return first;
  }

 private:
  static bool is_before(const GroupedTile<T>& a, const GroupedTile<T>& b, int rank) {
    const Step &x = a.list.bundles[a.done].front(), &y = b.list.bundles[b.done].front();
    for (int axis = 0; axis < rank; ++axis) {
      const int64_t p = x.pieces[axis].first + x.pieces[axis].lap * a.tile.tables[axis]->far;
      const int64_t q = y.pieces[axis].first + y.pieces[axis].lap * b.tile.tables[axis]->far;
      if (p != q) return p < q;
    }
    return false;
  }

  std::vector<GroupedTile<T>> tiles_;
};

}  // namespace nearfield::core
