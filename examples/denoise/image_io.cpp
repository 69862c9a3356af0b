#include "image_io.h"

#include <png.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

namespace denoise {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

File open_file(const std::string& path, const char* mode) {
  File file(std::fopen(path.c_str(), mode));
  if (!file) throw FileError(path, std::string("cannot open: ") + std::strerror(errno));
  return file;
}

// libpng reports errors by longjmp, which must not skip a destructor: the two functions that set a jump target hold
// plain data only.
class PngReader {
 public:
  explicit PngReader(std::FILE* file) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) throw std::bad_alloc();
    png_init_io(png_, file);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  // Reads up to the first pixel and asks for 8 or 16 bit grey or RGB.
  bool read_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_info(png_, info_);
    png_set_expand(png_);  // palettes to RGB, 1, 2 and 4 bit grey to 8 bit
    png_set_strip_alpha(png_);
    if constexpr (std::endian::native == std::endian::little) png_set_swap(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }
  bool read_rows(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t width() const { return png_get_image_width(png_, info_); }
  int64_t channels() const { return png_get_channels(png_, info_); }
  int bits() const { return png_get_bit_depth(png_, info_); }
  const char* message() const { return message_; }

 private:
  static void on_error(png_structp png, png_const_charp text) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->message_, sizeof reader->message_, "%s", text);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char message_[160] = "";
};

void write_file(const std::string& path, std::initializer_list<std::string_view> parts) {
  const File file = open_file(path, "wb");
  bool written = true;
  for (const std::string_view part : parts)
    written = written && std::fwrite(part.data(), 1, part.size(), file.get()) == part.size();
  if (!written || std::fflush(file.get()) != 0)
    throw FileError(path, std::string("cannot write: ") + std::strerror(errno));
}

bool has_png_signature(std::FILE* file) {
  png_byte head[8] = {};
  const size_t count = std::fread(head, 1, sizeof head, file);
  std::rewind(file);
  return count == sizeof head && png_sig_cmp(head, 0, sizeof head) == 0;
}

void convert(const std::vector<png_byte>& bytes, int bits, Image& image) {
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    if (bits == 16) {
      uint16_t value = 0;
      std::memcpy(&value, &bytes[2 * i], 2);
      image.pixels[i] = static_cast<float>(value / 65535.0);
    } else {
      image.pixels[i] = static_cast<float>(bytes[i] / 255.0);
    }
  }
}

}  // namespace

Image read_png(const std::string& path) {
  const File file = open_file(path, "rb");
  if (!has_png_signature(file.get())) throw FileError(path, "not a PNG file");
  PngReader reader(file.get());
  if (!reader.read_header()) throw FileError(path, std::string("damaged PNG file: ") + reader.message());
  const int64_t height = reader.height(), width = reader.width();
  if (height > kMaxPixels / width)
    throw FileError(path, std::to_string(width) + " x " + std::to_string(height) + " pixels: at most " +
                              std::to_string(kMaxPixels) + " are allowed");
  Image image(height, width, reader.channels());
  const size_t row_bytes = static_cast<size_t>(width * image.channels * (reader.bits() / 8));
  std::vector<png_byte> bytes(row_bytes * static_cast<size_t>(height));
  std::vector<png_bytep> rows;
  for (int64_t y = 0; y < height; ++y) rows.push_back(bytes.data() + static_cast<size_t>(y) * row_bytes);
  if (!reader.read_rows(rows.data())) throw FileError(path, std::string("damaged PNG file: ") + reader.message());
  convert(bytes, reader.bits(), image);
  return image;
}

void write_png(const std::string& path, const Image& image) {
  std::vector<png_byte> bytes(image.pixels.size());
  std::transform(image.pixels.begin(), image.pixels.end(), bytes.begin(),
                 [](float value) { return static_cast<png_byte>(std::lround(255 * std::clamp(value, 0.0f, 1.0f))); });
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  const File file = open_file(path, "wb");
  if (png_image_write_to_stdio(&header, file.get(), 0, bytes.data(), 0, nullptr) == 0 || std::fflush(file.get()) != 0)
    throw FileError(path, std::string("cannot write: ") + (header.message[0] ? header.message : std::strerror(errno)));
}

void write_npy(const std::string& path, const Image& image) {
  static_assert(std::endian::native == std::endian::little, "the header below says little-endian");
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(image.height) + ", " +
                       std::to_string(image.width) + ", " + std::to_string(image.channels) + "), }";
  // Magic, version and length are 10 bytes; the data begin at a multiple of 64 and after a newline.
  header.append((64 - (10 + header.size() + 1) % 64) % 64, ' ').push_back('\n');
  const char magic[10] = {'\x93',
                          'N',
                          'U',
                          'M',
                          'P',
                          'Y',
                          1,
                          0,
                          static_cast<char>(header.size() & 255),
                          static_cast<char>(header.size() >> 8)};
  const char* pixels = reinterpret_cast<const char*>(image.pixels.data());
  write_file(path, {{magic, sizeof magic}, header, {pixels, image.pixels.size() * sizeof(float)}});
}

void write_text(const std::string& path, const std::string& text) { write_file(path, {text}); }

}  // namespace denoise
