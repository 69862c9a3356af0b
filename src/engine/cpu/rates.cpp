#include "engine/cpu/rates.h"

namespace nearfield::core {

// Measured on a 3.2 GHz Zen 3, on hot tiles and then on whole small problems for what a tile and a step cost beside
// their products. avx2: the tile kernel at 73-91% of the multiply-add peak, the band kernel at 47-60% (7x7, head_dim 32
// to 128); portable (SSE2): 60-75% and 30-50%.
const CpuRates& cpu_rates(Isa isa) {
  static constexpr CpuRates kAvx2 = {.multiply_add = 1.0 / (2 * 3.2e9),
                                     .lanes = 8,
                                     .tile_product = 1.06,
                                     .tile_softmax = 18,
                                     .tile_mask = 5,
                                     .tile_key = 12,
                                     .tile_step = 600,
                                     .band_product = 1.25,
                                     .band_softmax = 5,
                                     .pack_vector = 3,
                                     .bytes_per_second = 20e9};
  static constexpr CpuRates kPortable = {.multiply_add = 1.0 / 5.3e9,
                                         .lanes = 4,
                                         .tile_product = 1.3,
                                         .tile_softmax = 24,
                                         .tile_mask = 10,
                                         .tile_key = 12,
                                         .tile_step = 600,
                                         .band_product = 2,
                                         .band_softmax = 9,
                                         .pack_vector = 3,
                                         .bytes_per_second = 20e9};
  return isa == Isa::avx2 ? kAvx2 : kPortable;
}

}  // namespace nearfield::core
