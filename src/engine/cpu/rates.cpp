#include "engine/cpu/rates.h"

namespace nearfield::core {
namespace {

constexpr CpuRates slower(CpuRates rates, double times) {
  rates.multiply_add *= times;
  return rates;
}
constexpr CpuRates wider(CpuRates rates, int64_t times) {
  rates.lanes *= times;
  return slower(rates, static_cast<double>(times));
}

}  // namespace

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
  // The model's vectors are four of the portable ones; what it costs beside them is not its point.
  static constexpr CpuRates kPortable16 = wider(kPortable, 4);
  // Not yet measured on whole kernels. From single loops on a 3.2 GHz Emerald Rapids: two multiply-adds a cycle, 6 x 64
  // blocks of a product at 92% of them, 7 cycles for 16 exponentials; the rest in AVX2's proportions.
  static constexpr CpuRates kAvx512 = {.multiply_add = 1.0 / (2 * 3.2e9),
                                       .lanes = 16,
                                       .tile_product = 1.2,
                                       .tile_softmax = 20,
                                       .tile_mask = 5,
                                       .tile_key = 12,
                                       .tile_step = 600,
                                       .band_product = 1.4,
                                       .band_softmax = 6,
                                       .pack_vector = 4,
                                       .bytes_per_second = 17e9};
  // Not yet measured: AVX2's proportions, at one multiply-add of two registers a cycle.
  static constexpr CpuRates kNeon = slower(kAvx2, 2);
  switch (isa) {
    case Isa::avx2: return kAvx2;
    case Isa::avx512: return kAvx512;
    case Isa::neon: return kNeon;
    case Isa::portable16: return kPortable16;
    default: return kPortable;
  }
}

}  // namespace nearfield::core
