// Stands in for loader.cpp in a library that is built without CUDA.
#include "engine/cuda/loader.h"

namespace nearfield::core {

const cuda::Table* cuda_table(std::string& why) {
  why = "nearfield was built without CUDA";
  return nullptr;
}

}  // namespace nearfield::core
