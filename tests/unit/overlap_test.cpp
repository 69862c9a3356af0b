// Overlap of strided views against the set of bytes that each touches.
#include "dispatch/overlap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace nearfield::core {
namespace {

// A view at byte `offset` of an imaginary buffer: nothing is read.
TensorView view_at(int64_t offset, DType dtype, std::initializer_list<int64_t> sizes,
                   std::initializer_list<int64_t> strides) {
  TensorView view;
  view.data = reinterpret_cast<std::byte*>(uintptr_t{1} << 40) + offset;
  view.dtype = dtype;
  view.rank = static_cast<int>(sizes.size());
  std::copy(sizes.begin(), sizes.end(), view.sizes);
  std::copy(strides.begin(), strides.end(), view.strides);
  return view;
}

std::string describe(const TensorView& view) {
  std::ostringstream text;
  text << "data " << view.data << " " << name_of(view.dtype);
  for (int d = 0; d < view.rank; ++d) text << " " << view.sizes[d] << "x" << view.strides[d];
  return text.str();
}

// How often the elements of a view touch each byte.
std::map<uintptr_t, int> bytes_of(const TensorView& view) {
  std::map<uintptr_t, int> bytes;
  int64_t count = 1;
  for (int d = 0; d < view.rank; ++d) count *= view.sizes[d];
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, element = 0;
    for (int d = view.rank - 1; d >= 0; --d) {
      element += rest % view.sizes[d] * view.strides[d];
      rest /= view.sizes[d];
    }
    for (int64_t b = 0; b < size_of(view.dtype); ++b)
      ++bytes[reinterpret_cast<uintptr_t>(view.at(element)) + static_cast<uintptr_t>(b)];
  }
  return bytes;
}

bool truly_overlap(const TensorView& a, const TensorView& b) {
  const auto bytes_a = bytes_of(a), bytes_b = bytes_of(b);
  return std::any_of(bytes_a.begin(), bytes_a.end(), [&](const auto& byte) { return bytes_b.count(byte.first) > 0; });
}
bool truly_overlaps_itself(const TensorView& view) {
  const auto bytes = bytes_of(view);
  return std::any_of(bytes.begin(), bytes.end(), [](const auto& byte) { return byte.second > 1; });
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  int64_t between(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine_); }

  TensorView view(int64_t largest_size, int64_t largest_stride) {
    constexpr DType kTypes[] = {DType::float64, DType::float32, DType::float16, DType::boolean};
    TensorView view = view_at(between(0, 60), kTypes[between(0, 3)], {}, {});
    view.rank = static_cast<int>(between(0, 4));
    for (int d = 0; d < view.rank; ++d) {
      view.sizes[d] = between(between(0, 19) == 0 ? 0 : 1, largest_size);
      view.strides[d] = between(-largest_stride, largest_stride);
    }
    return view;
  }

 private:
  std::mt19937_64 engine_;
};

TEST(Overlap, AgreesWithTheSetsOfBytes) {
  const unsigned seed = 11;
  Random random(seed);
  int overlapping = 0;
  const int cases = 12000;
  for (int i = 0; i < cases; ++i) {
    const int64_t stride = i % 2 ? 7 : 40;
    const TensorView a = random.view(4, stride), b = random.view(4, stride);
    const bool truth = truly_overlap(a, b);
    overlapping += truth;
    ASSERT_EQ(may_overlap(a, b), truth) << "seed " << seed << " case " << i << "\n"
                                        << describe(a) << "\n"
                                        << describe(b);
    ASSERT_EQ(may_overlap(b, a), truth) << "seed " << seed << " case " << i << "\n"
                                        << describe(a) << "\n"
                                        << describe(b);
  }
  // Both answers were asked for often.
  EXPECT_GT(overlapping, cases / 10);
  EXPECT_LT(overlapping, cases * 9 / 10);
}

TEST(Overlap, WithItselfAgreesWithTheSetsOfBytes) {
  const unsigned seed = 12;
  Random random(seed);
  int overlapping = 0;
  const int cases = 20000;
  for (int i = 0; i < cases; ++i) {
    const TensorView view = random.view(4, i % 2 ? 12 : 60);
    const bool truth = truly_overlaps_itself(view);
    overlapping += truth;
    ASSERT_EQ(overlaps_itself(view), truth) << "seed " << seed << " case " << i << "\n" << describe(view);
  }
  EXPECT_GT(overlapping, cases / 10);
  EXPECT_LT(overlapping, cases * 9 / 10);
}

