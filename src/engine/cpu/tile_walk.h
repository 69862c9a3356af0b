// What forward and backward of the tile kernel share: for each tile of queries, the plan's steps, each as a list of key
// rows with, on partial steps, one bit per query. Keys and values are read where they lie if they have the kernel's
// type, else converted step by step.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "engine/cpu/driver.h"
#include "engine/cpu/foresight.h"
#include "engine/cpu/key_ring.h"
#include "engine/cpu/modifiers.h"
#include "engine/cpu/tile_workspace.h"
#include "plan/plan.h"

namespace nearfield::core {

// Steps that go through the kernel together.
using Bundle = std::span<const Step>;

// A tile's steps, and how they are bundled. Reused from tile to tile.
struct TileSteps {
  StepList steps;
  std::vector<Bundle> bundles;
};

// Tiles [first, end) of the part's plan are its own.
struct TileRange {
  int64_t first = 0, end = 0;
};
inline TileRange tiles_of(const CpuPart& part) {
  const int64_t all = part.plan->tile_count();
  if (!part.plan->has_arcs()) return {0, all};
  const int64_t on_latitude = part.plan->axis(1).tiles();
  return {part.first * on_latitude, std::min(all / on_latitude, part.end) * on_latitude};
}

// Memory offsets of a box of tokens, last axis fastest.
inline int64_t box_offsets(const Plan& plan, const Tile& tile, const int64_t (&first)[kMaxGridRank],
                           const int64_t (&size)[kMaxGridRank], const Placement& placement, int64_t* offsets) {
  if (placement.has_order()) {
    for (int64_t x = 0; x < size[0]; ++x)
      offsets[x] = placement.along(locate(first[0] + x, tile.residue[0], plan.axis(0).dilation));
    return size[0];
  }
  int64_t count = 1;
  offsets[0] = 0;
  for (int a = 0; a < plan.rank(); ++a) {
    const int64_t dilation = plan.axis(a).dilation, stride = placement.stride(a);
    const int64_t base = locate(first[a], tile.residue[a], dilation) * stride, step = dilation * stride;
    for (int64_t i = count - 1; i >= 0; --i)  // from the end: row i spreads over [i*size, (i+1)*size)
      for (int64_t x = size[a] - 1; x >= 0; --x) offsets[i * size[a] + x] = offsets[i] + base + x * step;
    count *= size[a];
  }
  return count;
}

template <class T>
class TileWalk {
 public:
  TileWalk(const Problem& problem, const CpuChoice& choice, const CpuPart& part, const SharedModifiers<T>& modifiers,
           void* memory)
      : problem_(problem),
        modifiers_(modifiers),
        plan_(*part.plan),
        kernels_(kernels_of<T>(choice.isa)),
        arena_(memory),
        ws_(arena_, problem, kernels_),
        ring_(arena_, problem, plan_, ws_.key_stride, ws_.value_stride) {
    std::fill_n(ws_.zeros, std::max(problem.shape.head_dim, problem.shape.head_dim_v), T{0});
  }

 protected:
  int64_t tile_box(const Tile& tile, const Placement& placement, int64_t* offsets) const {
    int64_t first[kMaxGridRank] = {}, size[kMaxGridRank] = {};
    for (int a = 0; a < plan_.rank(); ++a) {
      first[a] = tile.begin(a);
      size[a] = tile.size(a);
    }
    return box_offsets(plan_, tile, first, size, placement, offsets);
  }

  // The tile's rows of a query tensor, times `factor`: as rows, zero-padded, and transposed. Returns how many.
  int64_t load_tile(const HeadView& tensor, const Tile& tile, T factor, int64_t stride, T* rows, T* columns_first) {
    const int64_t queries = tile_box(tile, tensor.placement, ws_.query_offsets);
    kernels_.load_rows(tensor.data, tensor.dtype, ws_.query_offsets, queries, tensor.channels, factor, rows, stride);
    std::fill(rows + queries * stride, rows + kernels_.tile_queries * stride, T{0});
    kernels_.transpose_tile(rows, stride, stride, columns_first);
    return queries;
  }

  // Its part of what is upcoming to bundle s of `count`.
  void share_upcoming(size_t s, size_t count, TileStep<T>& step) const {
    const auto at = static_cast<int64_t>(s), steps = static_cast<int64_t>(count);
    step.upcoming = ws_.upcoming + upcoming_ * at / steps;
    step.upcoming_count = upcoming_ * (at + 1) / steps - upcoming_ * at / steps;
  }

