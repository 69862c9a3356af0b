// docs/api.md's rules of the geometry, each broken, as in api_doc_test.cpp.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "api_doc.h"
#include "nearfield/nearfield.h"

namespace nearfield::test {
namespace {

nf_neighborhood window_of_three() {
  const int64_t windows[2] = {3, 3};
  return nf_make_neighborhood(2, windows);
}

// All four functions, 3x3 windows on a grid of 4 x 6 tokens.
struct GeometryCall {
  nf_neighborhood neighborhood = window_of_three();
  const nf_pattern* pattern = &neighborhood.pattern;
  std::vector<int64_t> lengths = {4, 6}, tiles = {2, 2}, extents = {3, 3}, memory = std::vector<int64_t>(24 * 9);
  const int64_t *grid = lengths.data(), *tile = tiles.data(), *step = extents.data();
  int64_t first = 0, count = 24, capacity = 1, *slots = memory.data(), *keys = slots, *total = slots;
  std::vector<int64_t> table = memory;
  nf_plan_step record = {}, *steps = &record;
  int64_t block = 8;
  nf_block first_block = {}, *blocks = &first_block;
  nf_block_counts sums = {}, *counts = &sums;

  nf_status run() {
    nf_status status = nf_window_slots(pattern, grid, slots);
    if (status == NF_OK) status = nf_windows(pattern, grid, first, count, keys, table.data());
    if (status == NF_OK) status = nf_plan_steps(pattern, grid, tile, step, capacity, steps, total);
    return status != NF_OK ? status : nf_block_map(pattern, grid, block, capacity, blocks, counts);
  }
};

using Change = void (*)(GeometryCall&);

void expect_documented(const std::vector<Change>& changes) {
  DocumentedRules page;
  for (const Change change : changes) {
    GeometryCall call;
    change(call);
    EXPECT_EQ(call.run(), NF_INVALID_ARGUMENT);
    page.expect_next(nf_last_error());
  }
}

TEST(ApiDoc, Geometry) {
  EXPECT_EQ(GeometryCall().run(), NF_OK) << nf_last_error();
  expect_documented({
      [](GeometryCall& c) { c.grid = nullptr; },
      [](GeometryCall& c) { c.lengths[1] = -3; },
      [](GeometryCall& c) { c.lengths[0] = int64_t{1} << 31; },
      [](GeometryCall& c) {
        c.lengths = {1 << 30, 1 << 30}, c.grid = c.lengths.data();
      },
      [](GeometryCall& c) { c.slots = nullptr; },
      [](GeometryCall& c) { c.first = -1; },
      [](GeometryCall& c) { c.first = 25; },
      [](GeometryCall& c) { c.count = -2; },
      [](GeometryCall& c) { c.first = 20; },
      [](GeometryCall& c) { c.keys = nullptr; },
      [](GeometryCall& c) {
        c.neighborhood.kernel_size[0] = c.neighborhood.kernel_size[1] = int64_t{1} << 40;
        c.count = 0;
      },
      [](GeometryCall& c) { c.capacity = -1; },
      [](GeometryCall& c) { c.steps = nullptr; },
      [](GeometryCall& c) { c.total = nullptr; },
      [](GeometryCall& c) { c.tile = nullptr; },
      [](GeometryCall& c) { c.step = nullptr; },
      [](GeometryCall& c) { c.tiles[1] = 0; },
      [](GeometryCall& c) { c.tiles[0] = 1025; },
      [](GeometryCall& c) { c.extents[0] = -1; },
      [](GeometryCall& c) {
        c.lengths = {1 << 20, 1 << 17}, c.tiles = {1024, 16}, c.extents = {1024, 1024};
        c.neighborhood.kernel_size[0] = 1, c.neighborhood.kernel_size[1] = 1 << 16;
        c.grid = c.lengths.data(), c.tile = c.tiles.data(), c.step = c.extents.data();
        c.count = 0;
      },
      [](GeometryCall& c) { c.block = 0; },
      [](GeometryCall& c) { c.block = 1025; },
      [](GeometryCall& c) { c.blocks = nullptr; },
      [](GeometryCall& c) { c.counts = nullptr; },
  });
}

TEST(ApiDoc, SphereLatitudes) {
  DocumentedRules page;
  const auto refuse = [&](const nf_sphere_grid* grid) {
    double theta[4], area[4];
    EXPECT_EQ(nf_sphere_latitudes(grid, theta, area), NF_INVALID_ARGUMENT);
    page.expect_next(nf_last_error());
  };
  refuse(nullptr);
  for (const nf_sphere_grid& grid :
       {nf_sphere_grid{4, 0, 4, 4}, nf_sphere_grid{0, 1, 4, 4}, nf_sphere_grid{0, 0, 1, 4},
        nf_sphere_grid{0, 0, 16385, 4}, nf_sphere_grid{0, 0, 4, 0}, nf_sphere_grid{0, 0, 4, (1 << 20) + 1}})
    refuse(&grid);
}

}  // namespace
}  // namespace nearfield::test
