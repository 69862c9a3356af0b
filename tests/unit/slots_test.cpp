// Slots by a plan's steps and by lists of an axis, against the windows written out.
#include "plan/slots.h"

#include <gtest/gtest.h>

#include <vector>

#include "pattern/windows.h"
#include "plan/tiling.h"

namespace nearfield::core {
namespace {

struct Named {
  const char* name;
  Pattern pattern;
  std::vector<int64_t> grid;
};

NeighborhoodAxis axis(int64_t length, int64_t kernel_size, int64_t stride, int64_t dilation, bool causal,
                      Boundary boundary) {
  return {length, length, kernel_size, stride, dilation, causal, boundary};
}

std::vector<Named> patterns() {
  std::vector<Named> result;
  const auto add = [&](const char* name, std::vector<NeighborhoodAxis> axes) {
    Named each{name, {}, {}};
    each.pattern.rank = static_cast<int>(axes.size());
    for (size_t a = 0; a < axes.size(); ++a) {
      each.pattern.axes[a] = axes[a];
      each.grid.push_back(axes[a].queries);
    }
    result.push_back(each);
  };
  using enum Boundary;
  add("clamp", {axis(17, 5, 1, 1, false, clamp)});
  add("wrap", {axis(12, 5, 1, 2, false, wrap)});
  add("wrap, whole", {axis(12, 9, 2, 2, false, wrap)});
  add("cut and causal", {axis(9, 4, 2, 1, false, cut), axis(11, 3, 1, 2, true, clamp)});
  add("wide wrap", {axis(8, 7, 1, 1, false, wrap), axis(10, 9, 3, 1, false, wrap)});
  add("three axes", {axis(4, 3, 1, 1, false, clamp), axis(5, 9, 1, 1, false, cut), axis(6, 4, 1, 3, false, wrap)});
  return result;
}

TEST(Slots, RunsOfAPlanAreTheWindows) {
  for (const Named& each : patterns())
    for (const TileShape& shape : tile_candidates(each.pattern, 8, 12)) {
      const Plan plan(each.pattern, shape);
      int64_t slots[kMaxGridRank], volume = 1, tokens = 1;
      slots_of(each.pattern, false, slots);
      for (const int64_t s : slots) volume *= s;
      for (const int64_t length : each.grid) tokens *= length;
      std::vector<int64_t> expected(static_cast<size_t>(tokens * volume)), found(expected.size(), -1);
      write_windows(each.pattern, slots, 0, tokens, expected.data(), nullptr);
      SlotRuns slot_runs(plan, slots);
      StepList steps;
      int64_t whole = 0;
      for (int64_t index = 0; index < plan.tile_count(); ++index) {
        const Tile tile = plan.tile(index);
        plan.expand(tile, steps);
        // The row-major token of number `i` in a box.
        const auto token = [&](int64_t i, auto first, auto size) {
          int64_t at = 0, stride = 1;
          for (int a = plan.rank() - 1; a >= 0; --a) {
            at += locate(first(a) + i % size(a), tile.residue[a], plan.axis(a).dilation) * stride;
            i /= size(a);
            stride *= each.grid[static_cast<size_t>(a)];
          }
          return at;
        };
        const auto query = [&](int64_t q) {
          return token(
              q, [&](int a) { return tile.begin(a); }, [&](int a) { return tile.size(a); });
        };
        int64_t queries = 1;
        for (int a = 0; a < plan.rank(); ++a) queries *= tile.size(a);
        for (int64_t q = 0; q < queries; ++q) whole += slot_runs.is_whole(tile, q) ? 1 : 0;
        for (const Step& step : steps) {
          std::vector<SlotRun> runs;
          StepSlots of_step;
          slot_runs.find(tile, step, of_step);
          slot_runs.add(of_step, runs);
          for (const SlotRun& run : runs)
            for (int64_t i = 0; i < run.count; ++i) {
              int64_t& place = found[static_cast<size_t>(query(run.query) * volume + run.slot + i)];
              EXPECT_EQ(place, -1) << each.name;  // once
              place = token(
                  run.key + i, [&](int a) { return step.pieces[a].first; }, [&](int a) { return step.pieces[a].size; });
            }
        }
      }
      EXPECT_EQ(found, expected) << each.name;
      int64_t filled = 0;
      for (int64_t q = 0; q < tokens; ++q) {
        bool all = true;
        for (int64_t s = 0; s < volume; ++s) all = all && expected[static_cast<size_t>(q * volume + s)] >= 0;
        filled += all ? 1 : 0;
      }
      EXPECT_EQ(whole, filled) << each.name;
    }
}

TEST(Slots, ListsOfAnAxisAreTheWindowsAndTheirInverse) {
  for (const Named& each : patterns()) {
    Pattern line;  // the first axis alone
    line.rank = 1;
    line.axes[0] = each.pattern.axes[0];
    const int64_t tokens = each.grid[0];
    int64_t slots[kMaxGridRank];
    slots_of(line, false, slots);
    std::vector<int64_t> keys(static_cast<size_t>(tokens * slots[0])), bias(keys.size());
    write_windows(line, slots, 0, tokens, keys.data(), bias.data());
    std::vector<int64_t> found(keys.size(), -1), found_bias(keys.size(), -1), inverse(keys.size(), -1);
    std::vector<SlotKey> seen;
    std::vector<SlotQuery> seers;
    for (int64_t i = 0; i < tokens; ++i) {
      keys_seen(line.axes[0], i, seen);
      for (const SlotKey& key : seen) {
        found[static_cast<size_t>(i * slots[0] + key.slot)] = key.key;
        found_bias[static_cast<size_t>(i * slots[0] + key.slot)] = key.bias;
      }
      queries_that_see(line.axes[0], i, seers);
      for (const SlotQuery& query : seers) inverse[static_cast<size_t>(query.query * slots[0] + query.slot)] = i;
    }
    EXPECT_EQ(found, keys) << each.name;
    EXPECT_EQ(found_bias, bias) << each.name;
    EXPECT_EQ(inverse, keys) << each.name;
  }
}

}  // namespace
}  // namespace nearfield::core
