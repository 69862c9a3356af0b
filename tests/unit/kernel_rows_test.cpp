// Rows in and out of every instruction set's kernel tables: any dtype, width, alignment and order in memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "engine/cpu/kernels.h"
#include "simd_cases.h"

namespace nearfield::core {
namespace {

constexpr uint64_t kSeed = 20240613;
const int64_t kRounds = rounds_of(4000);
constexpr std::byte kCanary{0xc5};

template <class T>
struct Named {
  std::string name;
  const KernelTable<T>* kernels;
};

template <class T>
std::vector<Named<T>> runnable_kernels() {
  std::vector<Named<T>> list;
  const auto add = [&](Isa isa, const KernelTable<T>* kernels) {
    if (isa_unavailable(isa) == nullptr) list.push_back({isa_name(isa), kernels});
  };
  if constexpr (sizeof(T) == 4) {
    add(Isa::portable, portable_float_kernels());
    add(Isa::avx2, avx2_float_kernels());
    add(Isa::avx512, avx512_float_kernels());
    add(Isa::neon, neon_float_kernels());
    add(Isa::portable16, portable16_float_kernels());
  } else {
    add(Isa::portable, portable_double_kernels());
    add(Isa::avx2, avx2_double_kernels());
    add(Isa::avx512, avx512_double_kernels());
    add(Isa::neon, neon_double_kernels());
    add(Isa::portable16, portable16_double_kernels());
  }
  return list;
}

DType random_dtype(Random& random, bool is_double) {
  constexpr DType kStored[] = {DType::float32, DType::bfloat16, DType::float16};
  return is_double ? DType::float64 : kStored[random.below(3)];
}

// Rows of a tensor that lie at any distance, forwards or backwards, in a buffer that ends with them: a sanitizer sees
// any step beyond. `origin` is the offsets' base.
struct Rows {
  DType dtype;
  int64_t count, columns, stride;  // stride: of the packed rows
  std::vector<int64_t> offsets;
  std::vector<std::byte> bytes;
  int64_t origin;  // in bytes

