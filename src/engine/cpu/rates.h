// How fast each instruction set runs the two kernels: typical figures, fixed, so that a choice depends on the problem
// alone and gives the same bits everywhere. Times are in seconds on one thread.
#pragma once

#include <cstdint>

#include "engine/cpu/cpu.h"

namespace nearfield::core {

struct CpuRates {
  double multiply_add;  // one vector multiply-add at full rate
  int64_t lanes;        // of a float vector
  // In units of multiply_add, measured on hot tiles:
  double tile_product;      // a vector multiply-add of the tile kernel
  double tile_softmax;      // exponential, maximum and sum of one vector of scores
  double tile_mask;         // masking one vector of scores
  double tile_key;          // finding one key's rows
  double tile_step;         // a step's fixed cost, and as much again for a tile
  double band_product;      // a vector multiply-add of the band kernel
  double band_softmax;      // everything else for one (query, key) pair
  double pack_vector;       // moving one vector into a packed line
  double bytes_per_second;  // of main memory
};

const CpuRates& cpu_rates(Isa isa);

}  // namespace nearfield::core
