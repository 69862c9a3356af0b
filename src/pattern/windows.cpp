#include "pattern/windows.h"

#include <algorithm>
#include <cstddef>
#include <variant>
#include <vector>

#include "pattern/curve.h"

namespace nearfield::core {
namespace {

constexpr int64_t kAbsent = -1;

struct AxisSlot {
  int64_t key = kAbsent;  // token of the axis
  int64_t bias = 0;       // entry along the axis
};

// The slots of one query token of an axis.
template <class Rule>
void fill_axis(const Rule& rule, int64_t token, std::vector<AxisSlot>& slots) {
  const int64_t residue = token % rule.dilation, x = token / rule.dilation;
  const int64_t n = ceil_div(rule.keys - residue, rule.dilation);
  const Interval window = rule.keys_of(n, x);
  for (int64_t j = 0; j < static_cast<int64_t>(slots.size()); ++j) {
    AxisSlot& slot = slots[static_cast<size_t>(j)];
    slot = {};
    if (j >= window.length) continue;
    // A whole class begins with its key 0, which un-reduced intervals hold somewhere in their middle.
    const int64_t y = window.start + (window.length == n ? floor_mod(j - window.start, n) : j);
    slot = {floor_mod(y, n) * rule.dilation + residue, y - x + rule.kernel_size - 1};
  }
}

// What rows are made of, on all three axes; those beyond the rank have one token and one slot.
struct Axes {
  std::vector<AxisSlot> slots[kMaxGridRank];
  int64_t tokens[kMaxGridRank] = {1, 1, 1};
  int64_t entries[kMaxGridRank] = {1, 1, 1};  // of a bias table
};

void write_row(const Axes& axes, int64_t* keys, int64_t* bias_index) {
  int64_t slot = 0;
  for (const AxisSlot& s0 : axes.slots[0]) {
    for (const AxisSlot& s1 : axes.slots[1]) {
      for (const AxisSlot& s2 : axes.slots[2]) {
        const bool is_seen = s0.key >= 0 && s1.key >= 0 && s2.key >= 0;
        keys[slot] = is_seen ? (s0.key * axes.tokens[1] + s1.key) * axes.tokens[2] + s2.key : kAbsent;
        if (bias_index != nullptr)
          bias_index[slot] = is_seen ? (s0.bias * axes.entries[1] + s1.bias) * axes.entries[2] + s2.bias : kAbsent;
        ++slot;
      }
    }
  }
}

// Of the query at one position along an order: one axis of slots, turned from positions into tokens.
void write_row_along(const Pattern& pattern, int64_t position, std::vector<AxisSlot>& slots,
                     const int64_t (&extents)[kMaxGridRank], int64_t* keys, int64_t* bias_index) {
  std::visit([&](const auto& rule) { fill_axis(rule, position, slots); }, pattern.axes[0]);
  const TokenOrder& order = *pattern.order;
  int64_t query[kMaxGridRank], key[kMaxGridRank];
  order.coordinates_of(order.token_at(position), query);
  for (size_t slot = 0; slot < slots.size(); ++slot) {
    const bool is_seen = slots[slot].key >= 0;
    keys[slot] = is_seen ? order.token_at(slots[slot].key) : kAbsent;
    if (bias_index == nullptr) continue;
    bias_index[slot] = is_seen ? 0 : kAbsent;
    if (is_seen) order.coordinates_of(keys[slot], key);
    for (int a = 0; a < order.key.rank && is_seen; ++a)
      bias_index[slot] = bias_index[slot] * (2 * extents[a] - 1) + key[a] - query[a] + extents[a] - 1;
  }
}

// On the sphere: circle of latitude by circle.
void write_arcs(const Sphere& sphere, int64_t first, int64_t count, int64_t* keys) {
  const SphereArc& arc = sphere.reach.arc();
  for (int64_t i = first; i < first + count; ++i) {
    int64_t slot = 0;
    const Interval circles = sphere.reach.keys_of(i / arc.queries);
    for (int64_t k = circles.start; k < circles.end(); ++k) {
      const Interval seen = arc.keys_of(sphere.reach.half_width(i / arc.queries, k), i % arc.queries);
      for (int64_t y = seen.start; y < seen.end(); ++y) keys[slot++] = k * arc.keys + floor_mod(y, arc.keys);
    }
    std::fill(keys + slot, keys + sphere.most_keys, kAbsent);
    keys += sphere.most_keys;
  }
}

}  // namespace

void window_slots(const Pattern& pattern, int64_t (&slots)[kMaxGridRank]) {
  if (pattern.has_arcs()) {
    std::fill_n(slots, kMaxGridRank, int64_t{1});
    slots[0] = pattern.sphere->most_keys;
    return;
  }
  for (int a = 0; a < kMaxGridRank; ++a) {
    slots[a] = 1;
    if (a >= pattern.rank) continue;
    std::visit(
        [&](const auto& rule) {
          const int64_t n = ceil_div(rule.keys, rule.dilation);  // of the longest class, and a shorter one is of n - 1
          slots[a] = max_of(rule.longest_window(n), rule.longest_window(max_of(n - 1, 0)));
        },
        pattern.axes[a]);
  }
}

void weight_slots(const Pattern& pattern, int64_t (&slots)[kMaxGridRank]) {
  for (int a = 0; a < kMaxGridRank; ++a)
    slots[a] = a >= pattern.rank ? 1 : std::visit([](const auto& rule) { return rule.kernel_size; }, pattern.axes[a]);
}

void write_windows(const Pattern& pattern, int64_t first, int64_t count, int64_t* keys, int64_t* bias_index) {
  if (pattern.has_arcs()) return write_arcs(*pattern.sphere, first, count, keys);
  int64_t slots[kMaxGridRank];
  window_slots(pattern, slots);
  write_windows(pattern, slots, first, count, keys, bias_index);
}

void write_windows(const Pattern& pattern, const int64_t (&slots)[kMaxGridRank], int64_t first, int64_t count,
                   int64_t* keys, int64_t* bias_index) {
  Axes axes;
  int64_t row = 1;
  for (int a = 0; a < kMaxGridRank; ++a) {
    row *= slots[a];
    axes.slots[a].assign(static_cast<size_t>(slots[a]), {0, 0});
    if (a >= pattern.rank) continue;
    std::visit(
        [&](const auto& rule) {
          axes.tokens[a] = rule.keys;
          if (bias_index != nullptr) axes.entries[a] = 2 * rule.kernel_size - 1;
        },
        pattern.axes[a]);
  }
  int64_t extents[kMaxGridRank] = {1, 1, 1};
  if (pattern.order && bias_index != nullptr) bias_extents(pattern, extents);
  for (int64_t i = 0; i < count; ++i) {
    if (pattern.order) {
      write_row_along(pattern, pattern.order->position_of(first + i), axes.slots[0], extents, keys + i * row,
                      bias_index == nullptr ? nullptr : bias_index + i * row);
      continue;
    }
    int64_t rest = first + i;
    for (int a = pattern.rank - 1; a >= 0; --a) {
      std::visit([&](const auto& rule) { fill_axis(rule, rest % rule.queries, axes.slots[a]); }, pattern.axes[a]);
      rest /= axes.tokens[a];
    }
    write_row(axes, keys + i * row, bias_index == nullptr ? nullptr : bias_index + i * row);
  }
}

}  // namespace nearfield::core
