// Random damage to valid files gives a value or a FileError: never another exception, a crash, or an allocation that
// the file does not justify. Run it with sanitizers too.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "io_samples.h"

namespace {
std::atomic<size_t> largest_allocation{0};
}

// Out of line: inlined into a caller they look like a free() of what another operator gave.
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept {
  size_t seen = largest_allocation.load();
  while (size > seen && !largest_allocation.compare_exchange_weak(seen, size)) {
  }
  return std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new(size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace nearfield::cli::testing {
namespace {

constexpr int kMutations = 20'000;

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  Bytes operator()(Bytes bytes) {
    const int count = 1 + static_cast<int>(below(3));
    for (int i = 0; i < count; ++i) mutate(bytes);
    return bytes;
  }
  size_t below(size_t limit) { return limit == 0 ? 0 : random_() % limit; }

 private:
  void mutate(Bytes& bytes) {
    const size_t at = below(bytes.size());
    const auto position = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(7)) {
      case 0: bytes.resize(at); break;
      case 1:
        if (!bytes.empty()) bytes[at] ^= static_cast<std::byte>(1u << below(8));
        break;
      case 2:
        if (!bytes.empty()) bytes[at] = static_cast<std::byte>(random_());
        break;
      case 3: bytes.insert(position, 1 + below(8), static_cast<std::byte>(random_())); break;
      case 4:
        bytes.erase(position, position + static_cast<std::ptrdiff_t>(below(std::min<size_t>(9, bytes.size() - at))));
        break;
      case 5: put_number(bytes, at); break;
      case 6: put_text(bytes, at); break;
    }
  }
  // Lengths and offsets at the edges of their types.
  void put_number(Bytes& bytes, size_t at) {
    constexpr uint64_t kNumbers[] = {0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, ~uint64_t{0}, uint64_t{1} << 63};
    const size_t size = size_t{1} << below(4);
    const Bytes number = integer(kNumbers[below(std::size(kNumbers))], size);
    for (size_t i = 0; i < size && at + i < bytes.size(); ++i) bytes[at + i] = number[i];
  }
  void put_text(Bytes& bytes, size_t at) {
    constexpr std::string_view kTexts[] = {
        "-1",   "999999999999",     "[",     "]",       "{",    "}", "(", ")", ",", "'", "\"", "True",
        "null", "[[[[[[[[[[[[[[[[", "1e999", "\\u0000", "'<f8'"};
    const std::string_view text = kTexts[below(std::size(kTexts))];
    for (size_t i = 0; i < text.size() && at + i < bytes.size(); ++i) bytes[at + i] = static_cast<std::byte>(text[i]);
  }

  std::mt19937_64 random_;
};

// Reads everything; true if it was valid. Any exception but FileError escapes.
bool read_succeeds(FileFormat format, const Bytes& bytes) {
  try {
    for (const auto& [name, tensor] : read_all(*open_tensor_bytes(format, bytes, "f"))) {
      EXPECT_EQ(tensor.bytes.size(), static_cast<size_t>(tensor.elements()) * size_of(tensor.dtype));
      EXPECT_EQ(tensor.sizes.size(), tensor.strides.size());
    }
    return true;
  } catch (const FileError& error) {
    EXPECT_TRUE(is_utf8(error.what()));
    return false;
  }
}

void fuzz(FileFormat format, const std::vector<Bytes>& valid, size_t allocation_limit, uint64_t seed) {
  Mutator mutate(seed);
  int successes = 0;
  largest_allocation = 0;
  for (int i = 0; i < kMutations; ++i) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << " mutation " << i);
    const Bytes damaged = mutate(valid[static_cast<size_t>(i) % valid.size()]);
    try {
      successes += read_succeeds(format, damaged);
    } catch (const std::exception& error) {
      FAIL() << "an exception that is no FileError: " << error.what();
    }
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_LE(largest_allocation.load(), allocation_limit);
  // Most damage is noticed, some cannot be (a bit of an element); neither is all.
  EXPECT_GT(successes, 0);
  EXPECT_LT(successes, kMutations / 2);
}

TEST(Fuzz, Npy) {
  std::mt19937_64 random(11);
  const std::string dict = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n";
  const std::vector<Bytes> valid = {npy(dict, Bytes(24)), npy(dict, Bytes(24), 2),
                                    npy("{'descr': '|b1', 'fortran_order': False, 'shape': (0, 3), }\n", {}, 3),
                                    npy("{'descr': '>f8', 'fortran_order': False, 'shape': (), }\n", Bytes(8))};
  fuzz(FileFormat::npy, valid, 1 << 16, 101);
}

TEST(Fuzz, Npz) {
  std::mt19937_64 random(12);
  const TensorMap tensors = sample_tensors(random);
  const std::vector<Bytes> valid = {npz_of(tensors, NpzCompression::stored), npz_of(tensors, NpzCompression::deflated)};
  // Deflate can justify 1032 times a file of 1 KiB.
  fuzz(FileFormat::npz, valid, 1 << 21, 102);
}

TEST(Fuzz, Safetensors) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2],"data_offsets":[24,28]},)"
      R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("e":{"dtype":"BOOL","shape":[0],"data_offsets":[28,28]}})";
  fuzz(FileFormat::safetensors, {safetensors(header, Bytes(28)), safetensors("{}", {})}, 1 << 16, 103);
}

}  // namespace
}  // namespace nearfield::cli::testing
