#include "engine/cuda/loader.h"

#include <dlfcn.h>

#include <cstdlib>
#include <utility>

#include "base/error.h"

namespace nearfield::core {
namespace {

constexpr const char* kName = "libnearfield_cuda.so";

// Beside the library, or program, that this code is in.
std::string default_path() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&default_path), &info) == 0 || info.dli_fname == nullptr) return kName;
  const std::string own = info.dli_fname;
  const size_t slash = own.rfind('/');
  return slash == std::string::npos ? kName : own.substr(0, slash + 1) + kName;
}

struct Loaded {
  const cuda::Table* table = nullptr;
  std::string why;
};

Loaded load() {
  const char* const given = std::getenv("NEARFIELD_CUDA_LIBRARY");
  const std::string path = given != nullptr && *given != '\0' ? given : default_path();
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: kernels may be running
  if (library == nullptr) return {nullptr, concat("the kernels can't be loaded: ", dlerror())};
  using Entry = const cuda::Table* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "nearfield_cuda_table"));
  if (entry == nullptr) return {nullptr, concat(path, " is not nearfield's")};
  const cuda::Table* const table = entry();
  if (table->version != cuda::kTableVersion)
    return {nullptr,
            concat(path, " is of another version of nearfield: ", table->version, ", not ", cuda::kTableVersion)};
  return {table, ""};
}

}  // namespace

const cuda::Table* cuda_table(std::string& why) {
  static const Loaded& loaded = *new Loaded(load());
  why = loaded.why;
  return loaded.table;
}

}  // namespace nearfield::core
