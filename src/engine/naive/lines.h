// A query's window as lines of keys, and a key's queries as lines of queries: what the naive engine's loops go along.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/cpu/placement.h"
#include "engine/unfused/unfused.h"
#include "plan/slots.h"

namespace nearfield::core {

// `count` keys in adjacent slots from `slot` on: of the axes' tokens, the outer ones' fixed.
struct WindowLine {
  int64_t outer[2] = {0, 0};  // keys on the axes before the last
  int64_t key = 0;            // the first one on the last axis; the next are `dilation` on
  int64_t slot = 0, bias = 0, count = 0;
};

// The lines of one query, by slot. bias: the entries of a table of these strides, which is 0 along an order.
class WindowLines {
 public:
  explicit WindowLines(const UnfusedProblem& problem) : problem_(problem), dilation_(dilation_of(last_rule())) {}

  void move_to(int64_t token, const int64_t (&bias_strides)[kMaxGridRank]) {
    const Pattern& pattern = problem_.pattern;
    const int rank = pattern.rank;
    int64_t rest = pattern.order ? pattern.order->position_of(token) : token;
    for (int a = rank - 1; a >= 0; --a) {
      const int64_t length = pattern.order ? problem_.shape.tokens() : problem_.shape.grid[a];
      const int64_t at = rest % length;
      rest /= length;
      if (at != at_[a]) count_[a] = spans_seen(pattern.axes[a], at_[a] = at, spans_[a]);
    }
    lines_.clear();
    WindowLine line;
    add(0, line, bias_strides);
  }
  const std::vector<WindowLine>& lines() const { return lines_; }
  int64_t dilation() const { return dilation_; }

  // Elements from (batch 0, head 0) to a line's key number i.
  int64_t locate(const Placement& tensor, const WindowLine& line, int64_t i) const {
    const int64_t key = line.key + i * dilation_;
    if (tensor.has_order()) return tensor.along(key);
    const int last = problem_.pattern.rank - 1;
    int64_t element = key * tensor.stride(last);
    for (int a = 0; a < last; ++a) element += line.outer[a] * tensor.stride(a);
    return element;
  }
  // Elements between its keys; without an order.
  int64_t step(const Placement& tensor) const { return dilation_ * tensor.stride(problem_.pattern.rank - 1); }

 private:
  const AxisRule& last_rule() const { return problem_.pattern.axes[problem_.pattern.rank - 1]; }

  void add(int axis, WindowLine line, const int64_t (&bias)[kMaxGridRank]) {
    const int64_t slot = line.slot * problem_.slots[axis], entry = line.bias;
    const bool is_last = axis == problem_.pattern.rank - 1;
    const int64_t dilation = is_last ? 1 : dilation_of(problem_.pattern.axes[axis]);
    for (int i = 0; i < count_[axis]; ++i) {
      const SlotSpan& span = spans_[axis][i];
      if (is_last) {
        line.slot = slot + span.slot;
        line.bias = entry + span.bias * bias[axis];
        line.key = span.key;
        line.count = span.count;
        lines_.push_back(line);
        continue;
      }
      for (int64_t j = 0; j < span.count; ++j) {
        line.slot = slot + span.slot + j;
        line.bias = entry + (span.bias + j) * bias[axis];
        line.outer[axis] = span.key + j * dilation;
        add(axis + 1, line, bias);
      }
    }
  }

  const UnfusedProblem& problem_;
  const int64_t dilation_;
  int64_t at_[kMaxGridRank] = {-1, -1, -1};
  SlotSpan spans_[kMaxGridRank][2];
  int count_[kMaxGridRank] = {};
  std::vector<WindowLine> lines_;
};

}  // namespace nearfield::core
