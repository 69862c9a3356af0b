// Neighborhood attention on the sphere: which points of one latitude-longitude grid a point of another sees.
//
// A key is seen if its great-circle distance from the query is at most (1 + tolerance)*cutoff. Of one circle of
// latitude that is one arc, symmetric about the query's longitude, so a neighbourhood is one half-width for each pair
// of a query latitude and a key latitude: reach, in steps of the finer longitude grid (sphere_arc.h). Seen latitudes
// are consecutive, hence bands: for each query latitude the first seen key latitude, and the reaches from there on.
//
// Distances are float64, from haversines of the distance to the key and to its antipode, precise near 0 and near pi:
//   sin(d/2)^2 = sin((t-t')/2)^2 + sin t sin t' sin(dphi/2)^2
//   cos(d/2)^2 = cos((t+t')/2)^2 + sin t sin t' cos(dphi/2)^2
// Grids have many keys at the same distance up to rounding, the cutoff being one of them as often as not. With a
// tolerance, 1e-3 by default as in torch-harmonics, none is near the edge. So that ties are ties without it too,
// kSphereSlack radians are added: more than a distance's rounding error, far less than any two points are apart.
// A cutoff of pi or more, also by the tolerance, is the whole sphere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pattern/sphere_arc.h"
#include "pattern/sphere_grid.h"

namespace nearfield::core {

struct SphereGrid {
  SphereGridKind kind = SphereGridKind::equiangular;
  int64_t nlat = 0;  // circles of latitude
  int64_t nlon = 0;  // equally spaced points of each, from longitude 0
  bool operator==(const SphereGrid&) const = default;
};

struct SphereGrids {
  SphereGrid query, key;
  double cutoff = 0;  // radians
  double tolerance = 1e-3;
  bool operator==(const SphereGrids&) const = default;
};

inline constexpr int64_t kMaxLongitudes = int64_t{1} << 20;
inline constexpr double kSphereSlack = 1e-14;

// What holds for a grid by itself. Errors (invalid_argument): name.nlat below `fewest`, or 2 where both poles belong to
// the grid; the others of check_sphere.
void check_sphere_grid(const char* name, const SphereGrid& grid, int64_t fewest);

// Errors (invalid_argument, of query and key alike): kind that is none of the four, nlat below 2 (of queries on
// legendre-gauss: 1) or above kMaxLatitudes, nlon below 1 or above kMaxLongitudes, nlons of which neither divides the
// other; cutoff not above 0, tolerance below 0, either NaN.
void check_sphere(const SphereGrids& grids);

// One step of latitude: pi/(key.nlat - 1) where queries have more longitudes than keys, else pi/(query.nlat - 1). On
// grids other than equiangular it is shorter than some steps, and on two different ones a query may see nothing.
// Errors: nlat below 2 of query or key; queries on a single latitude have no step, and need a cutoff.
double default_sphere_cutoff(const SphereGrid& query, const SphereGrid& key);

class SphereReach {
 public:
  // Errors: check_sphere. Memory: bytes(); time: O(seen pairs of latitudes * log nlon).
  explicit SphereReach(const SphereGrids& grids);

  int64_t query_latitudes() const { return static_cast<int64_t>(firsts_.size()); }
  int64_t key_latitudes() const { return key_latitudes_; }
  const SphereArc& arc() const { return arc_; }

  // Key latitudes that a query latitude sees anything of; maybe none. Starts and ends never decrease with the query.
  Interval keys_of(int64_t query_latitude) const {
    const auto q = static_cast<size_t>(query_latitude);
    return {firsts_[q], offsets_[q + 1] - offsets_[q]};
  }
  // Their half-widths, 0 .. arc().whole_circle().
  std::span<const int32_t> half_widths(int64_t query_latitude) const {
    const auto q = static_cast<size_t>(query_latitude);
    return std::span(half_widths_)
        .subspan(static_cast<size_t>(offsets_[q]), static_cast<size_t>(offsets_[q + 1] - offsets_[q]));
  }
  // Of any key latitude; -1 where it is not seen.
  int64_t half_width(int64_t query_latitude, int64_t key_latitude) const {
    const Interval seen = keys_of(query_latitude);
    const int64_t i = key_latitude - seen.start;
    return i < 0 || i >= seen.length ? -1 : half_widths(query_latitude)[static_cast<size_t>(i)];
  }

  // Queries in the place of keys: exactly the reach of the grids exchanged.
  SphereReach transposed() const;

  size_t bytes() const;  // memory held: 4 a seen pair of latitudes, 16 a query latitude, and 8
  bool operator==(const SphereReach&) const = default;

 private:
  SphereReach() = default;  // of nothing

  int64_t key_latitudes_ = 0;
  SphereArc arc_;
  std::vector<int64_t> firsts_;       // [query latitude]: the first key latitude seen
  std::vector<int64_t> offsets_;      // [query latitude + 1]: into half_widths_
  std::vector<int32_t> half_widths_;  // band after band
};

}  // namespace nearfield::core
