// The band kernel: softmax(q k) v for up to W adjacent queries with exact windows, lanes = head_dim.
//
//   1. scores    per query and key line, dots of up to W keys, transposed-and-summed into one score vector
//   2. maxima    of W queries by one transposing reduction
//   3. weights   exp2(score - maximum), and their sums; out = 1/sum of what follows
//   4. values    adjacent queries share each value vector
// In phases, not interleaved: on Zen 3 fusing the exponentials into either product cost 6-7%. Oracle: reference.
#pragma once

#include <cstdint>

#include "engine/cpu/band_few.inl"
#include "engine/cpu/band_scores.inl"
#include "engine/cpu/band_softmax.inl"
#include "engine/cpu/band_sums.inl"
#include "engine/cpu/kernels.h"

namespace nearfield::core::kernel {

// All scores of a tile's queries with the keys that they see; their maxima, of W queries.
template <class V>
void score_queries(const BandTile<typename V::Scalar>& tile, V* maxima, Prefetcher<V>& fetch) {
  using T = typename V::Scalar;
  for (int64_t t = 0; t < tile.queries; ++t) maxima[t] = V::set(kMaskedScore<T>);
  T* scores = tile.scores;
  const bool modified = is_modified(tile);
  if (tile.few > 0)
    few_dots<V>({&tile, tile.query, &BandGroup<T>::keys, tile.key_stride, true, tile.scores}, maxima, fetch);
  for (int64_t g = 0; g < tile.group_count && tile.few == 0; ++g) {
    const BandGroup<T>& group = tile.groups[g];
    const T* line_weights = modified ? nullptr : group.line_weights;  // they come after what modifies
    band_dots<V>({&tile, &group, tile.query, group.keys, tile.key_stride, scores, line_weights}, maxima, fetch);
    scores += group.lines * group.width;
  }
  if (modified) modify_scores<V>(tile, maxima);
  for (int64_t t = tile.queries; t < V::kLanes; ++t) maxima[t] = maxima[0];
}

template <class V>
void sum_values(const BandTile<typename V::Scalar>& tile, const typename V::Scalar* inverse) {
  sum_lines<V>(tile, tile.scores, &BandGroup<typename V::Scalar>::values, tile.value_stride, tile.out, inverse);
}

template <class V>
void band_tiles(const BandTile<typename V::Scalar>* tiles, int64_t count) {
  using T = typename V::Scalar;
  V maxima[kMostBandTiles][V::kLanes];
  T inverse[kMostBandTiles][V::kLanes];
  Prefetcher<V> fetch[kMostBandTiles];
  for (int64_t i = 0; i < count; ++i) {
    fetch[i] = Prefetcher<V>(tiles[i], tiles[i].queries);
    score_queries<V>(tiles[i], maxima[i], fetch[i]);
  }
  for (int64_t i = 0; i < count; ++i) band_weights<V>(tiles[i], maxima[i], inverse[i]);
  for (int64_t i = 0; i < count; ++i) sum_values<V>(tiles[i], inverse[i]);
}

}  // namespace nearfield::core::kernel
