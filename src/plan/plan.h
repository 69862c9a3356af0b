// A plan is a pattern compiled for a tile shape: for each tile of queries the boxes of keys to visit, each full or
// with a mask held as data. It knows no arithmetic. Everything is separable per axis, so a plan stores per-axis tables
// only, and of a tile's steps on an axis those that are alike once: O(sum of the axes' lengths), however wide the
// window is. Never a list of neighbours per token.
//
// Words. A class is one combination of per-axis residues (dilation); a tile never mixes classes. A line is all tokens
// that differ only in the last coordinate. Coordinates are in-class; `locate` turns them into tokens of the axis.
// Transposed plans (for dK and dV) have tiles of keys and steps of queries: "near" is the tile's side, "far" the
// steps'.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "pattern/pattern.h"

namespace nearfield::core {

struct TileShape {
  int64_t near[kMaxGridRank] = {1, 1, 1};  // tokens of a tile, per axis; >= 1
  int64_t far[kMaxGridRank] = {1, 1, 1};   // tokens of a step at most, per axis; >= 1
  bool operator==(const TileShape&) const = default;
};

// Which tokens of a piece one near token sees: low < high is [low, high); low > high is the two ends [0, high) and
// [low, size) (clipped wrapped hulls only); equal is nothing. Relative to the piece's first token.
struct Span {
  int32_t low = 0, high = 0;
  constexpr auto operator<=>(const Span&) const = default;
  constexpr bool contains(int64_t i) const { return low <= high ? (low <= i && i < high) : (i < high || i >= low); }
};

// Far tokens [first, first + size) of one axis, never across the seam. `lap`: the un-reduced coordinate is
// coordinate + lap * n (bias offsets need it); 0, and without meaning, in a hull clipped to one lap.
struct Piece {
  int64_t first = 0, size = 0, lap = 0;
};

// Steps of one axis that are alike but for their place: `count` adjacent pieces, all as long as the first. spans[t]
// belongs to the tile's t-th near token on this axis; full: all of them see each piece whole.
struct AxisRun {
  Piece first;
  int64_t count = 0;
  bool full = false;
  int32_t spans = 0;  // offset into AxisTable::spans; runs with the same spans share them
};

struct AxisTile {
  int64_t begin = 0, size = 0;      // near coordinates
  int64_t steps = 0, visited = 0;   // in all runs, and the far tokens that they hold
  int32_t first_run = 0, runs = 0;  // range of AxisTable::runs
};

// One axis for one class length; dilation gives an axis at most two.
struct AxisTable {
  int64_t near = 0, far = 0;        // class lengths
  std::vector<Interval> intervals;  // [near], un-reduced: what each near token sees
  std::vector<AxisTile> tiles;
  std::vector<AxisRun> runs;
  std::vector<Span> spans;
};

struct PlanAxis {
  int64_t near = 0, far = 0;  // tokens of the axis
  int64_t dilation = 1;
  bool wraps = false;
  int64_t classes = 0;  // min(dilation, near); the first `long_classes` use tables[0], the rest tables[1]
  int64_t long_classes = 0;
  AxisTable tables[2];
  const AxisTable& table(int64_t residue) const { return tables[residue < long_classes ? 0 : 1]; }
  int64_t tiles() const;  // over all classes
};

struct Tile {
  int64_t residue[kMaxGridRank] = {};
  const AxisTable* tables[kMaxGridRank] = {};
  const AxisTile* axes[kMaxGridRank] = {};
  int64_t begin(int axis) const { return axes[axis]->begin; }
  int64_t size(int axis) const { return axes[axis]->size; }
};

// A box of keys for a whole tile: the product of one piece per axis. A key belongs to a query exactly if it lies
// in the query's span on every axis.
struct Step {
  Piece pieces[kMaxGridRank];
  const Span* spans[kMaxGridRank] = {};  // [tile size on the axis]
  bool axis_full[kMaxGridRank] = {};
  bool full = false;  // on every axis: nothing to mask
};

// A tile's steps, and on the sphere what their spans point to. Reused from tile to tile.
struct StepList : std::vector<Step> {
  std::vector<Span> arc_spans;
};

// For one (batch, head).
struct PlanStatistics {
  int64_t tiles = 0;
  int64_t full_steps = 0, masked_steps = 0;
  int64_t useful_pairs = 0;    // pairs that the pattern asks for
  int64_t executed_pairs = 0;  // pairs that the steps' boxes hold
  int64_t visited_keys = 0;    // far tokens of all steps' boxes: executed_pairs if every tile had one near token
  int64_t masked_keys = 0;     // of these, in masked steps
  PlanStatistics& operator+=(const PlanStatistics& other) {
    tiles += other.tiles;
    full_steps += other.full_steps;
    masked_steps += other.masked_steps;
    useful_pairs += other.useful_pairs;
    executed_pairs += other.executed_pairs;
    visited_keys += other.visited_keys;
    masked_keys += other.masked_keys;
    return *this;
  }
  double waste() const {
    return useful_pairs == 0 ? 1.0 : static_cast<double>(executed_pairs) / static_cast<double>(useful_pairs);
  }
};

class Plan {
 public:
  // keep_laps: do not clip a wrapped hull to one lap. A key may then come once per lap (every pair still exactly
  // once), and key + lap*n - query is the offset that a bias table needs (transposed: key - query - lap*n).
  // With arcs tiles lie on one latitude (shape.near[0] is 1), and a plan can't be transposed.
  // Errors: invalid_argument for a rank, an extent or statistics out of range, unsupported for a plan beyond 2^31
  // runs or spans of an axis, internal_error for an axis rule whose starts or ends ever decrease.
  Plan(const Pattern& pattern, const TileShape& shape, bool transposed = false, bool keep_laps = false);

  int rank() const { return rank_; }
  const TileShape& shape() const { return shape_; }
  bool transposed() const { return transposed_; }
  bool keep_laps() const { return keep_laps_; }
  // On the sphere: steps are of single circles of latitude.
  bool has_arcs() const { return sphere_ != nullptr; }
  const PlanAxis& axis(int a) const { return axes_[a]; }
  const PlanStatistics& statistics() const { return statistics_; }
  size_t bytes() const;  // memory held by the tables

  int64_t tile_count() const { return statistics_.tiles; }
  // Tiles are numbered with the last axis fastest; on an axis by residue, then along the class. 0 <= index <
  // tile_count(). The tile points into this plan. Only the first rank() axes of tiles and steps are set.
  Tile tile(int64_t index) const;
  // Writes the tile's steps, last axis fastest. `steps` is the caller's own buffer, reused from tile to tile: nothing
  // is allocated once it has held the largest tile's. On the sphere some memory is.
  void expand(const Tile& tile, StepList& steps) const;
  // Far tokens of the tile's steps.
  int64_t visited_keys(const Tile& tile) const;
  // Pairs of one of the tile's steps that the pattern asks for.
  int64_t useful_pairs(const Tile& tile, const Step& step) const;

 private:
  int rank_ = 0;
  TileShape shape_;
  bool transposed_ = false;
  bool keep_laps_ = false;
  PlanAxis axes_[kMaxGridRank];
  std::shared_ptr<const Sphere> sphere_;  // null unless it has arcs
  PlanStatistics statistics_;
};

// Token of the axis at in-class coordinate x of a residue class. x may be un-reduced on a wrapped axis of class
// length n.
constexpr int64_t locate(int64_t x, int64_t residue, int64_t dilation) { return x * dilation + residue; }

}  // namespace nearfield::core
