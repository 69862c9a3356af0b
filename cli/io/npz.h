// The .npz format: a zip archive with one .npy file for each tensor, stored or deflated. Other entries are ignored.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "io/tensor.h"
#include "io/tensor_file.h"

namespace nearfield::cli {

std::unique_ptr<TensorFile> open_npz(const std::filesystem::path& path);
// `bytes` must outlive the result.
std::unique_ptr<TensorFile> open_npz(std::span<const std::byte> bytes, std::string label);

enum class NpzCompression { stored, deflated };
void write_npz(const std::filesystem::path& path, const TensorMap& tensors,
               NpzCompression compression = NpzCompression::stored);

}  // namespace nearfield::cli
