// Every kernel of the SIMT engine, by what a launch names. Include a device layer first.
#pragma once

#include "engine/cuda/simt/attention.h"
#include "engine/cuda/simt/small.h"

namespace nearfield::simt {

using FloatShape = Shape<float, 8, 4>;
using DoubleShape = Shape<double, 4, 4>;

}  // namespace nearfield::simt
