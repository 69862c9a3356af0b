#include "bench_data.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>
#include <numbers>
#include <string>
#include <vector>

#include "base/checked.h"
#include "base/dtype.h"
#include "base/thread_pool.h"

namespace nearfield::cli {
namespace {

constexpr std::align_val_t kAlignment{64};
constexpr int64_t kBlock = int64_t{1} << 18;  // elements that one thread takes at a time

// splitmix64: a hash of a counter, so that element i needs no element before it.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// 65536 normal numbers by Box-Muller. Inputs draw from this table: gigabytes of them must not take minutes.
const std::vector<double>& normal_table() {
  static const std::vector<double> table = [] {
    std::vector<double> values(65536);
    for (size_t i = 0; i < values.size(); i += 2) {
      const double u = (static_cast<double>(mix(2 * i) >> 11) + 1) * 0x1p-53;
      const double angle = 2 * std::numbers::pi * static_cast<double>(mix(2 * i + 1) >> 11) * 0x1p-53;
      const double radius = std::sqrt(-2 * std::log(u));
      values[i] = radius * std::cos(angle);
      values[i + 1] = radius * std::sin(angle);
    }
    return values;
  }();
  return table;
}

core::DType core_dtype(nf_dtype dtype) { return static_cast<core::DType>(dtype); }

template <class Body>
void for_blocks(int64_t elements, Body body) {
  core::Threading threading;
  threading.num_threads = core::default_num_threads();
  core::parallel_for(threading, (elements + kBlock - 1) / kBlock,
                     [&](int64_t block) { body(block, block * kBlock, std::min(elements, (block + 1) * kBlock)); });
}

// exponent: the dtype's exponent bits, all ones exactly in NaN and infinity.
template <class Word>
int64_t find_nonfinite(const std::byte* memory, int64_t begin, int64_t end, Word exponent) {
  for (int64_t i = begin; i < end; ++i) {
    Word word;
    std::memcpy(&word, memory + i * static_cast<int64_t>(sizeof word), sizeof word);
    if ((word & exponent) == exponent) return i;
  }
  return std::numeric_limits<int64_t>::max();
}

int64_t find_nonfinite(const std::byte* memory, nf_dtype dtype, int64_t begin, int64_t end) {
  switch (dtype) {
    case NF_FLOAT64: return find_nonfinite<uint64_t>(memory, begin, end, 0x7ff0000000000000u);
    case NF_FLOAT32: return find_nonfinite<uint32_t>(memory, begin, end, 0x7f800000u);
    case NF_BFLOAT16: return find_nonfinite<uint16_t>(memory, begin, end, 0x7f80u);
    case NF_FLOAT16: return find_nonfinite<uint16_t>(memory, begin, end, 0x7c00u);
    case NF_BOOL: break;
  }
  return std::numeric_limits<int64_t>::max();
}

// The number on the line "MemAvailable:  123 kB" of /proc/meminfo, or the only number of a cgroup's file.
std::optional<int64_t> number_in(const char* path, const std::string& label) {
  std::ifstream file(path);
  std::string word;
  if (!label.empty())
    while (file >> word && word != label) {
    }
  int64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

}  // namespace

void Buffer::Free::operator()(std::byte* memory) const { ::operator delete[](memory, kAlignment); }

Buffer::Buffer(int64_t elements, nf_dtype dtype) : elements_(elements), dtype_(dtype) {
  memory_.reset(static_cast<std::byte*>(::operator new[](std::max<size_t>(bytes(), 1), kAlignment)));
}

Buffer Buffer::copy() const {
  Buffer result(elements_, dtype_);
  if (memory_ != nullptr) std::memcpy(result.memory_.get(), memory_.get(), bytes());
  return result;
}

size_t Buffer::bytes() const {
  return static_cast<size_t>(core::checked_product(elements_, core::size_of(core_dtype(dtype_)), "bytes"));
}

void Buffer::fill_normal(uint64_t seed) {
  const int64_t size = core::size_of(core_dtype(dtype_));
  std::vector<std::byte> table(normal_table().size() * static_cast<size_t>(size));
  for (size_t i = 0; i < normal_table().size(); ++i)
    core::store_double(table.data() + i * static_cast<size_t>(size), core_dtype(dtype_), normal_table()[i]);
  std::byte* memory = memory_.get();
  const uint64_t key = mix(seed);
  for_blocks(elements_, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t pick = static_cast<int64_t>(mix(key + static_cast<uint64_t>(i)) >> 48);
      std::memcpy(memory + i * size, table.data() + pick * size, static_cast<size_t>(size));
    }
  });
}

void Buffer::poison() { std::memset(memory_.get(), 0xFF, bytes()); }

std::optional<int64_t> Buffer::first_nonfinite() const {
  std::atomic<int64_t> first = std::numeric_limits<int64_t>::max();
  for_blocks(elements_, [&](int64_t, int64_t begin, int64_t end) {
    const int64_t found = find_nonfinite(memory_.get(), dtype_, begin, end);
    int64_t seen = first.load();
    while (found < seen && !first.compare_exchange_weak(seen, found)) {
    }
  });
  if (first == std::numeric_limits<int64_t>::max()) return std::nullopt;
  return first.load();
}

uint64_t Buffer::fingerprint() const {
  const int64_t size = core::size_of(core_dtype(dtype_));
  std::atomic<uint64_t> sum = 0;  // of the blocks' own fingerprints, each salted with its place
  for_blocks(elements_, [&](int64_t block, int64_t begin, int64_t end) {
    uint64_t hash = mix(static_cast<uint64_t>(block));
    const std::byte* bytes = memory_.get() + begin * size;
    const int64_t count = (end - begin) * size;
    for (int64_t i = 0; i < count; i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, bytes + i, static_cast<size_t>(std::min<int64_t>(8, count - i)));
      hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 32;
    }
    sum += mix(hash);
  });
  return sum;
}

double Buffer::at(int64_t element) const {
  return core::load_double(memory_.get() + element * core::size_of(core_dtype(dtype_)), core_dtype(dtype_));
}

std::optional<int64_t> available_memory() {
  std::optional<int64_t> available = number_in("/proc/meminfo", "MemAvailable:");
  if (available) *available *= 1024;
  const std::optional<int64_t> limit = number_in("/sys/fs/cgroup/memory.max", "");
  const std::optional<int64_t> used = number_in("/sys/fs/cgroup/memory.current", "");
  if (!limit || !used) return available;
  // Cached files count as used but give way.
  const int64_t cached = number_in("/sys/fs/cgroup/memory.stat", "inactive_file").value_or(0);
  const int64_t left = std::max<int64_t>(0, *limit - *used + cached);
  return std::min(available.value_or(left), left);
}

}  // namespace nearfield::cli