// Strides with common divisors and offsets between: lattices that interleave without meeting.
TEST(Overlap, AgreesOnInterleavedLattices) {
  const unsigned seed = 13;
  Random random(seed);
  for (int i = 0; i < 6000; ++i) {
    const int64_t step = random.between(2, 6);
    TensorView a = random.view(5, 6), b = random.view(5, 6);
    for (TensorView* view : {&a, &b}) {
      view->dtype = DType::float32;
      for (int d = 0; d < view->rank; ++d) view->strides[d] *= step;
    }
    ASSERT_EQ(may_overlap(a, b), truly_overlap(a, b)) << "seed " << seed << " case " << i << "\n"
                                                      << describe(a) << "\n"
                                                      << describe(b);
  }
}

// ---- layouts that users have ---------------------------------------------------------------------------------------

constexpr int64_t kBatch = 8, kHeight = 512, kWidth = 512, kHeads = 16, kDim = 64;

// (batch, height, width, 3, heads, dim) and the slice `part` of 3, packed by tokens.
TensorView packed_slice(int64_t part, DType dtype) {
  const int64_t token = 3 * kHeads * kDim;
  return view_at(part * kHeads * kDim * size_of(dtype), dtype, {kBatch, kHeight, kWidth, kHeads, kDim},
                 {kHeight * kWidth * token, kWidth * token, token, kDim, 1});
}
// (batch, height, width, heads, 3, dim): packed by heads.
TensorView packed_by_head(int64_t part, DType dtype) {
  const int64_t head = 3 * kDim, token = kHeads * head;
  return view_at(part * kDim * size_of(dtype), dtype, {kBatch, kHeight, kWidth, kHeads, kDim},
                 {kHeight * kWidth * token, kWidth * token, token, head, 1});
}
// (batch, 3, heads, height, width, dim), viewed heads-last.
TensorView packed_outside(int64_t part, DType dtype) {
  const int64_t head = kHeight * kWidth * kDim, all = kHeads * head;
  return view_at(part * all * size_of(dtype), dtype, {kBatch, kHeight, kWidth, kHeads, kDim},
                 {3 * all, kWidth * kDim, kDim, head, 1});
}
// (batch, height, width, heads, dim, 3): channels interleaved, as separate views see it.
TensorView packed_inside(int64_t part, DType dtype) {
  const int64_t token = kHeads * kDim * 3;
  return view_at(part * size_of(dtype), dtype, {kBatch, kHeight, kWidth, kHeads, kDim},
                 {kHeight * kWidth * token, kWidth * token, token, kDim * 3, 3});
}
TensorView reversed(TensorView view, int dimension) {
  view.data = view.at((view.sizes[dimension] - 1) * view.strides[dimension]);
  view.strides[dimension] = -view.strides[dimension];
  return view;
}
TensorView transposed(TensorView view, int a, int b) {
  std::swap(view.sizes[a], view.sizes[b]);
  std::swap(view.strides[a], view.strides[b]);
  return view;
}

TEST(Overlap, SlicesOfOnePackedBufferDoNotMeet) {
  for (DType dtype : {DType::float64, DType::float32, DType::bfloat16}) {
    for (auto slice : {packed_slice, packed_by_head, packed_outside, packed_inside}) {
      const TensorView q = slice(0, dtype), k = slice(1, dtype), v = slice(2, dtype);
      EXPECT_FALSE(may_overlap(q, k));
      EXPECT_FALSE(may_overlap(q, v));
      EXPECT_FALSE(may_overlap(k, v));
      EXPECT_TRUE(may_overlap(q, q));
      for (const TensorView& view : {q, k, v}) EXPECT_FALSE(overlaps_itself(view));
      for (int d = 0; d < 5; ++d) {
        EXPECT_FALSE(may_overlap(reversed(q, d), k)) << d;
        EXPECT_FALSE(may_overlap(q, reversed(v, d))) << d;
        EXPECT_TRUE(may_overlap(reversed(k, d), k)) << d;
        EXPECT_FALSE(overlaps_itself(reversed(v, d))) << d;
        for (int e = 0; e < d; ++e) {
          EXPECT_FALSE(may_overlap(transposed(q, d, e), k)) << d << e;
          EXPECT_FALSE(overlaps_itself(transposed(reversed(q, e), d, e))) << d << e;
        }
      }
    }
  }
}

