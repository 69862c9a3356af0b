// Tensor files in memory, for the tests of cli/io.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "io/npz.h"
#include "io/tensor_file.h"

namespace nearfield::cli::testing {

using Bytes = std::vector<std::byte>;

inline constexpr nf_dtype kDTypes[] = {NF_FLOAT64, NF_FLOAT32, NF_BFLOAT16, NF_FLOAT16, NF_BOOL};

Bytes bytes_of(std::string_view text);
Bytes bytes_of_hex(std::string_view hex);
std::string text_of(const Bytes& bytes);
Bytes operator+(Bytes a, const Bytes& b);

// Little-endian.
Bytes integer(uint64_t value, size_t bytes);

// A .npy file: version 1, 2 or 3, the dict as given, the data.
Bytes npy(std::string_view dict, const Bytes& data, int version = 1);
// A .safetensors file with the header as given.
Bytes safetensors(std::string_view header, const Bytes& data);

enum class Order { c, fortran, strided };  // strided: neither, elements in reversed axis order but for the last two

// Random bits (bools: 0 or 1).
OwnedTensor random_tensor(nf_dtype dtype, std::vector<int64_t> sizes, Order order, std::mt19937_64& random);

// Three tensors of different dtype, order and rank, one of them empty.
TensorMap sample_tensors(std::mt19937_64& random);

// A directory of its own, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

Bytes read_bytes(const std::filesystem::path& path);
void write_bytes(const std::filesystem::path& path, const Bytes& bytes);

// Through a file, which is how libzip likes it.
Bytes npz_of(const TensorMap& tensors, NpzCompression compression);

// The text of the FileError that opening and reading everything gives; "" if there is none.
std::string error_of(FileFormat format, const Bytes& bytes);

}  // namespace nearfield::cli::testing
