// Fetching what comes next while this is computed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/cpu/kernels.h"

namespace nearfield::core::kernel {

// Fetches an even share of the upcoming rows at each of about `shares` calls: a burst would stall the loads behind it.
template <class V>
class Prefetcher {
 public:
  Prefetcher() = default;
  Prefetcher(const BandTile<typename V::Scalar>& tile, int64_t shares)
      : piece_(tile.upcoming),
        end_(tile.upcoming + tile.upcoming_count),
        per_share_((tile.upcoming_rows + shares - 1) / shares) {
    if (piece_ != end_) start();
  }
  inline __attribute__((always_inline)) void share() {
    if (piece_ != end_) fetch();
  }

 private:
  // Out of the way of the loops that share: their sums stay in registers.
  __attribute__((noinline)) void fetch() {
    for (int64_t rows = per_share_; rows > 0 && piece_ != end_;) {
      const int64_t now = rows < left_ ? rows : left_, stride = piece_->stride, lines = piece_->cache_lines;
      for (int64_t line = 0; line < lines; ++line) {
        const std::byte* at = row_ + line * 64;
        for (int64_t i = 0; i < now; ++i, at += stride) V::prefetch(at);
      }
      row_ += now * stride;
      rows -= now;
      left_ -= now;
      if (left_ == 0 && ++piece_ != end_) start();
    }
  }
  void start() {
    row_ = piece_->begin;
    left_ = piece_->count;
  }
  const Upcoming *piece_ = nullptr, *end_ = nullptr;
  int64_t per_share_ = 0, left_ = 0;
  const std::byte* row_ = nullptr;
};

// Share `part` of `parts` of a list of rows. Out of the way of the loops that call it.
template <class V>
__attribute__((noinline)) void fetch_part(const Upcoming* upcoming, int64_t count, int64_t part, int64_t parts) {
  for (int64_t i = count * part / parts; i < count * (part + 1) / parts; ++i)
    for (int64_t row = 0; row < upcoming[i].count; ++row)
      for (int64_t line = 0; line < upcoming[i].cache_lines; ++line)
        V::prefetch(upcoming[i].begin + row * upcoming[i].stride + line * 64);
}

}  // namespace nearfield::core::kernel