  // Along an order: the tile after `tile`, numbered index + 1, if there is one before `end` in its residue class.
  std::optional<NextTile> next_tile(const Tile& tile, int64_t index, int64_t end) const {
    if (!problem_.pattern.order || index + 1 >= end) return {};
    const Tile next = plan_.tile(index + 1);
    if (next.residue[0] != tile.residue[0]) return {};
    return NextTile(*tile.tables[0], tile.axes[0], *next.axes[0], tile.residue[0], plan_.axis(0).dilation);
  }

  // Memory offsets of a bundle's keys; returns how many there are.
  int64_t bundle_offsets(const Tile& tile, Bundle bundle, const Placement& placement) {
    int64_t count = 0;
    for (const Step& step : bundle) {
      int64_t first[kMaxGridRank] = {}, size[kMaxGridRank] = {};
      for (int a = 0; a < plan_.rank(); ++a) {
        first[a] = step.pieces[a].first;
        size[a] = step.pieces[a].size;
      }
      count += box_offsets(plan_, tile, first, size, placement, ws_.offsets + count);
    }
    return count;
  }

  // Pointers to `count` rows at ws_.offsets: into the caller's memory, or, converted, into `packed`.
  void point_at_rows(const TensorView& tensor, std::byte* data, int64_t count, int64_t channels, T* packed,
                     int64_t stride, const T** rows) {
    if (in_place(tensor)) {
      for (int64_t i = 0; i < count; ++i)
        rows[i] = reinterpret_cast<const T*>(data + ws_.offsets[i] * size_of(tensor.dtype));
    } else {
      kernels_.load_rows(data, tensor.dtype, ws_.offsets, count, channels, T{1}, packed, stride);
      for (int64_t i = 0; i < count; ++i) rows[i] = packed + i * stride;
    }
  }

  // A bundle's keys and values and what hides or modifies them, ready for the kernel.
  TileStep<T> step_of(const Tile& tile, Bundle bundle, const HeadView& key, const HeadView& value, int64_t batch,
                      int64_t head) {
    const int64_t count = point_at_keys(tile, bundle, key, value);
    TileStep<T> result = empty_step(count);
    if (std::any_of(bundle.begin(), bundle.end(), [](const Step& step) { return !step.full; })) {
      for_each_step(bundle, [&](const Step& step, int64_t first) { mark_visible(tile, step, ws_.visible + first); });
      result.visible = ws_.visible;
    }
    if (modifiers_.log_weights != nullptr) {
      bundle_offsets(tile, bundle, modifiers_.tokens);
      const T* weights = modifiers_.log_weights_of(batch);
      for (int64_t i = 0; i < count; ++i) {
        ws_.log_weights[i] = weights[ws_.offsets[i]];
        if (ws_.log_weights[i] == kMaskedScore<T>) ws_.keys[i] = ws_.values[i] = ws_.zeros;  // whatever they hold
      }
      result.log_weights = ws_.log_weights;
    } else if (modifiers_.line_weights != nullptr) {
      for_each_step(bundle, [&](const Step& step, int64_t first) { weigh_lines(step, ws_.log_weights + first); });
      result.log_weights = ws_.log_weights;
    }
    if (modifiers_.bias != nullptr) {
      for_each_step(bundle, [&](const Step& step, int64_t first) {
        index_bias(tile, step, ws_.bias_index + first * kernels_.tile_queries);
      });
      const T* table = modifiers_.bias + head * modifiers_.bias_head;
      for (int64_t i = 0; i < count * kernels_.tile_queries; ++i) ws_.bias[i] = table[ws_.bias_index[i]];
      result.bias = ws_.bias;
    }
    return result;
  }

  // ws_.keys and ws_.values at the rows of the bundle's keys; returns how many there are.
  int64_t point_at_keys(const Tile& tile, Bundle bundle, const HeadView& key, const HeadView& value) {
    const Shape& shape = problem_.shape;
    if (ring_.slots() > 0) {
      const int64_t residue = tile.residue[0], dilation = plan_.axis(0).dilation;
      const auto at = [&](const Placement& placement) {
        return [&placement, residue, dilation](int64_t x) { return placement.along(locate(x, residue, dilation)); };
      };
      return for_each_step(bundle, [&](const Step& step, int64_t first) {
        ring_.point(key, value, kernels_, residue, step.pieces[0].first, step.pieces[0].size, at(key.placement),
                    at(value.placement), ws_.offsets, ws_.keys + first, ws_.values + first);
      });
    }
    const int64_t count = bundle_offsets(tile, bundle, key.placement);
    point_at_rows(problem_.key, key.data, count, shape.head_dim, ws_.packed_keys, ws_.key_stride, ws_.keys);
    bundle_offsets(tile, bundle, value.placement);
    point_at_rows(problem_.value, value.data, count, shape.head_dim_v, ws_.packed_values, ws_.value_stride, ws_.values);
    return count;
  }

