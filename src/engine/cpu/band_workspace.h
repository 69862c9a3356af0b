// What the band kernel's drivers need per slot: how large the ring of packed key lines is, and where everything lies.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/cpu/driver.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/modifiers.h"
#include "engine/problem.h"
#include "plan/plan.h"

namespace nearfield::core {

// The scores of all query rows of one call should leave room in L1 for the key lines.
inline constexpr int64_t kScoresTogetherBytes = 16 * 1024;

// The largest of everything over all classes: what scratch memory must hold. The outer axes of a grid of rank 1 to 3
// are treated as two, planes and rows, absent ones of length 1.
struct BandExtent {
  int64_t seen[2] = {1, 1};  // key planes and rows of one query line
  int64_t rows = 1;          // query rows that go through the kernel together
  int64_t ring[2] = {1, 1};  // key planes and rows that these see
  int64_t positions = 0;     // of a packed line: the hull of a strip's windows
  int64_t longest = 0;       // window on the last axis
  int64_t strip = 0;
  // Windows of a query: one for all key lines. On the sphere one for each half-width that the part's latitudes have.
  int64_t windows = 1, least_half_width = 0;
  int64_t lines() const { return seen[0] * seen[1]; }
  int64_t slots() const { return ring[0] * ring[1]; }

  BandExtent(const Pattern& pattern, const CpuPart& part, int64_t lanes, int64_t element_size) {
    const Plan& plan = *part.plan;
    const int last = plan.rank() - 1;
    if (pattern.has_arcs()) take_half_widths(pattern.sphere->reach, part);
    for (int a = 0; a <= last; ++a) {
      int64_t& most = a == last ? longest : seen[a + 2 - last];
      for (const AxisTable& table : plan.axis(a).tables)
        for (const Interval& interval : table.intervals) most = std::max(most, interval.length);
    }
    for (const AxisTable& table : plan.axis(last).tables)
      for (const AxisTile& tile : table.tiles) {
        const Interval& first = table.intervals[static_cast<size_t>(tile.begin)];
        const Interval& end = table.intervals[static_cast<size_t>(tile.begin + tile.size - 1)];
        positions = std::max(positions, end.end() - first.start);
        strip = std::max(strip, tile.size);
      }
    const int64_t score_bytes = lanes * lines() * round_up(longest, lanes) * element_size;
    if (last > 0 && !pattern.has_arcs())  // there strips are long, and share their lines among their own queries
      rows = std::clamp<int64_t>(kScoresTogetherBytes / std::max<int64_t>(score_bytes, 1), 1, kMostBandTiles);
    ring[0] = seen[0];
    ring[1] = seen[1];
    if (rows > 1) ring[1] = longest_hull(plan.axis(last - 1));
  }

 private:
  void take_half_widths(const SphereReach& reach, const CpuPart& part) {
    int64_t least = reach.arc().whole_circle(), most = 0;
    for (int64_t latitude = part.first; latitude < part.end; ++latitude)
      for (const int64_t half_width : reach.half_widths(latitude)) {
        least = std::min(least, half_width);
        most = std::max(most, half_width);
      }
    least_half_width = std::min(least, most);
    windows = most - least_half_width + 1;
  }

  // Key rows that `rows` adjacent query rows see between them.
  int64_t longest_hull(const PlanAxis& axis) const {
    int64_t longest_so_far = 1;
    for (const AxisTable& table : axis.tables)
      for (int64_t y = 0; y < table.near; ++y) {
        const Interval& end = table.intervals[static_cast<size_t>(std::min(y + rows, table.near) - 1)];
        longest_so_far = std::max(longest_so_far, end.end() - table.intervals[static_cast<size_t>(y)].start);
      }
    return longest_so_far;
  }
};

// A key line in the ring, by its un-reduced plane and row.
struct LineTag {
  int64_t plane = INT64_MIN, row = INT64_MIN;  // nothing packed
  bool operator==(const LineTag&) const = default;
};

// Key/value heads that walk a strip together, each with a ring of its own: heads of one token share its pages and often
// its cache lines. Their rings should all stay in the L2 cache.
inline constexpr int64_t kRingsTogetherBytes = 320 * 1024;

// What lies in a slot of the ring beside packed keys and values: elements from the slot's begin, -1 if absent.
struct SlotLayout {
  int64_t values = 0, log_weights = -1, weightless = -1, dkeys = -1, dvalues = -1, dlog_weights = -1, size = 0;

