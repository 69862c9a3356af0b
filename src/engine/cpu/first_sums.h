// Gradients of keys are sums over strips of queries, which overlap. Who writes a sum first stores it: nothing is set to
// zero beforehand and read again, which is most of the memory traffic where windows are small.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/cpu/column.h"
#include "engine/cpu/cpu.h"

namespace nearfield::core {

// Key lines that a slot can remember, a byte for each, over all heads of a task.
inline constexpr int64_t kMostKeyLines = int64_t{1} << 15;

// Sets each part's first_rows, and moves those that have any before the others.
void share_first_sums(const Problem& problem, std::vector<CpuPart>& parts);

// Key lines of one column at most, over all classes.
int64_t most_key_lines(const Plan& plan);

// Along the last axis: strips of one colour have no key in common, and colours run one after another.
class FirstStrips {
 public:
  explicit FirstStrips(const Plan& plan);
  int32_t colour_of(const Column& column) const;
  // Whether no earlier strip, nor the same one a lap before, has the column's position p.
  bool is_first(const Column& column, int64_t p) const;
  // Whether every key is some strip's.
  bool all() const;

 private:
  struct Table {
    std::vector<int32_t> strips;  // their colours
    std::vector<int32_t> keys;    // the first colour of those that have the key, -1: none has
  };
  const Table& table_of(const Column& column) const { return tables_[column.last.table == first_ ? 0 : 1]; }

  const AxisTable* first_;
  Table tables_[2];
};

}  // namespace nearfield::core
