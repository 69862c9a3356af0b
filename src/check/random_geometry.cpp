#include "check/random_geometry.h"

#include <algorithm>

#include "base/error.h"

namespace nearfield::core {
namespace {

int64_t random_head_dim(Random& random, int64_t max_head_dim) {
  const double kind = random.uniform();
  int64_t head_dim = 0;
  if (kind < 0.7) {
    head_dim = random.between(1, 40);
  } else if (kind < 0.9) {
    head_dim = int64_t{16} << random.below(4);  // 16, 32, 64, 128
  } else {
    head_dim = random.between(41, 512);
  }
  return std::min(head_dim, max_head_dim);
}

int64_t random_divisor(Random& random, int64_t number) {
  std::vector<int64_t> divisors;
  for (int64_t d = 1; d <= number; ++d) {
    if (number % d == 0) divisors.push_back(d);
  }
  return divisors.empty() ? 1 : divisors[static_cast<size_t>(random.below(static_cast<int64_t>(divisors.size())))];
}

NeighborhoodAxis random_axis(Random& random, int64_t length) {
  NeighborhoodAxis axis;
  axis.queries = axis.keys = length;
  axis.is_causal = random.chance(0.25);
  axis.boundary = static_cast<Boundary>(random.below(3));
  if (axis.is_causal && axis.boundary == Boundary::wrap) axis.boundary = Boundary::clamp;
  switch (random.below(6)) {
    case 0: axis.kernel_size = std::max<int64_t>(length, 1); break;
    case 1: axis.kernel_size = length + random.between(1, length + 3); break;  // beyond the axis
    case 2: axis.kernel_size = 2 * random.between(1, 6) + 1; break;            // the usual 3 ... 13
    default: axis.kernel_size = random.skewed(std::max<int64_t>(length, 1));
  }
  if (random.chance(0.4)) axis.stride = random.skewed(axis.kernel_size);
  if (random.chance(0.1)) axis.stride = axis.kernel_size;  // blocked
  if (random.chance(0.35)) {
    axis.dilation = axis.wraps() ? random_divisor(random, length) : random.skewed(length + 2);
  }
  return axis;
}

RunsAxis random_runs(Random& random, int64_t length) {
  RunsAxis axis;
  axis.queries = axis.keys = length;
  axis.kernel_size = axis.stride = random.chance(0.2) ? length + random.between(1, 5) : random.skewed(length + 1);
  if (random.chance(0.5)) axis.phase = random.chance(0.5) ? axis.kernel_size / 2 : random.below(axis.kernel_size);
  return axis;
}

// Keeps a wrapped axis valid when its length changes.
void set_length(AxisRule& rule, int64_t length) {
  if (auto* axis = std::get_if<NeighborhoodAxis>(&rule)) {
    axis->queries = axis->keys = length;
    if (axis->wraps() && length % axis->dilation != 0) axis->dilation = 1;
  } else if (auto* runs = std::get_if<RunsAxis>(&rule)) {
    runs->queries = runs->keys = length;
  }
}

// ---- the sphere ----------------------------------------------------------------------------------------------------

int64_t random_latitudes(Random& random, SphereGridKind kind) {
  return max_of(min_latitudes(kind), max_of(2, random.skewed(14)));
}

SphereKey random_sphere(Random& random) {
  SphereKey key;
  const auto random_kind = [&] {
    return random.chance(0.5) ? SphereGridKind::equiangular : static_cast<SphereGridKind>(random.below(4));
  };
  key.grids.query.kind = random_kind();
  key.grids.key.kind = random.chance(0.7) ? key.grids.query.kind : random_kind();
  key.grids.query.nlat = random_latitudes(random, key.grids.query.kind);
  key.grids.key.nlat = random.chance(0.5) ? max_of(min_latitudes(key.grids.key.kind), key.grids.query.nlat)
                                          : random_latitudes(random, key.grids.key.kind);
  const int64_t coarse = random.skewed(20), fine = coarse * (random.chance(0.5) ? 1 : random.between(1, 4));
  const bool is_down = random.chance(0.5);
  key.grids.query.nlon = is_down ? coarse : fine;
  key.grids.key.nlon = is_down ? fine : coarse;
  key.is_global = random.chance(0.15);
  if (key.is_global) return key;
  const double step = 3.1415926 / static_cast<double>(max_of(key.grids.key.nlat - 1, 1));
  key.grids.cutoff = random.chance(0.1) ? 4 : step * (0.3 + 4 * random.uniform());
  return key;
}

void set_sphere(const SphereKey& key, Geometry& geometry) {
  Shape& shape = geometry.shape;
  const SphereGrid &queries = key.grids.query, &keys = key.grids.key;
  shape.rank = 2;
  shape.grid[0] = queries.nlat;
  shape.grid[1] = queries.nlon;
  shape.grid[2] = 1;
  Pattern& pattern = geometry.pattern;
  pattern = {};
  pattern.rank = 2;
  pattern.sphere = cached_sphere(key);
  if (key.is_global) {
    const auto all = [](int64_t near, int64_t far) {
      return NeighborhoodAxis{.queries = near, .keys = far, .kernel_size = max_of(near, far)};
    };
    pattern.axes[0] = all(queries.nlat, keys.nlat);
    pattern.axes[1] = all(queries.nlon, keys.nlon);
  } else {
    pattern.axes[0] = LatitudeAxis{queries.nlat, keys.nlat, pattern.sphere.get()};
    pattern.axes[1] = LongitudeAxis{queries.nlon, keys.nlon, pattern.sphere->widest};
  }
}

void shrink_sphere(Geometry& geometry) {
  SphereKey key = geometry.pattern.sphere->key;
  SphereGrid &queries = key.grids.query, &keys = key.grids.key;
  queries.nlat = max_of(2, ceil_div(queries.nlat, 2));
  keys.nlat = max_of(2, ceil_div(keys.nlat, 2));
  const bool halves = queries.nlon % 2 == 0 && keys.nlon % 2 == 0;
  queries.nlon = halves ? queries.nlon / 2 : ceil_div(min_of(queries.nlon, keys.nlon), 2);
  keys.nlon = halves ? keys.nlon / 2 : queries.nlon;
  set_sphere(key, geometry);
}

// ---- along an order ------------------------------------------------------------------------------------------------

OrderKey order_of(OrderKind kind, const Shape& shape) {
  OrderKey key{kind, shape.rank, {1, 1, 1}};
  std::copy_n(shape.grid, shape.rank, key.grid);
  return key;
}

// One of the forms along an order.
Pattern random_curve(Random& random, const Shape& shape) {
  const auto kind = random.chance(0.6) ? OrderKind::hilbert : static_cast<OrderKind>(random.between(1, 4));
  const int64_t tokens = shape.tokens();
  Pattern pattern;
  pattern.rank = 1;
  pattern.order = cached_order(order_of(kind, shape));
  if (random.chance(0.4)) {
    RunsAxis axis = random_runs(random, tokens);
    // Often a square: along a Hilbert curve such runs may be boxes.
    const int64_t side = random.between(1, 4);
    if (random.chance(0.4))
      axis = {.queries = tokens, .keys = tokens, .kernel_size = side * side, .stride = side * side};
    axis.is_causal = random.chance(0.2);
    if (random.chance(0.3)) axis.dilation = random.skewed(tokens + 2);
    pattern.axes[0] = axis;
    return pattern;
  }
  NeighborhoodAxis axis = random_axis(random, tokens);
  axis.boundary = random.chance(0.5) ? Boundary::cut : Boundary::clamp;
  if (axis.boundary == Boundary::cut && axis.kernel_size % 2 == 0) ++axis.kernel_size;  // a slide
  pattern.axes[0] = axis;
  return pattern;
}

Pattern random_pattern(Random& random, const Shape& shape, const RandomProblemOptions& options) {
  const double kind = options.neighborhoods_only ? 0 : random.uniform();
  if (kind > 0.7) return random_curve(random, shape);
  Pattern pattern;
  pattern.rank = shape.rank;
  for (int a = 0; a < shape.rank; ++a) {
    if (kind < 0.6) {
      pattern.axes[a] = random_axis(random, shape.grid[a]);
    } else {
      pattern.axes[a] = random_runs(random, shape.grid[a]);
    }
  }
  return pattern;
}

bool is_cheap(const Geometry& geometry, const RandomProblemOptions& options) {
  const Shape& shape = geometry.shape;
  const int64_t pairs = shape.batch * shape.heads * (count_pairs(geometry.pattern) + shape.tokens() * shape.additional);
  constexpr int64_t kPairCost = 16;  // a pair's exponential and bookkeeping, in multiplications
  return pairs <= options.max_pairs &&
         pairs * (shape.head_dim + shape.head_dim_v + kPairCost) <= options.max_multiplies;
}

// Makes the problem smaller by about a half, in a random one of the ways that are left.
void shrink(Random& random, Geometry& geometry) {
  Shape& shape = geometry.shape;
  switch (random.below(4)) {
    case 0: shape.batch = std::min<int64_t>(shape.batch, 1); break;
    case 1: shape.heads = shape.heads_kv = 1; break;
    case 2:
      shape.head_dim = ceil_div(shape.head_dim, 2);
      shape.head_dim_v = ceil_div(shape.head_dim_v, 2);
      break;
    default: {
      shape.additional /= 2;
      if (geometry.pattern.sphere) return shrink_sphere(geometry);
      const int64_t axis = std::max_element(shape.grid, shape.grid + kMaxGridRank) - shape.grid;
      shape.grid[axis] = ceil_div(shape.grid[axis], 2);
      Pattern& pattern = geometry.pattern;
      set_length(pattern.axes[pattern.order ? 0 : axis], pattern.order ? shape.tokens() : shape.grid[axis]);
      if (pattern.order) pattern.order = cached_order(order_of(pattern.order->key.kind, shape));
    }
  }
}

Shape random_shape(Random& random, const RandomProblemOptions& options) {
  constexpr int64_t kLongest[kMaxGridRank] = {400, 40, 14};  // of an axis, by rank
  Shape shape;
  shape.rank = static_cast<int>(random.between(1, kMaxGridRank));
  for (int a = 0; a < shape.rank; ++a) shape.grid[a] = random.skewed(kLongest[shape.rank - 1]);
  shape.batch = random.skewed(3);
  shape.heads_kv = random.skewed(3);
  shape.heads = shape.heads_kv * random.skewed(4);
  shape.head_dim = random_head_dim(random, options.max_head_dim);
  shape.head_dim_v = random.chance(0.6) ? shape.head_dim : random_head_dim(random, options.max_head_dim);
  if (options.zero_sizes && random.chance(0.01)) shape.batch = 0;
  if (options.zero_sizes && random.chance(0.01)) shape.grid[random.below(shape.rank)] = 0;
  if (options.additional_keys && random.chance(0.35)) shape.additional = random.below(5);
  return shape;
}

const char* boundary_name(Boundary boundary) {
  switch (boundary) {
    case Boundary::clamp: return "clamp";
    case Boundary::wrap: return "wrap";
    case Boundary::cut: return "cut";
  }
  return "?";
}

std::string describe_sphere(const SphereKey& key) {
  const auto grid = [](const SphereGrid& g) { return concat(sphere_grid_name(g.kind), " ", g.nlat, "x", g.nlon); };
  return concat(" sphere: queries ", grid(key.grids.query), ", keys ", grid(key.grids.key),
                key.is_global ? ", global" : concat(", cutoff ", key.grids.cutoff));
}

}  // namespace

int64_t count_pairs(const Pattern& pattern) {
  int64_t pairs = 1;
  if (pattern.has_arcs()) {
    const SphereReach& reach = pattern.sphere->reach;
    pairs = 0;
    for (int64_t q = 0; q < reach.query_latitudes(); ++q)
      for (const int32_t half_width : reach.half_widths(q))
        for (int64_t x = 0; x < reach.arc().queries; ++x) pairs += reach.arc().keys_of(half_width, x).length;
    return pairs;
  }
  for (int a = 0; a < pattern.rank; ++a) {
    int64_t on_axis = 0;
    std::visit(
        [&](const auto& axis) {
          for (int64_t i = 0; i < axis.queries; ++i) {
            const int64_t n = ceil_div(axis.keys - i % axis.dilation, axis.dilation);
            on_axis += axis.keys_of(n, i / axis.dilation).length;
          }
        },
        pattern.axes[a]);
    pairs *= on_axis;
  }
  return pairs;
}

Geometry random_geometry(Random& random, const RandomProblemOptions& options) {
  Geometry geometry;
  geometry.shape = random_shape(random, options);
  if (!options.neighborhoods_only && options.spheres && random.chance(0.2)) {
    set_sphere(random_sphere(random), geometry);
  } else {
    geometry.pattern = random_pattern(random, geometry.shape, options);
  }
  while (!is_cheap(geometry, options)) shrink(random, geometry);
  return geometry;
}

std::string describe_geometry(const Shape& shape, const Pattern& pattern) {
  std::string grid, window, stride, dilation, causal, boundary, shift;
  for (int a = 0; a < shape.rank; ++a) grid += concat(a == 0 ? "" : ",", shape.grid[a]);
  for (int a = 0; a < pattern.rank; ++a) {
    const char* separator = a == 0 ? "" : ",";
    const auto add = [&](std::string& list, const auto& value) { list += concat(separator, value); };
    std::visit(
        [&](const auto& axis) {
          add(window, axis.kernel_size);
          add(stride, axis.stride);
          add(dilation, axis.dilation);
          add(causal, axis.is_causal ? 1 : 0);
          add(shift, axis.phase);
        },
        pattern.axes[a]);
    const auto* neighborhood = std::get_if<NeighborhoodAxis>(&pattern.axes[a]);
    const bool has_runs = std::holds_alternative<RunsAxis>(pattern.axes[a]);
    add(boundary, neighborhood ? boundary_name(neighborhood->boundary) : has_runs ? "runs" : "arcs");
  }
  return concat("batch=", shape.batch, " grid=", grid, " heads=", shape.heads, " heads_kv=", shape.heads_kv,
                " head_dim=", shape.head_dim, " head_dim_v=", shape.head_dim_v,
                " order=", pattern.order ? order_name(pattern.order->key.kind) : "none", " kernel_size=", window,
                " stride=", stride, " dilation=", dilation, " is_causal=", causal, " boundary=", boundary,
                " shift=", shift, pattern.sphere ? describe_sphere(pattern.sphere->key) : std::string());
}

}  // namespace nearfield::core