  template <class T>
  Rows(Random& random, int64_t lanes, T)
      : dtype(random_dtype(random, sizeof(T) == 8)),
        count(random.below(6)),
        columns(random.between(1, 5 * lanes)),
        stride((columns + lanes - 1) / lanes * lanes + lanes * random.below(3)) {
    const int64_t size = size_of(dtype), step = columns + random.below(4), shift = random.below(size);
    std::vector<int64_t> slots(static_cast<size_t>(count));
    std::iota(slots.begin(), slots.end(), int64_t{0});
    for (size_t i = slots.size(); i > 1; --i)
      std::swap(slots[i - 1], slots[static_cast<size_t>(random.below(static_cast<int64_t>(i)))]);
    const int64_t base = count == 0 ? 0 : random.below(count) * step;  // rows before it have negative offsets
    for (const int64_t slot : slots) offsets.push_back(slot * step - base);
    bytes.resize(static_cast<size_t>(shift + (count == 0 ? 0 : ((count - 1) * step + columns) * size)));
    origin = shift + base * size;
  }
  std::byte* source() { return bytes.data() + origin; }
  int64_t position(int64_t row, int64_t column) const {
    return origin + (offsets[static_cast<size_t>(row)] + column) * size_of(dtype);
  }
  std::string describe() const {
    return std::string(name_of(dtype)) + " count " + std::to_string(count) + " columns " + std::to_string(columns) +
           " stride " + std::to_string(stride) + " origin " + std::to_string(origin);
  }
};

template <class T>
class KernelRows : public testing::Test {
 protected:
  template <class Body>
  void each(Body body) {
    for (const Named<T>& named : runnable_kernels<T>()) {
      SCOPED_TRACE(named.name + ", seed " + std::to_string(kSeed));
      body(*named.kernels);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  Random random{kSeed};
};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(KernelRows, Scalars);

TYPED_TEST(KernelRows, WidthsAreWhatTheEngineExpects) {
  this->each([&](const KernelTable<TypeParam>& kernels) {
    EXPECT_GE(kernels.lanes, 2);
    EXPECT_EQ(kernels.lanes & (kernels.lanes - 1), 0);
    EXPECT_EQ(kernels.tile_queries, 2 * kernels.lanes);
    EXPECT_LE(kernels.tile_queries, 32);  // bits of TileStep::visible
  });
}

TYPED_TEST(KernelRows, LoadWidensScalesAndPads) {
  using T = TypeParam;
  this->each([&](const KernelTable<T>& kernels) {
    for (int64_t round = 0; round < kRounds; ++round) {
      Rows rows(this->random, kernels.lanes, T{});
      SCOPED_TRACE("round " + std::to_string(round) + ": " + rows.describe());
      // Any bytes, so NaN and infinity stand next to the rows' ends: they must not reach the padding.
      for (std::byte& byte : rows.bytes) byte = static_cast<std::byte>(this->random.below(256));
      if (this->random.chance(0.3)) std::fill(rows.bytes.begin(), rows.bytes.end(), std::byte{0xff});
      const T factor = this->random.chance(0.5) ? T{1} : static_cast<T>(this->random.normal());
      const std::vector<std::byte> before = rows.bytes;
      const int64_t margin = 3, total = rows.count * rows.stride;
      std::vector<T> packed(static_cast<size_t>(total + 2 * margin), T{77});
      kernels.load_rows(rows.source(), rows.dtype, rows.offsets.data(), rows.count, rows.columns, factor,
                        packed.data() + margin, rows.stride);
      for (int64_t i = 0; i < total + 2 * margin; ++i) {
        const int64_t row = (i - margin) / rows.stride, column = (i - margin) % rows.stride;
        const T got = packed[static_cast<size_t>(i)];
        if (i < margin || i >= margin + total) {
          ASSERT_EQ(got, T{77}) << "beyond the rows: " << i - margin;
        } else if (column >= rows.columns) {
          ASSERT_EQ(got, T{0}) << "padding of row " << row << " at " << column;
        } else {
          const T element = static_cast<T>(load_double(rows.bytes.data() + rows.position(row, column), rows.dtype));
          ASSERT_TRUE(same_value(got, element * factor))
              << row << ", " << column << ": " << hex(got) << " of " << hex(element);
        }
      }
      ASSERT_EQ(rows.bytes, before);
    }
  });
}

TYPED_TEST(KernelRows, StoreRoundsAndWritesTheElementsOnly) {
  using T = TypeParam;
  this->each([&](const KernelTable<T>& kernels) {
    for (int64_t round = 0; round < kRounds; ++round) {
      Rows rows(this->random, kernels.lanes, T{});
      SCOPED_TRACE("round " + std::to_string(round) + ": " + rows.describe());
      std::fill(rows.bytes.begin(), rows.bytes.end(), kCanary);
      std::vector<T> packed(static_cast<size_t>(rows.count * rows.stride));
      fill_awkward(this->random, packed.data(), rows.count * rows.stride);
      const std::vector<T> before = packed;
      kernels.store_rows(packed.data(), rows.stride, rows.count, rows.columns, rows.source(), rows.dtype,
                         rows.offsets.data());
      std::vector<std::byte> expected(rows.bytes.size(), kCanary);
      for (int64_t row = 0; row < rows.count; ++row)
        for (int64_t column = 0; column < rows.columns; ++column) {
          const T value = packed[static_cast<size_t>(row * rows.stride + column)];
          const size_t at = static_cast<size_t>(rows.position(row, column));
          const size_t size = static_cast<size_t>(size_of(rows.dtype));
          store_double(expected.data() + at, rows.dtype, static_cast<double>(value));
          if (!std::isnan(value)) continue;
          ASSERT_TRUE(std::isnan(load_double(rows.bytes.data() + at, rows.dtype))) << row << ", " << column;
          std::memcpy(expected.data() + at, rows.bytes.data() + at, size);  // of NaN, any
        }
      for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(rows.bytes[i], expected[i]) << "byte " << i;
      for (size_t i = 0; i < packed.size(); ++i) ASSERT_TRUE(identical(packed[i], before[i])) << i;
    }
  });
}

TYPED_TEST(KernelRows, TransposeTileMovesBits) {
  using T = TypeParam;
  this->each([&](const KernelTable<T>& kernels) {
    const int64_t W = kernels.lanes, queries = kernels.tile_queries, margin = 5;
    for (int64_t vectors = 0; vectors <= 5; ++vectors)
      for (int64_t more = 0; more <= 2; ++more) {
        const int64_t columns = vectors * W, stride = (vectors + more) * W;
        std::vector<T> rows(static_cast<size_t>(queries * stride + 1));
        std::vector<T> turned(static_cast<size_t>(columns * queries + 2 * margin), T{77});
        fill_awkward(this->random, rows.data(), queries * stride);
        kernels.transpose_tile(rows.data(), stride, columns, turned.data() + margin);
        for (int64_t i = -margin; i < columns * queries + margin; ++i) {
          const bool inside = i >= 0 && i < columns * queries;
          const T expected = inside ? rows[static_cast<size_t>(i % queries * stride + i / queries)] : T{77};
          ASSERT_TRUE(identical(turned[static_cast<size_t>(i + margin)], expected))
              << columns << " columns, stride " << stride << ": column " << i / queries << " query " << i % queries;
        }
      }
  });
}

}  // namespace
}  // namespace nearfield::core
