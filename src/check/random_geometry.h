// Random shapes and patterns whose cost stays below a limit.
#pragma once

#include "check/random.h"
#include "check/random_problem.h"

namespace nearfield::core {

struct Geometry {
  Shape shape;
  Pattern pattern;
};

Geometry random_geometry(Random& random, const RandomProblemOptions& options);

// "rank=2 grid=12x7 ... boundary=clamp,wrap"
std::string describe_geometry(const Shape& shape, const Pattern& pattern);

}  // namespace nearfield::core
