#include "engine/cuda/device_plan.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <mutex>
#include <span>

#include "base/checked.h"
#include "base/error.h"
#include "plan/axis_table.h"
#include "plan/plan.h"

namespace nearfield::core {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 29;  // un-reduced ends stay within 32 bits

int narrow(int64_t value) { return static_cast<int>(value); }

// Tables one after the other; what `put` returns stands for a pointer.
class Content {
 public:
  explicit Content(std::vector<std::byte>& bytes) : bytes_(bytes) {}
  template <class T>
  const T* put(std::span<const T> table) {
    constexpr size_t kAlignment = 16;
    bytes_.resize((bytes_.size() + kAlignment - 1) / kAlignment * kAlignment);
    const size_t offset = bytes_.size();
    bytes_.resize(offset + table.size_bytes());
    if (!table.empty()) std::memcpy(bytes_.data() + offset, table.data(), table.size_bytes());
    return std::bit_cast<const T*>(offset + 1);
  }
  template <class T>
  const T* put(const std::vector<T>& table) {
    return put(std::span<const T>(table));
  }

 private:
  std::vector<std::byte>& bytes_;
};

simt::AxisTile tile_of(std::span<const Interval> seen, int64_t far, int64_t residue, int64_t begin, int64_t size) {
  const Hull hull = hull_of(seen, far, false);
  return {narrow(residue),           narrow(begin),          narrow(size), narrow(hull.begin), narrow(hull.end),
          narrow(hull.common_begin), narrow(hull.common_end)};
}

simt::Axis axis_of(const PlanAxis& axis, Content& content) {
  std::vector<simt::Interval> intervals(static_cast<size_t>(axis.near));
  std::vector<simt::AxisTile> tiles;
  for (int64_t residue = 0; residue < axis.classes; ++residue) {
    const AxisTable& table = axis.table(residue);
    for (int64_t x = 0; x < table.near; ++x) {
      const Interval& seen = table.intervals[static_cast<size_t>(x)];
      intervals[static_cast<size_t>(locate(x, residue, axis.dilation))] = {narrow(seen.start), narrow(seen.length)};
    }
    for (const AxisTile& tile : table.tiles)
      tiles.push_back(
          tile_of(std::span(table.intervals).subspan(static_cast<size_t>(tile.begin), static_cast<size_t>(tile.size)),
                  table.far, residue, tile.begin, tile.size));
  }
  return {content.put(tiles), content.put(intervals), static_cast<simt::Int>(tiles.size()),
          narrow(axis.near),  narrow(axis.far),       narrow(axis.dilation),
          axis.wraps ? 1 : 0};
}

// Every shape of `rows` tokens whose extents are powers of two; the one whose tiles visit the fewest far tokens.
TileShape best_tile(const Pattern& pattern, bool transposed, int rows) {
  TileShape best;
  int64_t fewest = std::numeric_limits<int64_t>::max();
  for (int64_t first = 1; first <= rows; first *= 2)
    for (int64_t second = 1; first * second <= rows; second *= 2) {
      if ((pattern.rank < 2 && first > 1) || (pattern.rank < 3 && second > 1)) continue;
      TileShape shape;
      std::fill_n(shape.far, kMaxGridRank, kMostTokens);
      shape.near[pattern.rank - 1] = rows / first / second;
      if (pattern.rank >= 2) shape.near[0] = first;
      if (pattern.rank == 3) shape.near[1] = second;
      const int64_t visited = Plan(pattern, shape, transposed, true).statistics().visited_keys;
      if (visited < fewest) {
        fewest = visited;
        best = shape;
      }
    }
  return best;
}

void put_rules(const Pattern& pattern, bool transposed, int rows, Content& content, simt::Plan& plan) {
  const Plan tiles(pattern, best_tile(pattern, transposed, rows), transposed, true);
  plan.tiles = tiles.tile_count();
  for (int a = 0; a < pattern.rank; ++a) plan.axes[a] = axis_of(tiles.axis(a), content);
}

// Tiles of adjacent longitudes of one latitude.
void put_arcs(const Sphere& sphere, bool transposed, int rows, Content& content, simt::Plan& plan) {
  const SphereReach reach = transposed ? sphere.reach.transposed() : sphere.reach;
  const SphereArc& arc = reach.arc();
  std::vector<int> firsts, offsets{0}, half_widths;
  std::vector<simt::AxisTile> latitudes, longitudes;
  std::vector<simt::Interval> bands;
  for (int64_t q = 0; q < reach.query_latitudes(); ++q) {
    const Interval band = reach.keys_of(q);
    firsts.push_back(narrow(band.start));
    bands.push_back({narrow(band.start), narrow(band.length)});
    const int begin = narrow(band.start), end = narrow(band.end());
    latitudes.push_back({0, narrow(q), 1, begin, end, begin, end});
    for (const int32_t half_width : reach.half_widths(q)) half_widths.push_back(half_width);
    offsets.push_back(narrow(static_cast<int64_t>(half_widths.size())));
  }
  for (int64_t x = 0; x < arc.queries; x += rows)
    longitudes.push_back({0, narrow(x), narrow(std::min<int64_t>(rows, arc.queries - x)), 0, 1, 0, 0});
  const std::vector<simt::Interval> everywhere(static_cast<size_t>(arc.queries), simt::Interval{0, 0});
  const auto count = [](const auto& tiles) { return static_cast<simt::Int>(tiles.size()); };
  plan.axes[0] = {content.put(latitudes),
                  content.put(bands),
                  count(latitudes),
                  narrow(reach.query_latitudes()),
                  narrow(reach.key_latitudes()),
                  1,
                  0};
  plan.axes[1] = {
      content.put(longitudes), content.put(everywhere), count(longitudes), narrow(arc.queries), narrow(arc.keys), 1, 1};
  plan.arcs = {content.put(firsts),      content.put(offsets),   content.put(half_widths),
               narrow(arc.query_unit()), narrow(arc.key_unit()), narrow(arc.keys)};
  plan.tiles = count(latitudes) * count(longitudes);
}

// Pointers from offsets.
template <class T>
void relocate(const T*& pointer, const std::byte* base) {
  if (pointer != nullptr) pointer = reinterpret_cast<const T*>(base + std::bit_cast<size_t>(pointer) - 1);
}

void relocate(simt::Plan& plan, const std::byte* base) {
  for (simt::Axis& axis : plan.axes) {
    relocate(axis.tiles, base);
    relocate(axis.intervals, base);
  }
  relocate(plan.arcs.firsts, base);
  relocate(plan.arcs.offsets, base);
  relocate(plan.arcs.half_widths, base);
  relocate(plan.tokens, base);
  relocate(plan.positions, base);
}

// What is on devices. Few, and looked for once a launch.
struct Kept {
  const cuda::Table* table;
  int device;
  Pattern pattern;
  int64_t grid[kMaxGridRank];
  bool transposed;
  int rows;
  void* memory;
  DevicePlan plan;
};
struct Shelf {
  std::mutex mutex;
  std::vector<Kept> kept;
};
Shelf& shelf() {
  static Shelf& the_one = *new Shelf;  // never destroyed: other threads may still run while the process exits
  return the_one;
}

}  // namespace

