#include "pattern/sphere.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace nearfield::core {
namespace {

constexpr double kPi = std::numbers::pi;

double squared_sine(double angle) {
  const double sine = std::sin(angle);
  return sine * sine;
}

// The test of distances, for offsets counted in steps of the finer longitudes.
class Disc {
 public:
  Disc(double radius, int64_t finer) : radius_(std::min(radius + kSphereSlack, kPi)) {
    squared_sine_ = squared_sine(radius_ / 2);
    // Exactly 0 for the whole sphere, which cos(pi/2) is not.
    squared_cosine_ = squared_sine((kPi - radius_) / 2);
    const double step = kPi / static_cast<double>(2 * finer);
    for (int64_t w = 0; w <= finer / 2; ++w) {
      offset_sines_.push_back(squared_sine(static_cast<double>(2 * w) * step));
      offset_cosines_.push_back(squared_sine(static_cast<double>(finer - 2 * w) * step));
    }
  }

  // Are two circles close enough for points of the same longitude to see each other?
  bool sees(double theta, double other) const { return std::abs(theta - other) <= radius_; }

  // The farthest offset between two circles, which do see each other. sin(d/2)^2 grows with the offset, and so does
  // d <= r: sin(d/2)^2 cos(r/2)^2 <= cos(d/2)^2 sin(r/2)^2, where neither near 0 nor near pi anything cancels.
  int32_t half_width(double theta, double other) const {
    // 0 at a pole, where a circle is one point; sin(pi) is 1e-16 instead, forty times less than the slack can take.
    const double sines = std::sin(theta) * std::sin(other);
    const double near = squared_sine((theta - other) / 2), far = squared_sine((kPi - (theta + other)) / 2);
    size_t low = 0, high = offset_sines_.size();  // low is seen, high is not
    while (high - low > 1) {
      const size_t w = (low + high) / 2;
      const bool is_seen =
          (near + sines * offset_sines_[w]) * squared_cosine_ <= (far + sines * offset_cosines_[w]) * squared_sine_;
      (is_seen ? low : high) = w;
    }
    return static_cast<int32_t>(low);
  }

 private:
  double radius_;
  double squared_sine_ = 0, squared_cosine_ = 0;       // of radius/2
  std::vector<double> offset_sines_, offset_cosines_;  // [w]: squared, of half the angle of w steps
};

}  // namespace

void check_sphere_grid(const char* name, const SphereGrid& grid, int64_t fewest) {
  if (grid.kind < SphereGridKind::equiangular || grid.kind > SphereGridKind::equiangular_trapezoidal)
    invalid_argument(name, ".kind=", static_cast<int32_t>(grid.kind), ": must be at least 0 and at most 3");
  fewest = max_of(fewest, min_latitudes(grid.kind));
  if (grid.nlat < fewest) invalid_argument(name, ".nlat=", grid.nlat, ": must be at least ", fewest);
  if (grid.nlat > kMaxLatitudes) invalid_argument(name, ".nlat=", grid.nlat, ": must be at most ", kMaxLatitudes);
  if (grid.nlon < 1) invalid_argument(name, ".nlon=", grid.nlon, ": must be at least 1");
  if (grid.nlon > kMaxLongitudes) invalid_argument(name, ".nlon=", grid.nlon, ": must be at most ", kMaxLongitudes);
}

void check_sphere(const SphereGrids& grids) {
  check_sphere_grid("query", grids.query, 1);
  check_sphere_grid("key", grids.key, 2);
  const int64_t queries = grids.query.nlon, keys = grids.key.nlon;
  if (queries % keys != 0 && keys % queries != 0)
    invalid_argument("query.nlon=", queries, ": must divide key.nlon=", keys, " or be a multiple of it");
  if (!(grids.cutoff > 0)) invalid_argument("cutoff=", grids.cutoff, ": must be above 0");
  if (!(grids.tolerance >= 0)) invalid_argument("tolerance=", grids.tolerance, ": must be at least 0");
}

double default_sphere_cutoff(const SphereGrid& query, const SphereGrid& key) {
  if (key.nlat < 2) invalid_argument("key.nlat=", key.nlat, ": must be at least 2");
  if (query.nlat < 2) invalid_argument("query.nlat=", query.nlat, ": must be at least 2 where no cutoff is given");
  return kPi / static_cast<double>((query.nlon > key.nlon ? key : query).nlat - 1);
}

SphereReach::SphereReach(const SphereGrids& grids) {
  check_sphere(grids);
  arc_ = {grids.query.nlon, grids.key.nlon};
  key_latitudes_ = grids.key.nlat;
  const std::vector<double> queries = sphere_latitudes(grids.query.kind, grids.query.nlat).theta;
  const std::vector<double> keys = sphere_latitudes(grids.key.kind, grids.key.nlat).theta;
  const Disc disc((1 + grids.tolerance) * grids.cutoff, arc_.finer());
  firsts_.reserve(queries.size());
  offsets_.reserve(queries.size() + 1);
  offsets_.push_back(0);
  for (const double theta : queries) {
    // theta ascends, so what is too far north comes first, and what is seen next.
    const auto first = std::partition_point(keys.begin(), keys.end(),
                                            [&](double other) { return other < theta && !disc.sees(theta, other); });
    const auto last =
        std::partition_point(first, keys.end(), [&](double other) { return other < theta || disc.sees(theta, other); });
    firsts_.push_back(first - keys.begin());
    for (auto other = first; other != last; ++other) half_widths_.push_back(disc.half_width(theta, *other));
    offsets_.push_back(static_cast<int64_t>(half_widths_.size()));
  }
  half_widths_.shrink_to_fit();
}

SphereReach SphereReach::transposed() const {
  SphereReach result;
  result.key_latitudes_ = query_latitudes();
  result.arc_ = arc_.transposed();
  result.firsts_.reserve(static_cast<size_t>(key_latitudes_));
  result.offsets_.reserve(static_cast<size_t>(key_latitudes_) + 1);
  result.half_widths_.reserve(half_widths_.size());
  result.offsets_.push_back(0);
  // Starts and ends ascend, so key k is seen by the queries from the first whose end is beyond it to the last whose
  // start is not.
  int64_t first = 0, last = 0;
  for (int64_t k = 0; k < key_latitudes_; ++k) {
    while (first < query_latitudes() && keys_of(first).end() <= k) ++first;
    while (last < query_latitudes() && keys_of(last).start <= k) ++last;
    result.firsts_.push_back(first);
    for (int64_t q = first; q < last; ++q) result.half_widths_.push_back(static_cast<int32_t>(half_width(q, k)));
    result.offsets_.push_back(static_cast<int64_t>(result.half_widths_.size()));
  }
  return result;
}

size_t SphereReach::bytes() const {
  return firsts_.capacity() * sizeof(int64_t) + offsets_.capacity() * sizeof(int64_t) +
         half_widths_.capacity() * sizeof(int32_t);
}

}  // namespace nearfield::core
