// Softmax over rows in memory and its gradient, of every instruction set: any width and number of rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/cpu/kernels.h"
#include "simd_cases.h"

namespace nearfield::core {
namespace {

constexpr uint64_t kSeed = 20261122;

template <class T>
std::vector<const KernelTable<T>*> runnable_kernels() {
  std::vector<const KernelTable<T>*> list;
  const auto add = [&](Isa isa, const KernelTable<T>* kernels) {
    if (isa_unavailable(isa) == nullptr) list.push_back(kernels);
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

// Rows on the heap, each in an allocation of its own: a sanitizer sees any step beyond.
template <class T>
struct Rows {
  std::vector<std::vector<T>> data;
  std::vector<T*> at;
  Rows(int64_t count, int64_t columns)
      : data(static_cast<size_t>(count), std::vector<T>(static_cast<size_t>(columns))) {
    for (auto& row : data) at.push_back(row.data());
  }
};

template <class T>
void fill(Random& random, std::vector<T>& row) {
  for (T& x : row) x = static_cast<T>(60 * random.uniform() - 30);
}

template <class T>
void check_softmax(const KernelTable<T>& kernels, Random& random, int64_t count, int64_t columns) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  const double tolerance = sizeof(T) == 4 ? 2e-6 : 1e-14;
  Rows<T> rows(count, columns);
  for (auto& row : rows.data) {
    fill(random, row);
    const int64_t hidden = random.below(4);  // of three rows some slots, of some rows all
    for (T& x : row)
      if (hidden == 3 || (hidden == 2 && random.below(2) == 0)) x = -kInfinity;
  }
  if (count > 2) rows.data[1][static_cast<size_t>(random.below(columns))] = std::numeric_limits<T>::quiet_NaN();
  const auto logits = rows.data;
  std::vector<T> logsumexp(static_cast<size_t>(count), std::numeric_limits<T>::quiet_NaN());
  kernels.softmax_rows(rows.at.data(), count, columns, logsumexp.data());
  for (size_t r = 0; r < logits.size(); ++r) {
    double top = -INFINITY, sum = 0;
    bool bad = false;
    for (const T x : logits[r]) {
      bad = bad || std::isnan(x);
      top = std::max(top, static_cast<double>(x));
    }
    for (const T x : logits[r]) sum += top == -INFINITY ? 0 : std::exp(static_cast<double>(x) - top);
    for (size_t i = 0; i < logits[r].size(); ++i) {
      if (bad) {
        EXPECT_TRUE(std::isnan(rows.data[r][i]));
        continue;
      }
      const double expected = sum == 0 ? 0 : std::exp(static_cast<double>(logits[r][i]) - top) / sum;
      EXPECT_FALSE(!(std::fabs(rows.data[r][i] - expected) <= tolerance)) << rows.data[r][i] << " for " << expected;
    }
    if (bad) {
      EXPECT_TRUE(std::isnan(logsumexp[r]));
    } else if (sum == 0) {
      EXPECT_EQ(logsumexp[r], -kInfinity);
    } else {
      EXPECT_FALSE(!(std::fabs(logsumexp[r] - (top + std::log(sum))) <= 40 * tolerance));
    }
  }
  // A row's bits do not depend on the rows beside it.
  Rows<T> alone(1, columns);
  alone.data[0] = logits.back();
  T found;
  kernels.softmax_rows(alone.at.data(), 1, columns, &found);
  for (size_t i = 0; i < alone.data[0].size(); ++i)
    EXPECT_TRUE(alone.data[0][i] == rows.data.back()[i] || std::isnan(alone.data[0][i]));
  EXPECT_TRUE(found == logsumexp.back() || std::isnan(found));
}

template <class T>
void check_gradient(const KernelTable<T>& kernels, Random& random, int64_t count, int64_t columns) {
  const double tolerance = (sizeof(T) == 4 ? 1e-5 : 1e-13) * static_cast<double>(columns) * 30;
  Rows<T> p(count, columns), d(count, columns);
  std::vector<T> dlogsumexp(static_cast<size_t>(count));
  fill(random, dlogsumexp);
  for (auto& row : p.data)
    for (T& x : row) x = static_cast<T>(random.uniform());
  for (auto& row : d.data) fill(random, row);
  const auto before = d.data;
  kernels.softmax_gradient_rows(p.at.data(), d.at.data(), count, columns, dlogsumexp.data());
  for (size_t r = 0; r < before.size(); ++r) {
    double mean = -static_cast<double>(dlogsumexp[r]);
    for (size_t i = 0; i < before[r].size(); ++i) mean += static_cast<double>(p.data[r][i]) * before[r][i];
    for (size_t i = 0; i < before[r].size(); ++i)
      EXPECT_FALSE(!(std::fabs(d.data[r][i] - p.data[r][i] * (before[r][i] - mean)) <= tolerance));
  }
}

template <class T>
void check_all() {
  Random random(kSeed);
  for (const KernelTable<T>* kernels : runnable_kernels<T>())
    for (int64_t columns = 1; columns < 40; ++columns)
      for (const int64_t count : {1, 3, 8, 13}) {
        SCOPED_TRACE(::testing::Message()
                     << "seed " << kSeed << ": " << kernels->lanes << " lanes, " << count << " rows of " << columns);
        check_softmax(*kernels, random, count, columns);
        check_gradient(*kernels, random, count, columns);
      }
  for (const KernelTable<T>* kernels : runnable_kernels<T>()) check_softmax(*kernels, random, 5, 700);
}

TEST(RowSoftmax, MatchesItsDefinitionInFloat) { check_all<float>(); }
TEST(RowSoftmax, MatchesItsDefinitionInDouble) { check_all<double>(); }

}  // namespace
}  // namespace nearfield::core
