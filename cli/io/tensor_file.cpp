#include "io/tensor_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "io/npy.h"
#include "io/npz.h"
#include "io/safetensors.h"

namespace nearfield::cli {
namespace {

constexpr size_t kNamesShown = 12;

std::string list_of(const std::vector<std::string>& names) {
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kNamesShown); ++i) list += (i == 0 ? "" : ", ") + printable(names[i]);
  return names.size() > kNamesShown ? list + fmt::format(", ... ({} in all)", names.size()) : list;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// Calls `write` with a sink into the file; a file that could not be completed is removed.
template <class Write>
void write_file(const std::filesystem::path& path, Write&& write) {
  const std::string label = path.string();
  std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "wb"));
  if (!file) throw FileError(label, fmt::format("cannot be written: {}", std::strerror(errno)));
  int error = 0;
  write([&](std::span<const std::byte> bytes) {
    if (error == 0 && !bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), file.get()) != bytes.size())
      error = errno;
  });
  if (std::fclose(file.release()) != 0 && error == 0) error = errno;
  if (error == 0) return;
  std::remove(path.c_str());
  throw FileError(label, fmt::format("cannot be written: {}", std::strerror(error)));
}

}  // namespace

bool TensorFile::has(std::string_view name) const {
  return std::find(names_.begin(), names_.end(), name) != names_.end();
}

OwnedTensor TensorFile::read(const std::string& name) {
  const auto at = std::find(names_.begin(), names_.end(), name);
  if (at == names_.end())
    throw FileError(
        label_, fmt::format("has no tensor {}: has {}", printable(name), names_.empty() ? "none" : list_of(names_)));
  return read_entry(static_cast<size_t>(at - names_.begin()));
}

FileFormat format_of(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".npy") return FileFormat::npy;
  if (extension == ".npz") return FileFormat::npz;
  if (extension == ".safetensors") return FileFormat::safetensors;
  throw FileError(path.string(), fmt::format("extension {}: must be .npy, .npz or .safetensors", printable(extension)));
}

std::unique_ptr<TensorFile> open_tensor_file(const std::filesystem::path& path) {
  switch (format_of(path)) {
    case FileFormat::npy: return open_npy(open_file(path));
    case FileFormat::npz: return open_npz(path);
    case FileFormat::safetensors: return open_safetensors(open_file(path));
  }
  throw std::invalid_argument("open_tensor_file: no such format");
}

std::unique_ptr<TensorFile> open_tensor_bytes(FileFormat format, std::span<const std::byte> bytes, std::string label) {
  switch (format) {
    case FileFormat::npy: return open_npy(open_memory(bytes, std::move(label)));
    case FileFormat::npz: return open_npz(bytes, std::move(label));
    case FileFormat::safetensors: return open_safetensors(open_memory(bytes, std::move(label)));
  }
  throw std::invalid_argument("open_tensor_bytes: no such format");
}

void require_booleans(const OwnedTensor& tensor, std::string_view label, std::string_view field) {
  const auto wrong =
      std::find_if(tensor.bytes.begin(), tensor.bytes.end(), [](std::byte b) { return b > std::byte{1}; });
  if (wrong != tensor.bytes.end())
    throw FileError(label, fmt::format("{}: byte {} is {}: a bool must be 0 or 1", field, wrong - tensor.bytes.begin(),
                                       std::to_integer<int>(*wrong)));
}

TensorMap read_all(TensorFile& file) {
  TensorMap tensors;
  for (const std::string& name : file.names()) tensors.emplace(name, file.read(name));
  return tensors;
}

void write_tensor_file(const std::filesystem::path& path, const TensorMap& tensors) {
  const FileFormat format = format_of(path);
  if (format == FileFormat::npy && tensors.size() != 1)
    throw FileError(path.string(),
                    fmt::format("holds one tensor, not {}: must be .npz or .safetensors", tensors.size()));
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored))
    throw FileError(path.string(), "must be a regular file");
  if (format == FileFormat::npy) write_file(path, [&](const Sink& sink) { write_npy(tensors.begin()->second, sink); });
  if (format == FileFormat::npz) write_npz(path, tensors);
  if (format == FileFormat::safetensors) write_file(path, [&](const Sink& sink) { write_safetensors(tensors, sink); });
}

}  // namespace nearfield::cli
