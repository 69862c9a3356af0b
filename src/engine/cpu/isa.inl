// The kernel tables of one instruction set. A thin .cpp names the vocabulary, is compiled with that instruction set's
// flags, and must pull in nothing but kernels: an inline function of the standard library compiled here could be the
// copy that the linker keeps for everybody.
#pragma once

#include "engine/cpu/band_gradients.inl"
#include "engine/cpu/row_softmax.inl"
#include "engine/cpu/rows.inl"
#include "engine/cpu/tile_gradients.inl"
#include "engine/cpu/weights.inl"

namespace nearfield::core::kernel {

// Ten independent chains: enough to fill two multiply-add units of latency five.
template <class V>
int64_t multiply_adds(int64_t rounds) {
  V x[10];
  for (int i = 0; i < 10; ++i) x[i] = V::set(static_cast<typename V::Scalar>(i));
  const V a = V::set(static_cast<typename V::Scalar>(0.999)), b = V::set(static_cast<typename V::Scalar>(0.001));
  for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 10
    for (int i = 0; i < 10; ++i) x[i] = fma(x[i], a, b);
  for (int i = 1; i < 10; ++i) x[0] = x[0] + x[i];
  typename V::Scalar lanes[V::kLanes];
  x[0].store(lanes);
  volatile typename V::Scalar sink = lanes[0];
  (void)sink;
  return rounds * 10 * V::kLanes;
}

template <class V>
constexpr KernelTable<typename V::Scalar> make_table() {
  return {.lanes = V::kLanes,
          .tile_queries = 2 * V::kLanes,
          .load_rows = load_rows<V>,
          .store_rows = store_rows<V>,
          .transpose_tile = transpose_tile<V>,
          .add_rows = sum_rows<V, true>,
          .put_rows = sum_rows<V, false>,
          .band_tiles = band_tiles<V>,
          .band_gradients = band_gradients<V>,
          .tile_step = tile_step<V>,
          .tile_gradients = tile_gradients<V>,
          .tile_terms = tile_terms<V>,
          .tile_rows = tile_rows<V>,
          .all_finite = all_finite<V>,
          .tile_finish = tile_finish<V>,
          .tile_scores = tile_scores<V>,
          .weigh_rows = weigh_rows<V>,
          .spread_rows = spread_rows<V>,
          .transpose_back = transpose_back<V>,
          .softmax_rows = softmax_rows<V>,
          .softmax_gradient_rows = softmax_gradient_rows<V>,
          .multiply_adds = multiply_adds<V>};
}

}  // namespace nearfield::core::kernel
