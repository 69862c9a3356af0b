// libnearfield_cuda.so, loaded when it is first asked for.
#pragma once

#include <string>

#include "engine/cuda/table.h"

namespace nearfield::core {

// The library's table; nullptr if there is none, and why, as a sentence's end: "... was not found". Thread-safe; the
// answer stays the same.
const cuda::Table* cuda_table(std::string& why);

}  // namespace nearfield::core
