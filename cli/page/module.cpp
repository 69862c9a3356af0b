// The geometry of `nearfield simulate --html`: the library's own sources, compiled to WebAssembly by build.sh. The page
// asks for one axis at a time and only multiplies what it gets; no window arithmetic is written in JavaScript.
//
// WebAssembly of this compiler cannot catch an exception: one that is thrown leaves its message and traps, and the page
// makes the module anew.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <vector>

#include "dispatch/geometry_rules.h"
#include "nearfield/nearfield.h"
#include "plan/axis_table.h"
#include "plan/simulate.h"

namespace core = nearfield::core;

namespace {

constexpr size_t kMostCells = size_t{1} << 22;

char message[1024];
double numbers[64];
std::vector<uint8_t> cells;
core::Pattern pattern;
core::TileShape shape;

// The tables of one axis of the pattern's plan.
core::PlanAxis plan_axis(int axis) {
  core::Pattern alone;
  alone.rank = 1;
  alone.axes[0] = pattern.axes[axis];
  core::TileShape extents;
  extents.near[0] = shape.near[axis];
  extents.far[0] = shape.far[axis];
  return core::Plan(alone, extents).axis(0);
}

// 0: no query sees any of the keys; 2: all of them see all; 1: else.
uint8_t sight_of(std::span<const core::Interval> queries, const core::Piece& keys, int64_t n) {
  bool any = false, full = true;
  for (const core::Interval& interval : queries) {
    const core::Span seen = core::span_within(keys, interval, n, true);
    any = any || seen != core::Span{};
    full = full && seen == core::Span{0, static_cast<int32_t>(keys.size)};
  }
  return full ? 2 : any ? 1 : 0;
}

int write(const core::Visits& visits, const core::SpeedupBound& bound, int at) {
  for (const double number : {visits.units, visits.dense_units, visits.most_units, visits.full_units, visits.keys,
                              visits.pairs, bound.worst, bound.mean})
    numbers[at++] = number;
  return at;
}

}  // namespace

// What the C++ run-time library does where exceptions are.
extern "C" {
void* __cxa_allocate_exception(size_t size) { return std::malloc(size); }
void __cxa_free_exception(void* memory) { std::free(memory); }
void __cxa_throw(void* thrown, void*, void (*)(void*)) {
  std::snprintf(message, sizeof message, "%s", static_cast<std::exception*>(thrown)->what());
  __builtin_trap();
}
}

extern "C" {

// Where the functions read and write numbers, messages and cells.
__attribute__((export_name("numbers"))) double* page_numbers() { return numbers; }
__attribute__((export_name("message"))) const char* page_message() { return message; }
__attribute__((export_name("cells"))) const uint8_t* page_cells() { return cells.data(); }

// numbers: rank; then for each axis length, kernel_size, stride, dilation, is_causal, boundary, tile, key_tile.
__attribute__((export_name("load"))) void page_load() {
  nf_neighborhood given = {};
  given.pattern = {sizeof given, NF_NEIGHBORHOOD, static_cast<int32_t>(numbers[0])};
  int64_t grid[NF_MAX_GRID_RANK] = {}, tile[NF_MAX_GRID_RANK] = {}, key_tile[NF_MAX_GRID_RANK] = {};
  for (int a = 0; a < given.pattern.rank && a < NF_MAX_GRID_RANK; ++a) {
    const double* const of = numbers + 1 + 8 * a;
    grid[a] = static_cast<int64_t>(of[0]);
    given.kernel_size[a] = static_cast<int64_t>(of[1]);
    given.stride[a] = static_cast<int64_t>(of[2]);
    given.dilation[a] = static_cast<int64_t>(of[3]);
    given.is_causal[a] = static_cast<int32_t>(of[4]);
    given.boundary[a] = static_cast<int32_t>(of[5]);
    tile[a] = static_cast<int64_t>(of[6]);
    key_tile[a] = static_cast<int64_t>(of[7]);
  }
  pattern = core::validate_on_grid(&given.pattern, grid);
  shape = core::validate_simulated_tiles(pattern, tile, key_tile);
}

// numbers: query tiles, useful pairs, all pairs; then for key tiles and for steps what `write` lists.
__attribute__((export_name("simulate"))) void page_simulate() {
  const core::Simulation found = core::simulate(pattern, shape);
  numbers[0] = found.query_tiles;
  numbers[1] = found.useful_pairs;
  numbers[2] = found.steps.dense_pairs;
  const int at = write(found.key_tiles, bound_of_units(found, found.key_tiles), 3);
  write(found.steps, bound_of_keys(found, found.steps), at);
}

// cells[token]: 1 where the query at a token of the axis sees it, else 0. Returns how many.
__attribute__((export_name("window"))) int page_window(int axis, int query) {
  const core::PlanAxis tables = plan_axis(axis);
  const int64_t residue = query % tables.dilation;
  const core::AxisTable& table = tables.table(residue);
  const core::Interval seen = table.intervals[static_cast<size_t>(query / tables.dilation)];
  cells.assign(static_cast<size_t>(tables.far), 0);
  for (int64_t key = seen.start; key < seen.end(); ++key)
    cells[static_cast<size_t>(core::locate(core::floor_mod(key, table.far), residue, tables.dilation))] = 1;
  return static_cast<int>(cells.size());
}

// cells[tile of queries][key tile], both by residue class: sight_of. Returns the columns; 0 if there are too many
// cells.
__attribute__((export_name("map"))) int page_map(int axis) {
  const core::PlanAxis tables = plan_axis(axis);
  const auto key_tiles = [&](int64_t residue) { return core::ceil_div(tables.table(residue).far, shape.far[axis]); };
  int64_t columns = 0, first = 0;
  for (int64_t residue = 0; residue < tables.classes; ++residue) columns += key_tiles(residue);
  cells.clear();
  if (static_cast<size_t>(tables.tiles() * columns) > kMostCells) return 0;
  for (int64_t residue = 0; residue < tables.classes; first += key_tiles(residue), ++residue) {
    const core::AxisTable& table = tables.table(residue);
    for (const core::AxisTile& tile : table.tiles) {
      const size_t row = cells.size();
      cells.resize(row + static_cast<size_t>(columns));
      const auto queries =
          std::span(table.intervals).subspan(static_cast<size_t>(tile.begin), static_cast<size_t>(tile.size));
      for (int64_t i = 0; i < key_tiles(residue); ++i) {
        const int64_t begin = i * shape.far[axis], size = core::min_of(shape.far[axis], table.far - begin);
        cells[row + static_cast<size_t>(first + i)] = sight_of(queries, {begin, size, 0}, table.far);
      }
    }
  }
  return static_cast<int>(columns);
}

}  // extern "C"
