#include "io_samples.h"

#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <stdexcept>

namespace nearfield::cli::testing {

Bytes bytes_of(std::string_view text) {
  Bytes bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

Bytes bytes_of_hex(std::string_view hex) {
  Bytes bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

std::string text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes integer(uint64_t value, size_t bytes) {
  Bytes result(bytes);
  for (size_t i = 0; i < bytes; ++i) result[i] = static_cast<std::byte>(i < 8 ? value >> (8 * i) : 0);
  return result;
}

Bytes npy(std::string_view dict, const Bytes& data, int version) {
  const Bytes start = bytes_of("\x93NUMPY") + integer(static_cast<uint64_t>(version), 2);
  return start + integer(dict.size(), version == 1 ? 2 : 4) + bytes_of(dict) + data;
}

Bytes safetensors(std::string_view header, const Bytes& data) {
  return integer(header.size(), 8) + bytes_of(header) + data;
}

OwnedTensor random_tensor(nf_dtype dtype, std::vector<int64_t> sizes, Order order, std::mt19937_64& random) {
  OwnedTensor tensor = make_tensor(dtype, sizes);
  for (std::byte& byte : tensor.bytes) byte = static_cast<std::byte>(random() & (dtype == NF_BOOL ? 1 : 0xFF));
  if (order == Order::fortran) tensor.strides = fortran_strides(sizes);
  if (order == Order::strided && sizes.size() >= 3) {
    // The strides of a permuted tensor: the last two axes keep their order, the others are reversed.
    std::vector<size_t> axes(sizes.size());
    std::iota(axes.begin(), axes.end(), size_t{0});
    std::reverse(axes.begin(), axes.end() - 2);
    std::vector<int64_t> permuted;
    for (const size_t axis : axes) permuted.push_back(sizes[axis]);
    std::rotate(permuted.begin(), permuted.end() - 2, permuted.end());
    std::rotate(axes.begin(), axes.end() - 2, axes.end());
    const std::vector<int64_t> strides = c_strides(permuted);
    for (size_t i = 0; i < axes.size(); ++i) tensor.strides[axes[i]] = strides[i];
  }
  return tensor;
}

TensorMap sample_tensors(std::mt19937_64& random) {
  TensorMap tensors;
  tensors.emplace("query", random_tensor(NF_FLOAT32, {2, 3, 2}, Order::c, random));
  tensors.emplace("mask", random_tensor(NF_BOOL, {5}, Order::c, random));
  tensors.emplace("h\xc3\xa9", random_tensor(NF_BFLOAT16, {2, 0}, Order::fortran, random));
  return tensors;
}

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "nearfield_test_XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}
TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Bytes read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return bytes_of(text);
}

void write_bytes(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

Bytes npz_of(const TensorMap& tensors, NpzCompression compression) {
  const TemporaryDirectory directory;
  write_npz(directory / "x.npz", tensors, compression);
  return read_bytes(directory / "x.npz");
}

std::string error_of(FileFormat format, const Bytes& bytes) {
  try {
    read_all(*open_tensor_bytes(format, bytes, "f"));
  } catch (const FileError& error) {
    return error.what();
  }
  return "";
}

}  // namespace nearfield::cli::testing
