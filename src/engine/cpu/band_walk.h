// A strip of adjacent queries walks over the lines of the grid. Forward and backward both walk so.
#pragma once

#include <algorithm>
#include <utility>

#include "engine/cpu/band_ring.h"

namespace nearfield::core {

template <class T>
class BandWalk : public BandRing<T> {
 public:
  BandWalk(const Problem& problem, const CpuChoice& choice, const CpuPart& part, const SharedModifiers<T>& modifiers,
           void* memory)
      : BandRing<T>(problem, choice, part, modifiers, memory) {
    if (!problem.pattern.has_arcs()) return;
    const SphereArc& arc = problem.pattern.sphere->reach.arc();
    moves_by_one_ = arc.queries == arc.keys;
    may_be_few_ = ws_.slot.log_weights < 0 && problem.modifiers.softcap == 0 && problem.shape.additional == 0;
  }

 protected:
  using BandRing<T>::problem_, BandRing<T>::modifiers_, BandRing<T>::rank_, BandRing<T>::kernels_, BandRing<T>::extent_,
      BandRing<T>::ws_, BandRing<T>::query_line, BandRing<T>::upcoming_, BandRing<T>::in_place_;

  // Query lines [first, end) of the column, plane by plane, row by row. visit(block, kv_head) runs once for each block
  // and head, with ring() and the lines' pointers set; retire(kv_head, tag, slot) before a packed line is forgotten.
  template <class Visit, class Retire>
  void walk(const Column& column, const BandHeads& heads, int64_t first, int64_t end, Visit visit, Retire retire) {
    const int64_t rows = column.outer[1].near();
    const auto block_at = [&](int64_t line) {
      BandBlock block{line / rows, line % rows, 0, {}};
      block.count = std::min({extent_.rows, rows - block.row, end - line});
      return block;
    };
    this->forget_lines();
    for (int64_t line = first; line < end;) {
      BandBlock block = block_at(line);
      for (int64_t kv_head = heads.first; kv_head < heads.end; ++kv_head) {
        this->enter(kv_head - heads.first);
        for (int64_t r = 0; r < block.count; ++r)
          block.lines[r] = this->gather_lines(column, block, r, heads.batch, kv_head,
                                              [&](const LineTag& tag, T* slot) { retire(kv_head, tag, slot); });
        upcoming_ = 0;
        if (kv_head + 1 < heads.end) {
          this->foresee_block(column, block, heads.batch, kv_head + 1, kv_head + 1 - heads.first);
        } else if (line + block.count < end) {
          this->foresee_block(column, block_at(line + block.count), heads.batch, heads.first, 0);
        }
        row_.is_known = false;
        visit(block, kv_head);
      }
      line += block.count;
    }
    for (int64_t kv_head = heads.first; kv_head < heads.end; ++kv_head) {
      this->enter(kv_head - heads.first);
      this->for_each_packed([&](const LineTag& tag, T* slot) { retire(kv_head, tag, slot); });
    }
  }

  // Additional keys and values of the walk's heads, packed.
  void load_additional(const BandHeads& heads) {
    const int64_t count = problem_.shape.additional;
    if (count == 0) return;
    const Modifiers& m = problem_.modifiers;
    for (int64_t kv_head = heads.first; kv_head < heads.end; ++kv_head) {
      T* keys = additional_of(heads, kv_head);
      const auto load = [&](const TensorView& tensor, T* rows, int64_t stride) {
        for (int64_t i = 0; i < count; ++i) {
          const int64_t at = heads.batch * tensor.strides[0] + i * tensor.strides[1] + kv_head * tensor.strides[2];
          kernels_.load_rows(tensor.data, tensor.dtype, &at, 1, tensor.sizes[3], T{1}, rows + i * stride, stride);
        }
      };
      load(m.additional_keys, keys, ws_.key_stride);
      load(m.additional_values, keys + count * ws_.key_stride, ws_.value_stride);
    }
  }
  T* additional_of(const BandHeads& heads, int64_t kv_head) const {
    return ws_.additional + (kv_head - heads.first) * ws_.additional_size;
  }

