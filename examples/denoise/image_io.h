// Image files: PNG in and out, and NumPy's .npy out (exact float32 values for other programs).
//
// Errors are FileError; the message names the file and what is wrong with it.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "image.h"

namespace denoise {

class FileError : public std::runtime_error {
 public:
  FileError(const std::string& path, const std::string& problem) : std::runtime_error(path + ": " + problem) {}
};

// Larger images are refused before anything of their size is allocated.
inline constexpr int64_t kMaxPixels = int64_t{1} << 24;

// Any PNG: grey, RGB or palette, 1 to 16 bits, interlaced or not. Alpha is dropped. Grey gives 1 channel, all else 3;
// the file's full range becomes [0, 1].
Image read_png(const std::string& path);

// 8 bits per channel; values are clipped to [0, 1] and rounded.
void write_png(const std::string& path, const Image& image);

// float32, C order, shape (height, width, channels).
void write_npy(const std::string& path, const Image& image);

void write_text(const std::string& path, const std::string& text);

}  // namespace denoise