  // Calls visit(step, first of its keys); returns how many keys there are.
  template <class Visit>
  int64_t for_each_step(Bundle bundle, Visit visit) const {
    int64_t first = 0;
    for (const Step& step : bundle) {
      visit(step, first);
      int64_t keys = 1;
      for (int a = 0; a < plan_.rank(); ++a) keys *= step.pieces[a].size;
      first += keys;
    }
    return first;
  }

  // A step is a call of the kernel; on the sphere, where each circle of latitude has steps of its own, as many as fill
  // one. (Elsewhere they are full enough, and two might hold the same key, on two laps: gradients would collide.)
  void expand(const Tile& tile, TileSteps& of) const {
    plan_.expand(tile, of.steps);
    of.bundles.clear();
    int64_t in_last = kStepKeys;
    size_t first = 0;
    for (size_t i = 0; i < of.steps.size(); ++i) {
      int64_t keys = 1;
      for (int a = 0; a < plan_.rank(); ++a) keys *= of.steps[i].pieces[a].size;
      if (!plan_.has_arcs() || in_last + keys > kStepKeys) {
        in_last = 0;
        first = i;
        of.bundles.emplace_back();
      }
      in_last += keys;
      of.bundles.back() = Bundle(of.steps).subspan(first, i + 1 - first);
    }
  }

  // Additional keys [first, first + at most kStepKeys).
  TileStep<T> additional_step(int64_t first, int64_t batch, int64_t kv_head, int64_t most = kStepKeys) {
    const Shape& shape = problem_.shape;
    const int64_t count = std::min(most, shape.additional - first);
    const auto point = [&](const TensorView& tensor, int64_t channels, T* packed, int64_t stride, const T** rows) {
      const int64_t base = batch * tensor.strides[0] + kv_head * tensor.strides[2];
      for (int64_t i = 0; i < count; ++i) ws_.offsets[i] = base + (first + i) * tensor.strides[1];
      point_at_rows(tensor, tensor.data, count, channels, packed, stride, rows);
    };
    const Modifiers& m = problem_.modifiers;
    point(m.additional_keys, shape.head_dim, ws_.packed_keys, ws_.key_stride, ws_.keys);
    point(m.additional_values, shape.head_dim_v, ws_.packed_values, ws_.value_stride, ws_.values);
    return empty_step(count);
  }

  // only: the query that counts. Keys that it doesn't see are replaced by zeros, whatever they hold.
  void hide_from(int64_t only, TileStep<T>& step) {
    if (step.visible == nullptr) return;
    for (int64_t i = 0; i < step.count; ++i) {
      const bool seen = (step.visible[i] >> only & 1) != 0;
      ws_.kept_keys[i] = seen ? ws_.keys[i] : ws_.zeros;
      ws_.kept_values[i] = seen ? ws_.values[i] : ws_.zeros;
    }
    step.keys = ws_.kept_keys;
    step.values = ws_.kept_values;
  }

 private:
  // On the sphere: of the latitudes of a step's keys.
  void weigh_lines(const Step& step, T* log_weights) const {
    const Piece &latitudes = step.pieces[0], &longitudes = step.pieces[1];
    for (int64_t y = latitudes.first; y < latitudes.first + latitudes.size; ++y, log_weights += longitudes.size)
      std::fill_n(log_weights, longitudes.size, modifiers_.line_weights[y]);
  }

  TileStep<T> empty_step(int64_t count) {
    TileStep<T> step;
    step.count = count;
    step.head_dim = problem_.shape.head_dim;
    step.head_dim_v = problem_.shape.head_dim_v;
    step.query = ws_.query;
    step.keys = ws_.keys;
    step.values = ws_.values;
    step.softcap = modifiers_.softcap;
    step.scores = ws_.scores;
    step.maximum = ws_.maximum;
    step.sum = ws_.sum;
    step.accumulator = ws_.accumulator;
    return step;
  }

