#include "bench_fna_floor.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/cpu/driver.h"

namespace nearfield::cli {
namespace {

// Seconds of the fastest run: short ones need many to meet the machine at its best.
template <class Body>
double fastest(Body body, int runs = 5) {
  double best = HUGE_VAL;
  for (int run = 0; run < runs; ++run) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

using Kernels = core::KernelTable<float>;

double product_gflops(const Kernels& kernels, int64_t channels) {
  constexpr int64_t kKeys = 24, kRounds = 50;
  constexpr int kRuns = 100;
  const std::vector<float> query(static_cast<size_t>(channels * kernels.tile_queries), 0.5F);
  const std::vector<float> rows(static_cast<size_t>(channels * kKeys), 0.5F);
  std::vector<float> scores(static_cast<size_t>(kKeys * kernels.tile_queries));
  std::vector<const float*> keys;
  for (int64_t key = 0; key < kKeys; ++key) keys.push_back(rows.data() + key * channels);
  core::TileStep<float> step;
  step.count = kKeys;
  step.head_dim = channels;
  step.query = query.data();
  step.keys = keys.data();
  step.scores = scores.data();
  const double seconds = fastest(
      [&] {
        for (int64_t round = 0; round < kRounds; ++round) kernels.tile_scores(step);
      },
      kRuns);
  return static_cast<double>(2 * channels * kKeys * kernels.tile_queries * kRounds) / seconds * 1e-9;
}

// Reads three tensors of rows and writes one, as an engine has to, a few rows at a time.
double rows_seconds(const Kernels& kernels, int64_t rows, int64_t channels, nf_dtype dtype) {
  constexpr int64_t kTogether = 32;
  const auto type = static_cast<core::DType>(dtype);
  const int64_t stride = core::round_up(channels, kernels.lanes);
  const auto bytes = static_cast<size_t>(rows * channels * core::size_of(type));
  std::vector<std::byte> tensors[4];
  for (auto& tensor : tensors) tensor.assign(bytes, std::byte{0});
  std::vector<float> packed(static_cast<size_t>(kTogether * stride));
  int64_t offsets[kTogether];
  return fastest([&] {
    for (int64_t first = 0; first < rows; first += kTogether) {
      const int64_t count = std::min(kTogether, rows - first);
      for (int64_t i = 0; i < count; ++i) offsets[i] = (first + i) * channels;
      for (int t = 0; t < 3; ++t)
        kernels.load_rows(tensors[t].data(), type, offsets, count, channels, 1, packed.data(), stride);
      kernels.store_rows(packed.data(), stride, count, channels, tensors[3].data(), type, offsets);
    }
  });
}

}  // namespace

FnaParts measure_fna_parts(const BenchCase& bench_case, nf_dtype dtype, int32_t isa) {
  const Kernels& kernels = core::kernels_of<float>(static_cast<core::Isa>(isa));
  const int64_t rows = bench_case.batch * bench_case.tokens() * bench_case.heads_that_run();
  int64_t columns = 1;
  for (const int64_t window : bench_case.kernel_size) columns *= window;
  FnaParts parts;
  parts.product_gflops = product_gflops(kernels, bench_case.head_dim);
  parts.rows = rows_seconds(kernels, rows, bench_case.head_dim, dtype);

  std::vector<float> weights(static_cast<size_t>(rows * columns), 0.5F), copy(weights.size());
  std::vector<float> logsumexp(static_cast<size_t>(rows));
  std::vector<float*> row_of;
  for (int64_t row = 0; row < rows; ++row) row_of.push_back(weights.data() + row * columns);
  parts.weights = fastest([&] { std::memcpy(copy.data(), weights.data(), weights.size() * sizeof(float)); });
  parts.softmax = fastest([&] { kernels.softmax_rows(row_of.data(), rows, columns, logsumexp.data()); });
  // The same rows again and again, as many as stay in the L1 cache.
  const int64_t some = std::clamp<int64_t>(2048 / columns, 1, rows);
  parts.exponentials = fastest([&] {
    for (int64_t row = 0; row < rows; row += some)
      kernels.softmax_rows(row_of.data(), std::min(some, rows - row), columns, logsumexp.data());
  });
  return parts;
}

double least_unfused_seconds(const FnaParts& parts, const BenchCase& bench_case, bool with_backward, double waste) {
  const double per_flop = 1e-9 / parts.product_gflops;
  double products = useful_flops(bench_case, Direction::forward) * (waste + 1) / 2 * per_flop;
  if (!with_backward) return std::max(products, parts.rows + parts.weights) + parts.softmax;
  products += useful_flops(bench_case, Direction::backward) * (2 * waste + 3) / 5 * per_flop;
  // Backward reads one tensor more than forward and writes two more.
  return std::max(products, parts.rows * (1 + 7.0 / 4) + 3 * parts.weights) + 2 * parts.softmax;
}

double least_fused_seconds(const FnaParts& parts, const BenchCase& bench_case, bool with_backward) {
  double flops = useful_flops(bench_case, Direction::forward);
  if (with_backward) flops += useful_flops(bench_case, Direction::backward);
  const double arithmetic = flops * 1e-9 / parts.product_gflops + (with_backward ? 2 : 1) * parts.exponentials;
  return std::max(arithmetic, parts.rows * (with_backward ? 1 + 7.0 / 4 : 1));
}

}  // namespace nearfield::cli