PlanImage plan_image(const Problem& problem, bool transposed, int rows) {
  PlanImage image;
  Content content(image.content);
  const Pattern& pattern = problem.pattern;
  const Shape& shape = problem.shape;
  int64_t keys[kMaxGridRank] = {1, 1, 1};
  std::copy_n(problem.key.sizes + 1, shape.rank, keys);
  for (int a = 0; a < kMaxGridRank; ++a) {
    const int64_t longest = std::max(shape.grid[a], keys[a]);
    if (longest >= kMostTokens) unsupported("query.sizes[", a + 1, "]=", longest, ": must be below 2^29 on a GPU");
    image.plan.near_grid[a] = narrow(transposed ? keys[a] : shape.grid[a]);
    image.plan.far_grid[a] = narrow(transposed ? shape.grid[a] : keys[a]);
  }
  image.plan.rank = pattern.rank;
  if (pattern.has_arcs()) {
    put_arcs(*pattern.sphere, transposed, rows, content, image.plan);
  } else {
    put_rules(pattern.without_order(), transposed, rows, content, image.plan);
  }
  if (pattern.order) {
    image.plan.tokens = content.put(pattern.order->tokens);
    image.plan.positions = content.put(pattern.order->positions);
  }
  if (pattern.sphere) image.densities = std::bit_cast<size_t>(content.put(pattern.sphere->log_weights));
  return image;
}

void check(const cuda::Table& table, int code, const char* what) {
  if (code == 0) return;
  const char* message = "";
  const cuda::Trouble trouble = table.describe(code, &message);
  const Status status = trouble == cuda::Trouble::no_memory ? Status::out_of_memory
                        : trouble == cuda::Trouble::no_device || trouble == cuda::Trouble::no_kernel
                            ? Status::unsupported
                            : Status::internal_error;
  throw Error(status, concat("CUDA: ", what, ": ", message));
}

DevicePlan device_plan(const cuda::Table& table, int device, const Problem& problem, bool transposed, int rows) {
  Shelf& all = shelf();
  const std::lock_guard lock(all.mutex);
  for (const Kept& kept : all.kept)
    if (kept.table == &table && kept.device == device && kept.transposed == transposed && kept.rows == rows &&
        kept.pattern == problem.pattern && std::equal(kept.grid, kept.grid + kMaxGridRank, problem.shape.grid))
      return kept.plan;
  const PlanImage image = plan_image(problem, transposed, rows);
  void* memory = nullptr;
  all.kept.reserve(all.kept.size() + 1);
  check(table, table.upload(device, image.content.data(), image.content.size(), &memory), "uploading a plan");
  const auto* const base = static_cast<const std::byte*>(memory);
  DevicePlan plan{image.plan, nullptr, image.content.size()};
  relocate(plan.plan, base);
  if (image.densities != 0) plan.densities = reinterpret_cast<const double*>(base + image.densities - 1);
  Kept kept{&table, device, problem.pattern, {}, transposed, rows, memory, plan};
  std::copy_n(problem.shape.grid, kMaxGridRank, kept.grid);
  all.kept.push_back(std::move(kept));
  return plan;
}

void release_device_plans(const cuda::Table& table) {
  Shelf& all = shelf();
  const std::lock_guard lock(all.mutex);
  std::erase_if(all.kept, [&](const Kept& kept) {
    if (kept.table != &table) return false;
    table.release(kept.device, kept.memory);
    return true;
  });
}

}  // namespace nearfield::core
