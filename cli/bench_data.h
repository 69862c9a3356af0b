// Memory for benchmarks: deterministic inputs, poisoned outputs, and what is left of the machine's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "nearfield/nearfield.h"

namespace nearfield::cli {

// Dense memory of `elements` values, aligned to 64 bytes, not initialised.
class Buffer {
 public:
  Buffer() = default;
  Buffer(int64_t elements, nf_dtype dtype);

  // The same values in memory of their own.
  Buffer copy() const;

  void* data() const { return memory_.get(); }
  int64_t elements() const { return elements_; }
  nf_dtype dtype() const { return dtype_; }
  size_t bytes() const;

  // N(0,1), rounded to the dtype; element i depends on seed and i alone.
  void fill_normal(uint64_t seed);
  // Every byte 0xFF: a NaN in every floating dtype.
  void poison();
  // Position of the first NaN or infinity, or nothing.
  std::optional<int64_t> first_nonfinite() const;
  // Of all bytes; equal fingerprints stand for equal bits.
  uint64_t fingerprint() const;
  double at(int64_t element) const;

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  int64_t elements_ = 0;
  nf_dtype dtype_ = NF_FLOAT32;
  std::unique_ptr<std::byte[], Free> memory_;
};

// Bytes that a process can still take: what the system has available, or less under a cgroup's limit. Nothing where
// the system does not say.
std::optional<int64_t> available_memory();

}  // namespace nearfield::cli
