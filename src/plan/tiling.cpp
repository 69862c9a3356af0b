#include "plan/tiling.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "base/error.h"

namespace nearfield::core {
namespace {

using Extents = std::array<int64_t, kMaxGridRank>;

// Of the longest class: that of residue 0.
template <class Rule>
int64_t class_length(const Rule& rule, bool of_keys) {
  return ceil_div(of_keys ? rule.keys : rule.queries, rule.dilation);
}

// One axis, on its longest class.
class AxisView {
 public:
  AxisView() = default;
  AxisView(const AxisRule& rule, bool transposed) : rule_(&rule), transposed_(transposed) {
    std::visit(
        [&](const auto& r) {
          near_ = class_length(r, transposed);
          far_ = class_length(r, !transposed);
          stride_ = r.stride;
          phase_ = r.phase;
        },
        rule);
  }

  std::vector<int64_t> extents(int64_t lanes) const {
    const int64_t longest = max_of(1, min_of(near_, lanes));
    std::vector<int64_t> all;
    for (int64_t extent = 1; extent <= longest; extent *= 2) all.push_back(extent);
    for (int64_t extent = lanes; extent >= 1; extent /= 2) {
      if (extent <= longest) all.push_back(extent);
    }
    if (near_ <= lanes) all.push_back(longest);
    if (stride_ <= longest) all.push_back(stride_);
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  // Every tile of this extent stays within one group of queries, or there are no groups to speak of.
  bool is_aligned(int64_t extent) const { return stride_ == 1 || stride_ >= near_ || stride_ % extent == 0; }

  // Every tile of the outer extent is a union of tiles of the inner one.
  bool covers(int64_t outer, int64_t inner) const { return outer >= inner && (outer >= near_ || outer % inner == 0); }

  // The longest hull of the tiles of `extent` near tokens.
  int64_t longest_hull(int64_t extent) const {
    return std::visit(
        [&](const auto& r) {
          auto interval = [&](int64_t x) { return transposed_ ? r.queries_of(far_, x) : r.keys_of(far_, x); };
          int64_t longest = 1;
          for (int64_t begin = -floor_mod(phase_, extent); begin < near_; begin += extent) {
            const int64_t last = min_of(begin + extent, near_) - 1;
            longest = max_of(longest, interval(last).end() - interval(max_of(begin, 0)).start);
          }
          return min_of(longest, max_of(far_, 1));
        },
        *rule_);
  }

 private:
  const AxisRule* rule_ = nullptr;
  bool transposed_ = false;
  int64_t near_ = 0, far_ = 0, stride_ = 1, phase_ = 0;
};

// Shapes of the whole grid, and which of them are unions of others' tiles.
class Shapes {
 public:
  Shapes(const Pattern& pattern, int64_t lanes, bool transposed) : rank_(pattern.rank) {
    for (int a = 0; a < rank_; ++a) {
      axes_[a] = AxisView(pattern.axes[a], transposed);
      std::vector<Extents> longer;
      for (Extents shape : all_) {
        const bool on_one_line = pattern.has_arcs() && a == 0;
        const int64_t left = on_one_line ? 1 : lanes / (shape[0] * shape[1] * shape[2]);
        for (const int64_t extent : axes_[a].extents(left)) {
          shape[a] = extent;
          longer.push_back(shape);
          shape[a] = 1;
        }
      }
      all_ = std::move(longer);
    }
  }

  const AxisView& axis(int a) const { return axes_[a]; }

  // Those that no other one covers, then those within one group of queries that no other such one covers.
  std::vector<Extents> worth_scoring() const {
    std::vector<Extents> aligned;
    std::copy_if(all_.begin(), all_.end(), std::back_inserter(aligned),
                 [&](const Extents& e) { return is_aligned(e); });
    std::vector<Extents> chosen = uncovered(all_);
    for (const Extents& shape : uncovered(aligned)) {
      if (std::find(chosen.begin(), chosen.end(), shape) == chosen.end()) chosen.push_back(shape);
    }
    return chosen;
  }

 private:
  bool is_aligned(const Extents& shape) const {
    for (int a = 0; a < rank_; ++a) {
      if (!axes_[a].is_aligned(shape[a])) return false;
    }
    return true;
  }

  bool covers(const Extents& outer, const Extents& inner) const {
    for (int a = 0; a < rank_; ++a) {
      if (!axes_[a].covers(outer[a], inner[a])) return false;
    }
    return true;
  }

  std::vector<Extents> uncovered(const std::vector<Extents>& shapes) const {
    std::vector<Extents> kept;
    for (const Extents& shape : shapes) {
      const bool is_covered = std::any_of(shapes.begin(), shapes.end(),
                                          [&](const Extents& other) { return other != shape && covers(other, shape); });
      if (!is_covered) kept.push_back(shape);
    }
    return kept;
  }

  int rank_;
  AxisView axes_[kMaxGridRank];
  std::vector<Extents> all_{{1, 1, 1}};  // distinct, in order
};

}  // namespace

int64_t longest_class(const Pattern& pattern, int axis, bool transposed) {
  return std::visit([&](const auto& rule) { return class_length(rule, transposed); }, pattern.axes[axis]);
}

std::vector<TileShape> tile_candidates(const Pattern& pattern, int64_t lanes, int64_t step_keys, bool transposed) {
  if (pattern.rank < 1 || pattern.rank > kMaxGridRank) invalid_argument("rank=", pattern.rank, ": must be 1, 2 or 3");
  if (lanes < 1) invalid_argument("lanes=", lanes, ": must be at least 1");
  if (step_keys < 1) invalid_argument("step_keys=", step_keys, ": must be at least 1");
  const Shapes shapes(pattern, lanes, transposed);
  std::vector<TileShape> candidates;
  for (const Extents& near : shapes.worth_scoring()) {
    TileShape& shape = candidates.emplace_back();
    int64_t left = step_keys;
    for (int a = pattern.rank - 1; a >= 0; --a) {
      shape.near[a] = near[a];
      shape.far[a] = min_of(left, shapes.axis(a).longest_hull(near[a]));
      left /= shape.far[a];
    }
  }
  return candidates;
}

}  // namespace nearfield::core