  // The kernel's view of query rows: row r of the block, queries t .. t + lanes of the strip, of query head `head`.
  BandTile<T> tile_of(const Column& column, const BandBlock& block, int64_t r, const BandHeads& heads, int64_t kv_head,
                      int64_t head, int64_t t) {
    const int64_t lanes = kernels_.lanes, queries = std::min(lanes, column.strip->size - t);
    T* rows = ws_.query + r * lanes * ws_.key_stride;
    const TensorView& query = problem_.query;
    kernels_.load_rows(query_line(column, query, heads.batch, head, block.plane, block.row + r), query.dtype,
                       ws_.query_offsets + t, queries, problem_.shape.head_dim, static_cast<T>(problem_.scale * kLog2e),
                       rows, ws_.key_stride);
    BandTile<T> tile;
    tile.queries = queries;
    tile.query = rows;
    tile.key_stride = ws_.key_stride;
    tile.value_stride = ws_.value_stride;
    tile.softcap = modifiers_.softcap;
    tile.scores = ws_.scores + r * lanes * ws_.row;
    tile.out = ws_.out + r * lanes * ws_.value_stride;
    const auto [begin, end] = this->seen_together(t, queries);
    reads_in_place_ = in_place_.any() && in_place_.hold(begin, end);
    tile.groups = groups_of(r);
    if (problem_.pattern.has_arcs()) {
      arcs_of(block, t, tile);
    } else {
      tile.grid_groups = group_lines(block, r, t, 0, block.lines[r], 0);
    }
    tile.group_count = tile.grid_groups;
    const int64_t first = r * extent_.lines();
    if (modifiers_.cells != nullptr) {
      spread_bias(column, static_cast<const T*>(modifiers_.bias) + head * modifiers_.bias_head, t, tile.queries);
      groups_of(r)->bias = ws_.bias;
      groups_of(r)->bias_step = ws_.bias_step;
    } else if (modifiers_.bias != nullptr) {
      point_at_bias(column, block, r, static_cast<const T*>(modifiers_.bias) + head * modifiers_.bias_head, t,
                    ws_.bias + first);
      groups_of(r)->bias = ws_.bias + first;
    }
    for (int64_t g = 0; g < tile.grid_groups; ++g) tile.row += tile.groups[g].lines * tile.groups[g].width;
    if (tile.few > 0) tile.row = lanes;
    if (const int64_t more = problem_.shape.additional; more > 0) {
      const T** lines = ws_.additional_lines + 4 * (kv_head - heads.first);
      lines[0] = additional_of(heads, kv_head);
      lines[1] = lines[0] + more * ws_.key_stride;
      BandGroup<T>& group = groups_of(r)[tile.group_count++];
      group = {};
      group.lines = 1;
      group.keys = lines;
      group.values = lines + 1;
      group.begin = ws_.none;
      group.end = ws_.all;
      group.width = round_up(more, lanes);
      tile.row += group.width;
    }
    return tile;
  }

  BandGroup<T>* groups_of(int64_t r) const { return ws_.groups + r * ws_.row_groups; }

  // Group number `at` of row r: the lines [first, first + count) that it sees, with the extent's window `window`.
  // Returns the number of groups so far.
  int64_t group_lines(const BandBlock& block, int64_t r, int64_t t, int64_t first, int64_t count, int64_t window,
                      int64_t at = 0) {
    BandGroup<T>& group = groups_of(r)[at];
    group = {};
    const int64_t line = r * extent_.lines() + first;
    group.lines = count;
    group.keys = (reads_in_place_ ? ws_.keys_in_place : ws_.keys) + line;
    group.values = (reads_in_place_ ? ws_.values_in_place : ws_.values) + line;
    group.begin = ws_.begin + window * extent_.strip + t;
    group.end = ws_.end + window * extent_.strip + t;
    group.width = ws_.widths[window];
    if (ws_.slot.log_weights >= 0) group.log_weights = ws_.log_weights + line;
    if (ws_.slot.log_weights < 0 && modifiers_.line_weights != nullptr)
      group.line_weights = modifiers_.line_weights + first_line(block, r) + first;
    return at + 1;
  }
  int64_t first_line(const BandBlock& block, int64_t r) const {
    return problem_.pattern.has_arcs() ? problem_.pattern.sphere->reach.keys_of(block.row + r).start : 0;
  }

  // Circles of equal arcs that follow one another form a group. Always at least one, maybe of no lines.
  int64_t group_arcs(const BandBlock& block, int64_t r, int64_t t) {
    const auto half_widths = problem_.pattern.sphere->reach.half_widths(block.row + r);
    const int64_t lines = block.lines[r];
    if (lines == 0) return group_lines(block, r, t, 0, 0, 0);
    int64_t groups = 0;
    for (int64_t first = 0, next = 0; first < lines; first = next) {
      const int32_t half_width = half_widths[static_cast<size_t>(first)];
      while (next < lines && half_widths[static_cast<size_t>(next)] == half_width) ++next;
      groups = group_lines(block, r, t, first, next - first, half_width - extent_.least_half_width, groups);
    }
    return groups;
  }

  // The tile's groups: those of the row's first tile, moved along.
  void arcs_of(const BandBlock& block, int64_t t, BandTile<T>& tile) {
    if (!row_.is_known) {
      row_ = {true, reads_in_place_, t, group_arcs(block, 0, t), 0};
      if (moves_by_one_ && may_be_few_) row_.few = few_of(0, row_.groups);
    }
    const bool moves = std::exchange(row_.in_place, reads_in_place_) != reads_in_place_;
    const int64_t on = t - std::exchange(row_.t, t);
    for (int64_t g = 0; g < row_.groups; ++g) {
      BandGroup<T>& group = groups_of(0)[g];
      group.begin += on;
      group.end += on;
      if (!moves) continue;
      group.keys =
          reads_in_place_ ? ws_.keys_in_place + (group.keys - ws_.keys) : ws_.keys + (group.keys - ws_.keys_in_place);
      group.values = reads_in_place_ ? ws_.values_in_place + (group.values - ws_.values)
                                     : ws_.values + (group.values - ws_.values_in_place);
    }
    tile.grid_groups = row_.groups;
    tile.moves_by_one = moves_by_one_;
    tile.few = row_.few;
  }

