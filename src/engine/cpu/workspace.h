// Scratch memory of one call.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "engine/cpu/driver.h"

namespace nearfield::core {

// The caller's workspace, aligned to a cache line, or one of its own.
class Workspace {
 public:
  Workspace(void* given, size_t size) : memory_(given) {
    if (given != nullptr) return;
    own_.reset(std::aligned_alloc(kCacheLine, (size + kCacheLine - 1) / kCacheLine * kCacheLine));
    if (own_ == nullptr) throw std::bad_alloc();
    memory_ = own_.get();
  }
  void* memory() const { return memory_; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> own_;
  void* memory_;
};

}  // namespace nearfield::core