  // visible[key]: the queries of the tile that see it. Spans factorise, so bits are made per axis and combined.
  void mark_visible(const Tile& tile, const Step& step, uint32_t* visible) {
    int64_t count = 1;
    visible[0] = ~uint32_t{0};
    int64_t all = 1;
    for (int a = 0; a < plan_.rank(); ++a) all *= tile.size(a);
    int64_t inner = all;  // queries that share their coordinates on this axis and all before it
    for (int a = 0; a < plan_.rank(); ++a) {
      const int64_t queries = tile.size(a), keys = step.pieces[a].size, outer_block = inner;
      inner /= queries;
      uint32_t* bits = ws_.axis_bits + a * (kStepKeys + 1);
      std::fill_n(bits, keys + 1, uint32_t{0});
      for (int64_t x = 0; x < queries; ++x) {
        uint64_t shared = 0;
        for (int64_t block = 0; block < all; block += outer_block)
          shared |= ((uint64_t{1} << inner) - 1) << (block + x * inner);
        const auto lanes = static_cast<uint32_t>(shared);
        const Span span = step.spans[a][x];
        bits[span.low] ^= lanes;  // ends toggle: a running exclusive-or below turns them into intervals
        bits[span.high] ^= lanes;
        if (span.low > span.high) bits[0] ^= lanes;
      }
      for (int64_t y = 1; y < keys; ++y) bits[y] ^= bits[y - 1];
      for (int64_t i = count - 1; i >= 0; --i)
        for (int64_t y = keys - 1; y >= 0; --y) visible[i * keys + y] = visible[i] & bits[y];
      count *= keys;
    }
  }

  // bias_index[key][query]: the pair's entry in a head's table. Pairs outside of the window get some entry.
  void index_bias(const Tile& tile, const Step& step, int32_t* index) {
    if (modifiers_.cells != nullptr) return index_bias_along(tile, step, index);
    const int64_t lanes = kernels_.tile_queries;
    int64_t all = 1, count = 1;
    for (int a = 0; a < plan_.rank(); ++a) all *= tile.size(a);
    int64_t inner = all;  // queries that share their coordinate on this axis
    std::fill_n(index, lanes, 0);
    for (int a = 0; a < plan_.rank(); ++a) {
      const Piece& piece = step.pieces[a];
      const int64_t queries = tile.size(a), center = modifiers_.bias_center[a];
      inner /= queries;
      int32_t* axis = ws_.axis_bias + a * kStepKeys * lanes;
      for (int64_t y = 0; y < piece.size; ++y)
        for (int64_t t = 0; t < lanes; ++t) {
          const int64_t x = tile.begin(a) + (t < all ? t / inner % queries : 0);
          const int64_t offset = piece.first + y + piece.lap * tile.tables[a]->far - x;
          axis[y * lanes + t] =
              static_cast<int32_t>(clamp_to(offset + center, 0, 2 * center) * modifiers_.bias_strides[a]);
        }
      for (int64_t i = count - 1; i >= 0; --i)
        for (int64_t y = piece.size - 1; y >= 0; --y)
          for (int64_t t = 0; t < lanes; ++t)
            index[(i * piece.size + y) * lanes + t] = index[i * lanes + t] + axis[y * lanes + t];
      count *= piece.size;
    }
  }

  // The same along an order: an entry is what a key's cell is beyond a query's.
  void index_bias_along(const Tile& tile, const Step& step, int32_t* index) {
    const int64_t lanes = kernels_.tile_queries, dilation = plan_.axis(0).dilation, residue = tile.residue[0];
    const auto cell = [&](int64_t x) { return modifiers_.cells[locate(x, residue, dilation)]; };
    for (int64_t t = 0; t < lanes; ++t) {
      const int64_t query = cell(tile.begin(0) + (t < tile.size(0) ? t : 0)) - modifiers_.bias_middle;
      for (int64_t y = 0; y < step.pieces[0].size; ++y)
        index[y * lanes + t] =
            static_cast<int32_t>(clamp_to(cell(step.pieces[0].first + y) - query, 0, modifiers_.bias_head - 1));
    }
  }

 protected:
  const Problem& problem_;
  const SharedModifiers<T>& modifiers_;
  const Plan& plan_;
  const KernelTable<T>& kernels_;
  Arena arena_;
  TileWorkspace<T> ws_;
  KeyRing<T> ring_;
  int64_t upcoming_ = 0;  // entries of ws_.upcoming, fetched along the tile's steps
};

}  // namespace nearfield::core
