// Files of named tensors: one interface to .npy, .npz and .safetensors. Every problem is a FileError that names file,
// field, value and rule; no file, however corrupt, causes more.
//
// A .npy file holds one tensor, whose name is "". Opening reads what describes the tensors, read() one tensor; tensors
// of a dtype that nearfield doesn't know are an error only when they are read.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/input.h"
#include "io/tensor.h"

namespace nearfield::cli {

class TensorFile {
 public:
  virtual ~TensorFile() = default;
  const std::vector<std::string>& names() const { return names_; }
  bool has(std::string_view name) const;
  // A FileError lists the names if there is no such tensor.
  OwnedTensor read(const std::string& name);

 protected:
  TensorFile(std::string label, std::vector<std::string> names) : label_(std::move(label)), names_(std::move(names)) {}
  const std::string& label() const { return label_; }
  virtual OwnedTensor read_entry(size_t index) = 0;  // into names()

 private:
  std::string label_;
  std::vector<std::string> names_;
};

enum class FileFormat { npy, npz, safetensors };

// By extension; a FileError if it is another one.
FileFormat format_of(const std::filesystem::path& path);

std::unique_ptr<TensorFile> open_tensor_file(const std::filesystem::path& path);
// `bytes` must outlive the result.
std::unique_ptr<TensorFile> open_tensor_bytes(FileFormat format, std::span<const std::byte> bytes, std::string label);

// A FileError if a byte of a bool tensor is neither 0 nor 1. `field` names the bytes.
void require_booleans(const OwnedTensor& tensor, std::string_view label, std::string_view field);

TensorMap read_all(TensorFile& file);
// Replaces the file. A .npy file takes one tensor, of any name.
void write_tensor_file(const std::filesystem::path& path, const TensorMap& tensors);

}  // namespace nearfield::cli
