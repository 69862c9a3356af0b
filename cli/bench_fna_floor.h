// What attention takes this machine at least: its parts, measured one by one on a case's own sizes, and nothing else -
// no set-up of tiles, no scattering and gathering, no call. A method can't be faster than the dense products that it
// consists of, the exponentials, and the memory that it has to touch.
#pragma once

#include <cstdint>

#include "bench_report.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {

// Seconds on one thread, the best of a few runs, in caches as warm as the timed calls find them.
struct FnaParts {
  double product_gflops = 0;  // dense products of a tile and keys with the case's channels, operands in the L1 cache
  double rows = 0;            // query, key and value read and out written, once each, converted
  double weights = 0;         // float32 weights of all queries written and read, once
  double softmax = 0;         // of these weights, where they lie
  double exponentials = 0;    // the same softmax, if all rows were in the L1 cache
};

// isa: resolved.
FnaParts measure_fna_parts(const BenchCase& bench_case, nf_dtype dtype, int32_t isa);

// Of a forward, or of a forward and a backward, on one thread. Loads and stores go on beside multiply-adds, so that the
// longer of both counts; exponentials are multiply-adds, too.
// Unfused: products, of which those that give pairs are dense with `waste` times as many as are seen, and explicit
// weights, with a softmax over them in between. Backward computes weights and their softmax again, has two tensors of
// them, and takes five products, two of them pairs.
double least_unfused_seconds(const FnaParts& parts, const BenchCase& bench_case, bool with_backward, double waste);
double least_fused_seconds(const FnaParts& parts, const BenchCase& bench_case, bool with_backward);

}  // namespace nearfield::cli
