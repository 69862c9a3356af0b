// The ring of packed key lines that a strip of queries walks with: every key line that it meets is packed once, in the
// kernel's type. The plan gives, per axis, the key lines of a query line and one interval per query, both un-reduced on
// a wrapped axis: the ring is indexed by those, so that a window across the seam is as contiguous as any other.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/cpu/band_workspace.h"
#include "engine/cpu/column.h"
#include "engine/cpu/driver.h"
#include "engine/cpu/foresight.h"
#include "engine/cpu/lines_in_place.h"
#include "engine/cpu/modifiers.h"

namespace nearfield::core {

// Query rows row .. row + count of one plane, and how many key lines each sees.
struct BandBlock {
  int64_t plane, row, count;
  int64_t lines[kMostBandTiles];
};

// Where a walk is: an image and key/value heads.
struct BandHeads {
  int64_t batch = 0, first = 0, end = 0;  // key/value heads [first, end), at most as many as the workspace has rings
};

// What the same slot will probably walk next.
struct NextBand {
  Column column;
  BandHeads heads;
};

template <class T>
class BandRing {
 public:
  BandRing(const Problem& problem, const CpuChoice& choice, const CpuPart& part, const SharedModifiers<T>& modifiers,
           void* memory)
      : problem_(problem),
        modifiers_(modifiers),
        rank_(problem.shape.rank),
        kernels_(kernels_of<T>(choice.isa)),
        extent_(problem.pattern, part, kernels_.lanes, static_cast<int64_t>(sizeof(T))),
        arena_(memory),
        ws_(arena_, problem, kernels_, extent_, choice.wanted) {
    std::fill_n(ws_.none, kernels_.lanes, 0);
    std::fill_n(ws_.all, kernels_.lanes, static_cast<int32_t>(problem.shape.additional));
  }

 protected:
  // Where a strip's tokens lie on their lines: the same for every line and head.
  void start_column(const Column& column, const TensorView& out) {
    const Interval* intervals = column.last.table->intervals.data() + column.strip->begin;
    const int64_t origin = intervals[0].start, size = column.strip->size;
    positions_ = intervals[size - 1].end() - origin;
    if (problem_.pattern.has_arcs()) {
      place_arcs(column, origin);
    } else {
      for (int64_t t = 0; t < size; ++t) {
        ws_.begin[t] = static_cast<int32_t>(intervals[t].start - origin);
        ws_.end[t] = static_cast<int32_t>(intervals[t].end() - origin);
      }
      ws_.widths[0] = ws_.width;
    }
    query_offsets(column, problem_.query, ws_.query_offsets);
    query_offsets(column, out, ws_.out_offsets);
    const LinePlacement key = placement_of(problem_.key), value = placement_of(problem_.value);
    const Placement& tokens = modifiers_.tokens;
    seam_ = positions_;
    int64_t before = 0;
    for (int64_t p = 0; p < positions_; ++p) {
      const int64_t token = column.last.far_token(origin + p);
      ws_.key_offsets[p] = key.along(token);
      ws_.value_offsets[p] = value.along(token);
      ws_.token_offsets[p] = tokens.along(token);
      if (ws_.bias_step > 0) ws_.cells[p] = modifiers_.cells[token];
      if (p > 0 && token < before && seam_ == positions_) seam_ = p;
      before = token;
    }
    find_lines_in_place(size);
  }

  // Whether rows at the offsets of the strip's queries lie as the kernel's own scratch would.
  bool rows_in_place(const TensorView& tensor, const int64_t* offsets, int64_t stride, int64_t size) const {
    if (!lies_packed(tensor, stride)) return false;
    for (int64_t t = 1; t < size; ++t)
      if (offsets[t] - offsets[t - 1] != stride) return false;
    return true;
  }

  // Offsets of the strip's queries along their line.
  void query_offsets(const Column& column, const TensorView& tensor, int64_t* offsets) const {
    const LinePlacement placement = placement_of(tensor);
    for (int64_t t = 0; t < column.strip->size; ++t)
      offsets[t] = placement.along(column.last.near_token(column.strip->begin + t));
  }

  LinePlacement placement_of(const TensorView& tensor) const {
    return LinePlacement(problem_.pattern, tensor.strides + 1);
  }
  // The first element of a query line in a tensor (batch, *grid, heads, ...).
  std::byte* query_line(const Column& column, const TensorView& tensor, int64_t batch, int64_t head, int64_t plane,
                        int64_t row) const {
    int64_t at = batch * tensor.strides[0] + head * tensor.strides[rank_ + 1];
    if (problem_.pattern.rank == 3) at += column.outer[0].near_token(plane) * tensor.strides[1];
    if (problem_.pattern.rank >= 2) at += column.outer[1].near_token(row) * tensor.strides[problem_.pattern.rank - 1];
    return tensor.at(at);
  }
  std::byte* key_line(const Column& column, const TensorView& tensor, int64_t batch, int64_t head,
                      const LineTag& line) const {
    return tensor.at(batch * tensor.strides[0] + head * tensor.strides[rank_ + 1] +
                     placement_of(tensor).key_line(column, line.plane, line.row));
  }

