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

// Keeps a wrapped axis valid when its length changes.
void set_length(NeighborhoodAxis& axis, int64_t length) {
  axis.queries = axis.keys = length;
  if (axis.wraps() && length % axis.dilation != 0) axis.dilation = 1;
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
      set_length(std::get<NeighborhoodAxis>(geometry.pattern.axes[axis]), shape.grid[axis]);
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
  geometry.pattern.rank = geometry.shape.rank;
  for (int a = 0; a < geometry.shape.rank; ++a) geometry.pattern.axes[a] = random_axis(random, geometry.shape.grid[a]);
  while (!is_cheap(geometry, options)) shrink(random, geometry);
  return geometry;
}

std::string describe_geometry(const Shape& shape, const Pattern& pattern) {
  std::string grid, window, stride, dilation, causal, boundary;
  for (int a = 0; a < shape.rank; ++a) {
    const auto& axis = std::get<NeighborhoodAxis>(pattern.axes[a]);
    const char* separator = a == 0 ? "" : ",";
    grid += concat(separator, shape.grid[a]);
    window += concat(separator, axis.kernel_size);
    stride += concat(separator, axis.stride);
    dilation += concat(separator, axis.dilation);
    causal += concat(separator, axis.is_causal ? 1 : 0);
    boundary += concat(separator, boundary_name(axis.boundary));
  }
  return concat("batch=", shape.batch, " grid=", grid, " heads=", shape.heads, " heads_kv=", shape.heads_kv,
                " head_dim=", shape.head_dim, " head_dim_v=", shape.head_dim_v, " kernel_size=", window,
                " stride=", stride, " dilation=", dilation, " is_causal=", causal, " boundary=", boundary);
}

}  // namespace nearfield::core