  // BandTile::few of row r, whose groups then have no padding.
  int64_t few_of(int64_t r, int64_t groups) {
    BandGroup<T>* first = groups_of(r);
    int64_t keys = 0;
    for (int64_t g = 0; g < groups; ++g) keys += first[g].lines * (first[g].end[0] - first[g].begin[0]);
    if (keys > kernels_.lanes) return 0;
    for (int64_t g = 0; g < groups; ++g) first[g].width = first[g].end[0] - first[g].begin[0];
    return keys;
  }

  // lines[i]: where the table's entry for query 0 of the tile and position 0 of the i-th key line of row r is, or would
  // be. Works for the table of bias and for that of its gradient.
  template <class Entry>
  void point_at_bias(const Column& column, const BandBlock& block, int64_t r, Entry* table, int64_t t,
                     Entry** lines) const {
    const int64_t* strides = modifiers_.bias_strides;
    const int64_t* center = modifiers_.bias_center;
    const int last = rank_ - 1;
    const int64_t origin = column.last.table->intervals[static_cast<size_t>(column.strip->begin)].start;
    const int64_t start = origin - column.strip->begin - t + center[last];
    this->for_each_line(column, block.plane, block.row + r, [&](int64_t z, int64_t y, int64_t) {
      int64_t at = start;
      if (rank_ >= 2) at += (y - (block.row + r) + center[rank_ - 2]) * strides[rank_ - 2];
      if (rank_ == 3) at += (z - block.plane + center[0]) * strides[0];
      *lines++ = table + at;
    });
  }

  // Along an order: calls visit(entry, row, p) for each pair of the tile: its place in a head's table, the query's row
  // of bias_rows, and the position there.
  template <class Visit>
  void for_each_bias(const Column& column, int64_t t, int64_t queries, Visit visit) const {
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t query = modifiers_.cells[column.last.near_token(column.strip->begin + t + i)];
      for (int64_t p = ws_.begin[t + i]; p < ws_.end[t + i]; ++p)
        visit(ws_.cells[p] - query + modifiers_.bias_middle, i * ws_.bias_step, p);
    }
  }

  void spread_bias(const Column& column, const T* table, int64_t t, int64_t queries) {
    for_each_bias(column, t, queries,
                  [&](int64_t entry, int64_t row, int64_t p) { ws_.bias_rows[row + p] = table[entry]; });
    ws_.bias[0] = ws_.bias_rows;
  }

  // To each of the tiles of a call its share of what is upcoming. On arcs, where a strip takes many calls, that is some
  // rows of everything; elsewhere everything is on its way with the first call.
  void share_upcoming(const Column& column, int64_t head, int64_t t, BandTile<T>* tiles, int64_t count) {
    if (problem_.pattern.has_arcs()) return share_rows(column, head, t, tiles[0]);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t from = upcoming_ * r / count;
      tiles[r].upcoming = ws_.upcoming + from;
      tiles[r].upcoming_count = upcoming_ * (r + 1) / count - from;
      tiles[r].upcoming_rows = 0;
      for (int64_t i = 0; i < tiles[r].upcoming_count; ++i) tiles[r].upcoming_rows += tiles[r].upcoming[i].count;
    }
    upcoming_ = 0;
  }

 private:
  void share_rows(const Column& column, int64_t head, int64_t t, BandTile<T>& tile) {
    const int64_t group = problem_.shape.heads / problem_.shape.heads_kv, lanes = kernels_.lanes;
    const int64_t of_head = ceil_div(column.strip->size, lanes);
    const int64_t call = head % group * of_head + t / lanes;
    const double share_of_call = 1.0 / static_cast<double>(group * of_head);
    Upcoming* share = ws_.upcoming + ws_.most_upcoming;
    tile.upcoming = share;
    for (int64_t i = 0; i < upcoming_; ++i) {
      const Upcoming& whole = ws_.upcoming[i];
      const auto rows_before = [&](int64_t n) {  // rounded down, and all of them at the end
        return static_cast<int64_t>(static_cast<double>(whole.count * n) * share_of_call + 1e-6);
      };
      const int64_t from = rows_before(call), rows = rows_before(call + 1) - from;
      if (rows == 0) continue;
      *share++ = {whole.begin + from * whole.stride, whole.stride, rows, whole.cache_lines};
      tile.upcoming_rows += rows;
    }
    tile.upcoming_count = share - tile.upcoming;
  }

  bool moves_by_one_ = false, may_be_few_ = false;
  bool reads_in_place_ = false;  // the tile at hand
  struct ArcsOfRow {
    bool is_known = false, in_place = false;
    int64_t t = 0, groups = 0, few = 0;
  } row_;  // on arcs: of the last tile
};

}  // namespace nearfield::core