  // The first token of a key line, in row-major numbers.
  int64_t token_line(const Column& column, const LineTag& line) const {
    int64_t strides[kMaxGridRank] = {};
    for (int a = 0; a < problem_.pattern.grid_rank(); ++a) strides[a] = modifiers_.tokens.stride(a);
    return LinePlacement(problem_.pattern, strides).key_line(column, line.plane, line.row);
  }

  // ---- the ring ----------------------------------------------------------------------------------------------------

  void enter(int64_t ring) {
    ring_ = ws_.ring + ring * extent_.slots() * ws_.slot.size;
    tags_ = ws_.tags + ring * extent_.slots();
    slot_lines_ = ws_.slot_lines + 2 * ring * extent_.slots();
  }
  void forget_lines() { std::fill_n(ws_.tags, ws_.heads * extent_.slots(), LineTag{}); }
  template <class Visit>
  void for_each_packed(Visit visit) {
    for (int64_t slot = 0; slot < extent_.slots(); ++slot)
      if (tags_[slot] != LineTag{}) visit(tags_[slot], ring_ + slot * ws_.slot.size);
  }

  // Calls visit(plane, row, slot) for each key line that the query line sees; planes and rows are un-reduced.
  template <class Visit>
  void for_each_line(const Column& column, int64_t plane, int64_t row, Visit visit) const {
    const Interval planes = column.outer[0].seen(plane), rows = column.outer[1].seen(row);
    const int64_t first_slot = floor_mod(rows.start, extent_.ring[1]);
    int64_t plane_slot = floor_mod(planes.start, extent_.ring[0]);
    for (int64_t z = planes.start; z < planes.end(); ++z) {
      int64_t row_slot = first_slot;
      for (int64_t y = rows.start; y < rows.end(); ++y) {
        visit(z, y, plane_slot * extent_.ring[1] + row_slot);
        if (++row_slot == extent_.ring[1]) row_slot = 0;
      }
      if (++plane_slot == extent_.ring[0]) plane_slot = 0;
    }
  }

  // The key lines that the block's row r sees, packed; row r of the workspace's pointers points at them. Returns how
  // many there are. retire(tag, slot) before a packed line is overwritten.
  template <class Retire>
  int64_t gather_lines(const Column& column, const BandBlock& block, int64_t r, int64_t batch, int64_t kv_head,
                       Retire retire) {
    const int64_t first = r * extent_.lines();
    int64_t count = 0;
    for_each_line(column, block.plane, block.row + r, [&](int64_t z, int64_t y, int64_t slot) {
      T* packed = ring_ + slot * ws_.slot.size;
      if (const LineTag tag{z, y}; tags_[slot] != tag) {
        if (tags_[slot] != LineTag{}) retire(tags_[slot], packed);
        tags_[slot] = tag;
        pack_line(column, batch, kv_head, tag, slot);
      }
      const int64_t i = first + count++;
      ws_.keys[i] = packed;
      ws_.values[i] = packed + ws_.slot.values;
      if (in_place_.any()) {
        ws_.keys_in_place[i] = slot_lines_[2 * slot];
        ws_.values_in_place[i] = slot_lines_[2 * slot + 1];
      }
      if (ws_.slot.log_weights >= 0) ws_.log_weights[i] = packed + ws_.slot.log_weights;
      if (ws_.slot.weightless >= 0) ws_.weightless[i] = packed + ws_.slot.weightless;
    });
    return count;
  }

  // ---- what comes next ---------------------------------------------------------------------------------------------

