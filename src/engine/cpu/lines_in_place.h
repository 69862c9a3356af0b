// Key lines that need no packing: where a line's rows follow one another in memory just as the ring would hold them
// (one head, or heads outermost; the kernel's type; whole vectors; no weights), the kernel reads them there. On a
// periodic axis a strip's windows may cross the seam, where no line goes on: what those queries see is packed as usual.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/cpu/driver.h"
#include "pattern/interval.h"

namespace nearfield::core {

// Whether rows of the tensor may lie as packed ones of `stride` would.
inline bool lies_packed(const TensorView& tensor, int64_t stride) {
  return in_place(tensor) && tensor.sizes[tensor.rank - 1] == stride;
}

class LinesInPlace {
 public:
  LinesInPlace() = default;
  // Of lines of `positions` with rows at key_offsets and value_offsets: the longest run that lies packed.
  LinesInPlace(int64_t positions, const int64_t* key_offsets, int64_t key_stride, const int64_t* value_offsets,
               int64_t value_stride)
      : high_(positions) {
    for (int64_t p = 0, next = 0; p < positions; p = next) {
      next = p + 1;
      while (next < positions && key_offsets[next] - key_offsets[next - 1] == key_stride &&
             value_offsets[next] - value_offsets[next - 1] == value_stride)
        ++next;
      if (next - p > run_.length) run_ = {p, next - p};
    }
  }

  bool any() const { return run_.length > 0; }
  int64_t start() const { return run_.start; }
  bool hold(int64_t begin, int64_t end) const { return begin >= run_.start && end <= run_.end(); }
  // Queries see positions [begin, end): what they can't read in place has to be packed.
  void see(int64_t begin, int64_t end) {
    if (hold(begin, end)) return;
    if (begin < run_.start) low_ = std::max(low_, end);
    if (begin >= run_.start) high_ = std::min(high_, begin);
  }
  // Packed are positions [0, low) and [high, all).
  int64_t low() const { return low_; }
  int64_t high() const { return std::max(low_, high_); }

 private:
  Interval run_{};
  int64_t low_ = 0, high_ = 0;
};

}  // namespace nearfield::core