  SlotLayout(int64_t positions, int64_t key_stride, int64_t value_stride, int64_t lanes, bool weighted,
             const GradientsWanted& wanted) {
    const auto take = [&](int64_t count) {
      const int64_t at = size;
      size += round_up(count, lanes);
      return at;
    };
    take(positions * key_stride);
    values = take(positions * value_stride);
    if (weighted) log_weights = take(positions + lanes);
    if (weighted && wanted.key_weights) weightless = take(positions + lanes);
    if (wanted.key) dkeys = take(positions * key_stride);
    if (wanted.value) dvalues = take(positions * value_stride);
    if (wanted.key_weights) dlog_weights = take(positions);
  }
  int64_t gradients() const { return dkeys >= 0 ? dkeys : dvalues >= 0 ? dvalues : dlog_weights; }
};

template <class T>
struct BandWorkspace {
  int64_t key_stride, value_stride, width, row, most_upcoming, heads;
  SlotLayout slot;
  // ring [heads][slots][slot.size], tags [heads][slots], additional [heads]: M packed keys, M values, and likewise
  // their gradients; the rest once for each of `rows`
  T *ring, *additional, *query, *out, *scores, *logsumexp;
  T* bias_rows;  // along an order [lanes][bias_step]: of each query, by positions
  const T **keys, **values, **keys_in_place, **values_in_place, **slot_lines, **log_weights, **bias, **weightless,
      **additional_lines;
  LineTag* tags;
  Upcoming* upcoming;
  int32_t *begin, *end;  // [windows][strip]: of the strip
  int32_t *none, *all;   // of the additional keys
  int64_t* widths;       // [windows]: the longest of them, rounded up to whole vectors
  BandGroup<T>* groups;  // [rows][row_groups]
  int64_t row_groups;
  int64_t *key_offsets, *value_offsets, *query_offsets, *out_offsets, *logsumexp_offsets, *token_offsets;
  int32_t* cells;  // along an order: of the strip's positions, as in SharedModifiers
  int64_t additional_size, bias_step;

  BandWorkspace(Arena& arena, const Problem& problem, const KernelTable<T>& kernels, const BandExtent& extent,
                const GradientsWanted& wanted)
      : key_stride(round_up(problem.shape.head_dim, kernels.lanes)),
        value_stride(round_up(problem.shape.head_dim_v, kernels.lanes)),
        width(round_up(extent.longest, kernels.lanes)),
        slot(extent.positions, key_stride, value_stride, kernels.lanes, has_key_weights(problem), wanted) {
    const int64_t lanes = kernels.lanes, more = problem.shape.additional;
    row_groups = (problem.pattern.has_arcs() ? extent.lines() : 1) + (more > 0 ? 1 : 0);
    row = extent.lines() * width + round_up(more, lanes);
    most_upcoming = 3 * extent.rows + 8 * extent.slots();  // all of a block
    const bool has_order = problem.pattern.order != nullptr;
    if (has_order) most_upcoming += 4 * extent.positions + 3 * lanes;
    additional_size = (wanted.any() ? 2 : 1) * more * (key_stride + value_stride);
    const int64_t ring_bytes = (extent.slots() * slot.size + additional_size) * static_cast<int64_t>(sizeof(T));
    heads = std::clamp<int64_t>(kRingsTogetherBytes / std::max<int64_t>(ring_bytes, 1), 1,
                                std::max<int64_t>(problem.shape.heads_kv, 1));
    ring = arena.take<T>(heads * extent.slots() * slot.size);
    additional = arena.take<T>(heads * additional_size);
    query = arena.take<T>(extent.rows * lanes * key_stride);
    out = arena.take<T>(extent.rows * lanes * value_stride);
    scores = arena.take<T>(extent.rows * lanes * row);
    const bool spreads_bias = has_order && is_given(problem.modifiers.bias);
    bias_step = spreads_bias ? round_up(extent.positions, lanes) + lanes : 0;
    bias_rows = arena.take<T>(lanes * bias_step);
    cells = arena.take<int32_t>(spreads_bias ? extent.positions : 0);
    logsumexp = arena.take<T>(extent.rows * lanes);
    keys = arena.take<const T*>(extent.rows * extent.lines());
    values = arena.take<const T*>(extent.rows * extent.lines());
    keys_in_place = arena.take<const T*>(extent.rows * extent.lines());
    values_in_place = arena.take<const T*>(extent.rows * extent.lines());
    slot_lines = arena.take<const T*>(2 * heads * extent.slots());
    log_weights = arena.take<const T*>(extent.rows * extent.lines());
    bias = arena.take<const T*>(extent.rows * extent.lines());
    weightless = arena.take<const T*>(extent.rows * extent.lines());
    additional_lines = arena.take<const T*>(4 * heads);
    tags = arena.take<LineTag>(heads * extent.slots());
    upcoming = arena.take<Upcoming>((problem.pattern.has_arcs() ? 2 : 1) * most_upcoming);  // and a call's share of it
    begin = arena.take<int32_t>(extent.windows * extent.strip);
    end = arena.take<int32_t>(extent.windows * extent.strip);
    widths = arena.take<int64_t>(extent.windows);
    groups = arena.take<BandGroup<T>>(extent.rows * row_groups);
    none = arena.take<int32_t>(lanes);
    all = arena.take<int32_t>(lanes);
    key_offsets = arena.take<int64_t>(extent.positions);
    value_offsets = arena.take<int64_t>(extent.positions);
    token_offsets = arena.take<int64_t>(extent.positions);
    query_offsets = arena.take<int64_t>(extent.strip);
    out_offsets = arena.take<int64_t>(extent.strip);
    logsumexp_offsets = arena.take<int64_t>(extent.strip);
  }
};

}  // namespace nearfield::core