  // What the block that comes next will read and write: the key lines that are not in its ring yet, what those that
  // make room for them are added to, and the first queries of the strip. Of a line that wraps around, as far as its
  // second seam.
  void foresee_block(const Column& column, const BandBlock& next, int64_t batch, int64_t kv_head, int64_t ring) {
    if (in_place_.any()) return;  // rows side by side, which the hardware foresees
    const LineTag* tags = ws_.tags + ring * extent_.slots();
    const auto foresee_lines = [&](int64_t row, int64_t from) {
      for_each_line(column, next.plane, row, [&](int64_t z, int64_t y, int64_t slot) {
        const LineTag tag{z, y};
        if (y < from || tags[slot] == tag) return;
        const int64_t beyond = std::min(positions_ - seam_, seam_);
        for (const auto& [tensor, offsets] :
             {std::pair{&problem_.key, ws_.key_offsets}, std::pair{&problem_.value, ws_.value_offsets}}) {
          const std::byte* line = key_line(column, *tensor, batch, kv_head, tag);
          foresee(*tensor, line, offsets, seam_);
          foresee(*tensor, line, offsets + seam_, beyond);
        }
        if (tags[slot] == LineTag{}) return;
        for (int i = 0; i < retiring_count_; ++i) {
          const auto& [tensor, offsets] = retiring_[i];
          const std::byte* line = key_line(column, *tensor, batch, kv_head, tags[slot]);
          foresee(*tensor, line, offsets, seam_);
          foresee(*tensor, line, offsets + seam_, beyond);
        }
      });
    };
    foresee_lines(next.row, INT64_MIN);
    if (next.count > 1) foresee_lines(next.row + next.count - 1, column.outer[1].seen(next.row).end());
    const int64_t head = kv_head * (problem_.shape.heads / problem_.shape.heads_kv);
    const int64_t size = column.strip->size,
                  queries = problem_.pattern.has_arcs() ? size : std::min(kernels_.lanes, size);
    for (int64_t row = next.row; row < next.row + next.count; ++row)
      for (int i = 0; i < alongside_count_; ++i) {
        const auto& [tensor, offsets] = alongside_[i];
        foresee(*tensor, query_line(column, *tensor, batch, head, next.plane, row), offsets, queries);
      }
  }

  // What a slot will do next along an order: part `part` of `parts` of the rows that it will read and write first.
  void foresee_strip(const Column& column, const BandHeads& heads, const NextBand& next, int64_t part, int64_t parts) {
    const bool same = next.heads.batch == heads.batch && next.heads.first == heads.first &&
                      next.column.last.residue == column.last.residue;
    const NextTile tile(*next.column.last.table, same ? column.strip : nullptr, *next.column.strip,
                        next.column.last.residue, next.column.last.dilation);
    const int64_t kv_head = next.heads.first, head = kv_head * (problem_.shape.heads / problem_.shape.heads_kv);
    const auto view = [&](const TensorView& t, int64_t h) {
      return HeadView(t, problem_.pattern, next.heads.batch, h);
    };
    UpcomingRows upcoming(ws_.upcoming + upcoming_, ws_.most_upcoming - upcoming_);
    tile.add_far(view(problem_.key, kv_head), upcoming, part, parts);
    tile.add_far(view(problem_.value, kv_head), upcoming, part, parts);
    for (int i = 0; i < retiring_count_; ++i) tile.add_far(view(*retiring_[i].tensor, kv_head), upcoming, part, parts);
    for (int i = 0; i < alongside_count_; ++i) tile.add_near(view(*alongside_[i].tensor, head), upcoming, part, parts);
    upcoming_ += upcoming.count();
  }

  // The positions that queries t .. t + queries of the strip see of any line, at most.
  std::pair<int64_t, int64_t> seen_together(int64_t t, int64_t queries) const {
    const int64_t widest = (extent_.windows - 1) * extent_.strip + t;
    return {ws_.begin[widest], ws_.end[widest + queries - 1]};
  }

  // Tensors that are read or written on the way, with the queries' tokens or, where lines retire to, the keys'.
  struct Alongside {
    const TensorView* tensor;
    const int64_t* offsets;  // of the strip's queries, or positions, along their line
  };

 private:
  // What the strip's queries see of a line, for each half-width that it may have.
  void place_arcs(const Column& column, int64_t origin) {
    const SphereArc& arc = problem_.pattern.sphere->reach.arc();
    const int64_t size = column.strip->size, first = column.strip->begin;
    for (int64_t i = 0; i < extent_.windows; ++i) {
      int32_t *begin = ws_.begin + i * extent_.strip, *end = ws_.end + i * extent_.strip;
      int64_t longest = 0;
      for (int64_t t = 0; t < size; ++t) {
        const Interval seen = arc.keys_of(extent_.least_half_width + i, first + t);
        begin[t] = static_cast<int32_t>(seen.start - origin);
        end[t] = static_cast<int32_t>(seen.end() - origin);
        longest = std::max(longest, seen.length);
      }
      ws_.widths[i] = round_up(longest, kernels_.lanes);
    }
  }

  // What the tiles of the strip can't read in place is packed. All of them together see what the widest window does.
  void find_lines_in_place(int64_t size) {
    in_place_ = {};
    if (!problem_.pattern.has_arcs()) return;  // short lines are faster packed: a 7x7 window of 64 channels by 6%
    if (!lies_packed(problem_.key, ws_.key_stride) || !lies_packed(problem_.value, ws_.value_stride)) return;
    if (ws_.slot.log_weights >= 0) return;
    in_place_ = LinesInPlace(positions_, ws_.key_offsets, ws_.key_stride, ws_.value_offsets, ws_.value_stride);
    for (int64_t t = 0; t < size; t += kernels_.lanes) {
      const auto [begin, end] = seen_together(t, std::min(kernels_.lanes, size - t));
      in_place_.see(begin, end);
    }
  }

