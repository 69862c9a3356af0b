// The neighborhood of one axis as a set, written from its definition and sharing nothing with src/pattern: leaders are
// found by listing the group, windows by listing keys one at a time.
#pragma once

#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "pattern/neighborhood.h"

namespace nearfield::test {

// For each key token of the axis: the in-class offset key - query if the query sees it, else kUnseen.
using KeyOffsets = std::vector<int64_t>;
inline constexpr int64_t kUnseen = std::numeric_limits<int64_t>::min();

inline KeyOffsets defined_keys(const core::NeighborhoodAxis& axis, int64_t query) {
  std::vector<int64_t> tokens;  // of the query's residue class
  int64_t position = 0;         // the query's place in it
  for (int64_t i = 0; i < axis.queries; ++i) {
    if (i % axis.dilation != query % axis.dilation) continue;
    if (i == query) position = static_cast<int64_t>(tokens.size());
    tokens.push_back(i);
  }
  const int64_t n = static_cast<int64_t>(tokens.size()), k = axis.kernel_size, s = axis.stride;
  int64_t first_of_group = position;
  while (first_of_group % s != 0) --first_of_group;
  int64_t leader = first_of_group + (axis.is_causal ? s - 1 : s / 2);
  while (leader > n - 1) --leader;

  KeyOffsets seen(static_cast<size_t>(axis.keys), kUnseen);
  auto see = [&](int64_t y, int64_t offset) { seen[tokens[y]] = offset; };
  if (axis.is_causal) {
    for (int64_t back = 0; back < k; ++back) {
      const int64_t y = leader - back;
      if (y >= 0 && y <= position) see(y, y - position);
    }
  } else if (axis.boundary == core::Boundary::wrap && k >= n) {
    for (int64_t y = 0; y < n; ++y) {
      int64_t offset = y - position;  // reduced to (-n/2, n/2]
      while (2 * offset <= -n) offset += n;
      while (2 * offset > n) offset -= n;
      see(y, offset);
    }
  } else {
    int64_t begin = leader - k / 2;
    if (axis.boundary == core::Boundary::clamp) {  // move the window into the axis, low border last
      while (begin + k > n) --begin;
      while (begin < 0) ++begin;
    }
    for (int64_t y = begin; y < begin + k; ++y) {
      if (axis.boundary == core::Boundary::wrap)
        see((y + 4 * n * k) % n, y - position);
      else if (y >= 0 && y < n)
        see(y, y - position);
    }
  }
  return seen;
}

inline std::string describe(const core::NeighborhoodAxis& axis) {
  const char* names[] = {"clamp", "wrap", "cut"};
  std::ostringstream text;
  text << "length " << axis.queries << " kernel " << axis.kernel_size << " stride " << axis.stride << " dilation "
       << axis.dilation << (axis.is_causal ? " causal " : " ") << names[static_cast<int>(axis.boundary)];
  return text.str();
}

}  // namespace nearfield::test
