// Keys and values of one line that a walk of tiles meets again and again, packed once: along an order, whose rows lie
// all over the memory and share cache sets, and for tensors that have to be converted. A row stays until another
// position takes its slot; the ring holds at least what one tile sees.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/cpu/driver.h"

namespace nearfield::core {

// Beyond this, rows are read where they lie or converted step by step: the ring would leave the L2 cache.
inline constexpr int64_t kMostKeyRingBytes = 256 * 1024;

template <class T>
class KeyRing {
 public:
  // Lays the ring out in `arena`. No ring: slots() is 0.
  KeyRing(Arena& arena, const Problem& problem, const Plan& plan, int64_t key_stride, int64_t value_stride)
      : key_stride_(key_stride), value_stride_(value_stride) {
    const bool lies_well = !problem.pattern.order && in_place(problem.key) && in_place(problem.value);
    if (plan.rank() > 1 || lies_well) return;
    int64_t slots = 0;
    for (const AxisTable& table : plan.axis(0).tables)
      for (const AxisTile& tile : table.tiles) slots = std::max(slots, tile.visited);
    if (slots * (key_stride + value_stride) * static_cast<int64_t>(sizeof(T)) > kMostKeyRingBytes) return;
    slots_ = slots;
    keys_ = arena.take<T>(slots * key_stride);
    values_ = arena.take<T>(slots * value_stride);
    positions_ = arena.take<int64_t>(slots);
  }

  int64_t slots() const { return slots_; }

  // Points keys[i] and values[i] at the rows of positions first + i of a class, packing those that are not there.
  // key_at(x), value_at(x): elements from the tensors' data to a position's row.
  template <class KeyAt, class ValueAt>
  void point(const HeadView& key, const HeadView& value, const KernelTable<T>& kernels, int64_t residue, int64_t first,
             int64_t count, KeyAt key_at, ValueAt value_at, int64_t* offsets, const T** keys, const T** values) {
    enter(key.data, value.data, residue);
    for (int64_t i = 0; i < count;) {
      const int64_t slot = (first + i) % slots_;
      int64_t missing = 0;  // from here on, side by side in the ring
      while (i + missing < count && slot + missing < slots_ && positions_[slot + missing] != first + i + missing)
        ++missing;
      if (missing > 0) {
        const auto load = [&](const HeadView& tensor, auto at, T* rows, int64_t stride) {
          for (int64_t m = 0; m < missing; ++m) offsets[m] = at(first + i + m);
          kernels.load_rows(tensor.data, tensor.dtype, offsets, missing, tensor.channels, T{1}, rows + slot * stride,
                            stride);
        };
        load(key, key_at, keys_, key_stride_);
        load(value, value_at, values_, value_stride_);
        for (int64_t m = 0; m < missing; ++m) positions_[slot + m] = first + i + m;
      }
      for (const int64_t end = i + std::max<int64_t>(missing, 1); i < end; ++i) {
        const int64_t own = (first + i) % slots_;
        keys[i] = keys_ + own * key_stride_;
        values[i] = values_ + own * value_stride_;
      }
    }
  }

 private:
  // Forgets the rows of another head or residue class.
  void enter(const std::byte* key, const std::byte* value, int64_t residue) {
    if (key == key_ && value == value_ && residue == residue_) return;
    key_ = key;
    value_ = value;
    residue_ = residue;
    std::fill_n(positions_, slots_, int64_t{-1});
  }

  int64_t slots_ = 0, key_stride_, value_stride_;
  T *keys_ = nullptr, *values_ = nullptr;
  int64_t* positions_ = nullptr;  // [slots]
  const std::byte *key_ = nullptr, *value_ = nullptr;
  int64_t residue_ = -1;
};

}  // namespace nearfield::core
