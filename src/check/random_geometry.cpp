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
  std::visit(
      [&](auto& axis) {
        axis.queries = axis.keys = length;
        if (axis.wraps() && length % axis.dilation != 0) axis.dilation = 1;
      },
      rule);
}

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
      const int64_t axis = std::max_element(shape.grid, shape.grid + kMaxGridRank) - shape.grid;
      shape.grid[axis] = ceil_div(shape.grid[axis], 2);
      Pattern& pattern = geometry.pattern;
      set_length(pattern.axes[pattern.order ? 0 : axis], pattern.order ? shape.tokens() : shape.grid[axis]);
      if (pattern.order) pattern.order = cached_order(order_of(pattern.order->key.kind, shape));
      shape.additional /= 2;
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

}  // namespace

int64_t count_pairs(const Pattern& pattern) {
  int64_t pairs = 1;
  for (int a = 0; a < pattern.rank; ++a) {
    int64_t on_axis = 0;
    std::visit(
        [&](const auto& axis) {
          for (int64_t i = 0; i < axis.queries; ++i) {
            const int64_t n = ceil_div(axis.queries - i % axis.dilation, axis.dilation);
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
  geometry.pattern = random_pattern(random, geometry.shape, options);
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
    add(boundary, neighborhood ? boundary_name(neighborhood->boundary) : "runs");
  }
  return concat("batch=", shape.batch, " grid=", grid, " heads=", shape.heads, " heads_kv=", shape.heads_kv,
                " head_dim=", shape.head_dim, " head_dim_v=", shape.head_dim_v,
                " order=", pattern.order ? order_name(pattern.order->key.kind) : "none", " kernel_size=", window,
                " stride=", stride, " dilation=", dilation, " is_causal=", causal, " boundary=", boundary,
                " shift=", shift);
}

}  // namespace nearfield::core