TEST(Overlap, OneByteTooFarIsFound) {
  const TensorView q = packed_slice(0, DType::float32), k = packed_slice(1, DType::float32);
  TensorView shifted = q;
  shifted.data += 1;  // the last channel's last byte
  EXPECT_TRUE(may_overlap(shifted, k));
  shifted.data -= 2;  // into the token before
  EXPECT_TRUE(may_overlap(shifted, packed_slice(2, DType::float32)));
  TensorView wide = q;
  wide.sizes[4] = kDim + 1;  // heads run into each other, and the last into the keys
  EXPECT_TRUE(overlaps_itself(wide));
  EXPECT_TRUE(may_overlap(wide, k));
  wide.sizes[3] = 1;
  EXPECT_FALSE(overlaps_itself(wide));
  EXPECT_FALSE(may_overlap(wide, k));
}

// Halves and crops of one image, and every second pixel.
TEST(Overlap, CropsOfOneImage) {
  const int64_t row = kWidth * kDim;
  const auto crop = [&](int64_t y, int64_t x, int64_t height, int64_t width, int64_t step = 1) {
    return view_at((y * row + x * kDim) * 4, DType::float32, {height, width, kDim}, {row * step, kDim * step, 1});
  };
  EXPECT_FALSE(may_overlap(crop(0, 0, 512, 256), crop(0, 256, 512, 256)));
  EXPECT_TRUE(may_overlap(crop(0, 0, 512, 257), crop(0, 256, 512, 256)));
  EXPECT_FALSE(may_overlap(crop(0, 0, 256, 256, 2), crop(0, 1, 256, 256, 2)));
  EXPECT_FALSE(may_overlap(crop(0, 0, 256, 256, 2), crop(1, 0, 256, 256, 2)));
  EXPECT_FALSE(may_overlap(crop(1, 0, 256, 256, 2), crop(0, 1, 256, 256, 2)));
  EXPECT_TRUE(may_overlap(crop(0, 0, 256, 256, 2), crop(4, 8, 100, 100, 3)));
  EXPECT_FALSE(may_overlap(crop(10, 10, 5, 5), crop(15, 0, 5, 512)));
}

TEST(Overlap, ReadsOnlyWhatTheViewHas) {
  const TensorView some = view_at(0, DType::float32, {4, 4}, {4, 1});
  EXPECT_FALSE(may_overlap(some, view_at(0, DType::float32, {4, 0}, {4, 1})));
  EXPECT_FALSE(may_overlap(view_at(0, DType::float32, {0, 4}, {0, 0}), some));
  EXPECT_FALSE(overlaps_itself(view_at(0, DType::float32, {0, 4}, {0, 0})));
  EXPECT_TRUE(overlaps_itself(view_at(0, DType::float32, {2, 4}, {0, 1})));
  EXPECT_FALSE(overlaps_itself(view_at(0, DType::float32, {1, 4}, {0, 1})));
  EXPECT_TRUE(overlaps_itself(view_at(0, DType::float32, {3, 3}, {1, -1})));
  // A sliding window, as as_strided makes it.
  EXPECT_TRUE(overlaps_itself(view_at(0, DType::float32, {100, 7}, {1, 1})));
  EXPECT_FALSE(overlaps_itself(view_at(0, DType::float32, {100, 7}, {7, 1})));
  // Different element sizes over the same memory.
  EXPECT_TRUE(may_overlap(some, view_at(6, DType::boolean, {1}, {1})));
  EXPECT_FALSE(may_overlap(view_at(0, DType::float32, {4}, {2}), view_at(6, DType::boolean, {1}, {1})));
}

// Whatever the strides, an answer comes: the true one, or true.
TEST(Overlap, NeverGivesUpNorOverflows) {
  const int64_t huge = INT64_MAX;
  const TensorView some = view_at(0, DType::float32, {4, 4}, {4, 1});
  const TensorView vast =
      view_at(0, DType::float64, {huge, huge, huge, huge, huge, huge}, {huge, huge, INT64_MIN, INT64_MIN, huge, huge});
  EXPECT_TRUE(may_overlap(some, vast));
  EXPECT_TRUE(may_overlap(vast, some));
  EXPECT_TRUE(overlaps_itself(vast));
  // Six coprime strides each: a knapsack whose search must end. Only its end is asserted.
  const TensorView hard = view_at(0, DType::float64, {999, 998, 997, 996, 995, 994},
                                  {1000003, 1000033, 1000037, 1000039, 1000081, 1000099});
  const TensorView other = view_at(3, DType::float64, {999, 998, 997, 996, 995, 994},
                                   {-1000117, 1000121, 1000133, -1000151, 1000159, 1000171});
  EXPECT_TRUE(may_overlap(hard, other));
  EXPECT_TRUE(overlaps_itself(hard));
}

}  // namespace
}  // namespace nearfield::core