  void pack_line(const Column& column, int64_t batch, int64_t kv_head, const LineTag& tag, int64_t slot_index) {
    const SlotLayout& slot = ws_.slot;
    T* packed = ring_ + slot_index * slot.size;
    const auto load = [&](const TensorView& tensor, const int64_t* offsets, T* rows, int64_t stride) {
      std::byte* line = key_line(column, tensor, batch, kv_head, tag);
      const auto part = [&](int64_t begin, int64_t end) {
        if (begin < end)
          kernels_.load_rows(line, tensor.dtype, offsets + begin, end - begin, tensor.sizes[rank_ + 2], T{1},
                             rows + begin * stride, stride);
      };
      if (!in_place_.any()) return part(0, positions_), static_cast<const T*>(nullptr);
      part(0, in_place_.low());
      part(in_place_.high(), positions_);
      const int64_t start = in_place_.start();
      return reinterpret_cast<const T*>(line) + (offsets[start] - start * stride);
    };
    const T* keys = load(problem_.key, ws_.key_offsets, packed, ws_.key_stride);
    const T* values = load(problem_.value, ws_.value_offsets, packed + slot.values, ws_.value_stride);
    slot_lines_[2 * slot_index] = keys;
    slot_lines_[2 * slot_index + 1] = values;
    if (slot.log_weights >= 0) weigh_line(column, batch, tag, packed);
    if (slot.gradients() >= 0) std::fill(packed + slot.gradients(), packed + slot.size, T{0});
  }

  // Masked keys become rows of zeros: whatever they hold, they contribute nothing.
  void weigh_line(const Column& column, int64_t batch, const LineTag& tag, T* packed) {
    const int64_t line = token_line(column, tag);
    const T* weights = modifiers_.log_weights_of(batch) + line;
    T* log_weights = packed + ws_.slot.log_weights;
    for (int64_t p = 0; p < positions_; ++p) {
      log_weights[p] = weights[ws_.token_offsets[p]];
      if (log_weights[p] != kMaskedScore<T>) continue;
      std::fill_n(packed + p * ws_.key_stride, ws_.key_stride, T{0});
      std::fill_n(packed + ws_.slot.values + p * ws_.value_stride, ws_.value_stride, T{0});
    }
    std::fill_n(log_weights + positions_, kernels_.lanes, T{0});
    if (ws_.slot.weightless < 0) return;
    T* weightless = packed + ws_.slot.weightless;
    std::fill_n(weightless, positions_ + kernels_.lanes, T{0});
    if (modifiers_.weightless == nullptr) return;
    for (int64_t p = 0; p < positions_; ++p)
      weightless[p] = modifiers_.weightless_of(batch)[line + ws_.token_offsets[p]];
  }

  // `count` rows of a tensor, in as many pieces as there are runs of evenly spaced offsets.
  void foresee(const TensorView& tensor, const std::byte* line, const int64_t* offsets, int64_t count) {
    const int64_t size = size_of(tensor.dtype), cache_lines = (tensor.sizes[rank_ + 2] * size + 63) / 64;
    for (int64_t i = 0, next = 0; i < count && upcoming_ < ws_.most_upcoming; i = next) {
      next = i + 1;
      const int64_t step = next < count ? offsets[next] - offsets[i] : 0;
      while (next < count && offsets[next] - offsets[next - 1] == step) ++next;
      ws_.upcoming[upcoming_++] = {line + offsets[i] * size, step * size, next - i, cache_lines};
    }
  }

 protected:
  const Problem& problem_;
  const SharedModifiers<T>& modifiers_;
  const int rank_;  // of the grid
  const KernelTable<T>& kernels_;
  const BandExtent extent_;
  Arena arena_;
  BandWorkspace<T> ws_;
  Alongside alongside_[3] = {};
  int alongside_count_ = 0;
  Alongside retiring_[2] = {};
  int retiring_count_ = 0;
  int64_t positions_ = 0;  // of a packed line, in this column
  int64_t seam_ = 0;       // where these wrap around, else positions_
  int64_t upcoming_ = 0;   // entries of ws_.upcoming
  LinesInPlace in_place_;

 private:
  T* ring_ = nullptr;  // of the current head
  LineTag* tags_ = nullptr;
  const T** slot_lines_ = nullptr;  // [slots][2]: position 0 of the line's keys and values, where they are in place
};

}  // namespace nearfield::core
