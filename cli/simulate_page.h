// `nearfield simulate --html`: one page that loads nothing, on which grid, window, stride, dilation and tiles can be
// changed.
#pragma once

#include <string>

#include "simulation.h"

namespace nearfield::cli {

// Begins with the given pattern, which must be a neighborhood: UsageError.
std::string simulation_page(const AnyPattern& pattern, const Axes& grid, const TileSizes& tiles);

}  // namespace nearfield::cli
