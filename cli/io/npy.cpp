#include "io/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

namespace nearfield::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are read and written as they lie in memory");

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kAlignment = 64;                   // of the first element, as NumPy writes it
constexpr uint64_t kMaxHeader = uint64_t{1} << 20;  // a header of the largest rank has less than 2 KiB

template <size_t N>
uint64_t read_little_endian(Input& input, std::string_view what) {
  std::byte bytes[N];
  input.read(bytes, what);
  uint64_t value = 0;
  for (size_t i = 0; i < N; ++i) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

NpyHeader read_header(Input& input) {
  std::byte start[8];
  input.read(start, "magic");
  if (std::memcmp(start, kMagic.data(), kMagic.size()) != 0)
    throw FileError(input.label(), "magic: is not a .npy file: it must begin with \\x93NUMPY");
  const int major = std::to_integer<int>(start[6]), minor = std::to_integer<int>(start[7]);
  if (major < 1 || major > 3 || minor != 0)
    throw FileError(input.label(), fmt::format("version={}.{}: must be 1.0, 2.0 or 3.0", major, minor));
  const uint64_t length =
      major == 1 ? read_little_endian<2>(input, "header length") : read_little_endian<4>(input, "header length");
  if (length > kMaxHeader)
    throw FileError(input.label(), fmt::format("header length={}: must be at most {}", length, kMaxHeader));
  const std::vector<std::byte> bytes = input.read_bytes(length, "header");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (major == 3 && !is_utf8(text)) throw FileError(input.label(), "header: must be UTF-8 in version 3.0");
  return parse_npy_header(text, input.label());
}

void swap_bytes(std::vector<std::byte>& bytes, size_t width) {
  for (size_t i = 0; i + width <= bytes.size(); i += width)
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                 bytes.begin() + static_cast<std::ptrdiff_t>(i + width));
}

const char* descr_of(nf_dtype dtype) {
  switch (dtype) {
    case NF_FLOAT64: return "<f8";
    case NF_FLOAT32: return "<f4";
    case NF_BFLOAT16: return "<V2";
    case NF_FLOAT16: return "<f2";
    case NF_BOOL: return "|b1";
  }
  throw std::invalid_argument("dtype: is no dtype");
}

// Magic, version, length and dict, padded so that the elements are aligned.
std::string header_of(const OwnedTensor& tensor, bool fortran_order) {
  std::string shape;
  for (const int64_t size : tensor.sizes) shape += fmt::format("{}, ", size);
  if (tensor.sizes.size() > 1) shape.resize(shape.size() - 2);
  if (tensor.sizes.size() == 1) shape.pop_back();
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': ({}), }}", descr_of(tensor.dtype),
                                 fortran_order ? "True" : "False", shape);
  const bool is_long = dict.size() + kAlignment > std::numeric_limits<uint16_t>::max();
  const size_t length_bytes = is_long ? 4 : 2, prefix = kMagic.size() + 2 + length_bytes;
  const size_t padding = kAlignment - 1 - (prefix + dict.size()) % kAlignment;
  dict += std::string(padding, ' ') + '\n';
  std::string header(kMagic);
  header += is_long ? '\x02' : '\x01';
  header += '\0';
  for (size_t i = 0; i < length_bytes; ++i) header += static_cast<char>(dict.size() >> (8 * i) & 0xFF);
  return header + dict;
}

class NpyFile : public TensorFile {
 public:
  explicit NpyFile(std::unique_ptr<SeekableInput> input)
      : TensorFile(input->label(), {std::string()}), input_(std::move(input)) {}

 protected:
  OwnedTensor read_entry(size_t) override {
    input_->seek(0);
    return read_npy(*input_);
  }

 private:
  std::unique_ptr<SeekableInput> input_;
};

}  // namespace

OwnedTensor read_npy(Input& input) {
  NpyHeader header = read_header(input);
  const std::optional<int64_t> count = element_count(header.sizes, header.dtype);
  if (!count)
    throw FileError(input.label(),
                    fmt::format("shape=({}): the size in bytes exceeds 64 bits", fmt::join(header.sizes, ", ")));
  const size_t width = size_of(header.dtype);
  const uint64_t needed = static_cast<uint64_t>(*count) * width;
  if (input.remaining() != needed)
    throw FileError(input.label(),
                    fmt::format("data: shape ({}) of {} needs {} bytes: the file has {}", fmt::join(header.sizes, ", "),
                                descr_of(header.dtype), needed, input.remaining()));
  OwnedTensor tensor;
  tensor.dtype = header.dtype;
  tensor.bytes = input.read_bytes(needed, "data");
  if (header.big_endian) swap_bytes(tensor.bytes, width);
  if (header.dtype == NF_BOOL) require_booleans(tensor, input.label(), "data");
  tensor.strides = header.fortran_order ? fortran_strides(header.sizes) : c_strides(header.sizes);
  tensor.sizes = std::move(header.sizes);
  return tensor;
}

void write_npy(const OwnedTensor& tensor, const Sink& sink) {
  const bool fortran_order = !tensor.is_c_order() && tensor.is_fortran_order();
  const std::string header = header_of(tensor, fortran_order);
  sink(std::as_bytes(std::span(header)));
  const size_t size = static_cast<size_t>(tensor.elements()) * size_of(tensor.dtype);
  if (fortran_order || tensor.is_c_order())
    sink(std::span(tensor.bytes).first(size));
  else
    sink(tensor.in_c_order().bytes);
}

std::unique_ptr<TensorFile> open_npy(std::unique_ptr<SeekableInput> input) {
  return std::make_unique<NpyFile>(std::move(input));
}

}  // namespace nearfield::cli
