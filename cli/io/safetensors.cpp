#include "io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <utility>

namespace nearfield::cli {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr size_t kAlignment = 8;

struct DTypeRow {
  std::string_view name;
  size_t width;  // bytes
  std::optional<nf_dtype> dtype;
};
constexpr DTypeRow kDTypes[] = {
    {"F64", 8, NF_FLOAT64}, {"F32", 4, NF_FLOAT32}, {"BF16", 2, NF_BFLOAT16}, {"F16", 2, NF_FLOAT16},
    {"BOOL", 1, NF_BOOL},   {"I64", 8, {}},         {"U64", 8, {}},           {"I32", 4, {}},
    {"U32", 4, {}},         {"I16", 2, {}},         {"U16", 2, {}},           {"I8", 1, {}},
    {"U8", 1, {}},          {"F8_E4M3", 1, {}},     {"F8_E5M2", 1, {}},       {"C64", 8, {}},
};

const DTypeRow* find_dtype(std::string_view name) {
  const auto row =
      std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const DTypeRow& r) { return r.name == name; });
  return row == std::end(kDTypes) ? nullptr : row;
}

std::string_view name_of(nf_dtype dtype) {
  for (const DTypeRow& row : kDTypes)
    if (row.dtype == dtype) return row.name;
  throw std::invalid_argument("dtype: is no dtype");
}

// Bytes of a shape, or nothing beyond 64 bits.
std::optional<uint64_t> bytes_of(const std::vector<int64_t>& shape, size_t width) {
  uint64_t product = width;
  bool empty = false;
  for (const int64_t size : shape) {
    empty |= size == 0;
    if (__builtin_mul_overflow(product, static_cast<uint64_t>(std::max<int64_t>(size, 1)), &product)) return {};
  }
  return empty ? 0 : product;
}

// What the header says against what the file has. `data`: bytes after the header.
void check_entries(std::vector<SafetensorsEntry>& entries, uint64_t data, const std::string& label) {
  // Empty tensors share their offset with a neighbour: they come first.
  std::stable_sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t expected = 0;
  for (const SafetensorsEntry& entry : entries) {
    const std::string offsets =
        fmt::format("tensor {}: data_offsets=[{}, {}]", printable(entry.name), entry.begin, entry.end);
    if (entry.begin > entry.end) throw FileError(label, offsets + ": must not end before it begins");
    if (entry.end > data) throw FileError(label, fmt::format("{}: the file has {} bytes of data", offsets, data));
    if (entry.begin != expected)
      throw FileError(label, fmt::format("{}: must begin at {}, without hole or overlap", offsets, expected));
    expected = entry.end;
    const DTypeRow* row = find_dtype(entry.dtype);
    if (row == nullptr) continue;  // an error once it is read
    const std::optional<uint64_t> needed = bytes_of(entry.shape, row->width);
    if (!needed)
      throw FileError(label, fmt::format("tensor {}: shape=[{}]: the size in bytes exceeds 64 bits",
                                         printable(entry.name), fmt::join(entry.shape, ", ")));
    if (entry.end - entry.begin != *needed)
      throw FileError(label, fmt::format("{}: shape [{}] of {} needs {} bytes", offsets, fmt::join(entry.shape, ", "),
                                         entry.dtype, *needed));
  }
  if (expected != data)
    throw FileError(label, fmt::format("data: the tensors end at byte {} of {}: must cover all", expected, data));
}

class SafetensorsFile : public TensorFile {
 public:
  SafetensorsFile(std::unique_ptr<SeekableInput> input, std::vector<SafetensorsEntry> entries)
      : TensorFile(input->label(), names_of(entries)),
        data_(input->size() - input->remaining()),
        input_(std::move(input)),
        entries_(std::move(entries)) {}

 protected:
  OwnedTensor read_entry(size_t index) override {
    const SafetensorsEntry& entry = entries_[index];
    const std::string field = fmt::format("tensor {}", printable(entry.name));
    const DTypeRow* row = find_dtype(entry.dtype);
    if (row == nullptr || !row->dtype)
      throw FileError(label(),
                      fmt::format("{}: dtype={}: must be F64, F32, BF16, F16 or BOOL", field, printable(entry.dtype)));
    if (!element_count(entry.shape, *row->dtype))
      throw FileError(label(), fmt::format("{}: shape=[{}]: the size in bytes exceeds 64 bits", field,
                                           fmt::join(entry.shape, ", ")));
    OwnedTensor tensor;
    tensor.dtype = *row->dtype;
    tensor.sizes = entry.shape;
    tensor.strides = c_strides(entry.shape);
    input_->seek(data_ + entry.begin);
    tensor.bytes = input_->read_bytes(entry.end - entry.begin, field);
    if (tensor.dtype == NF_BOOL) require_booleans(tensor, label(), field);
    return tensor;
  }

 private:
  static std::vector<std::string> names_of(const std::vector<SafetensorsEntry>& entries) {
    std::vector<std::string> names;
    for (const SafetensorsEntry& entry : entries) names.push_back(entry.name);
    return names;
  }

  uint64_t data_;  // position of the first element
  std::unique_ptr<SeekableInput> input_;
  std::vector<SafetensorsEntry> entries_;
};

}  // namespace

std::unique_ptr<TensorFile> open_safetensors(std::unique_ptr<SeekableInput> input) {
  const std::string& label = input->label();
  uint64_t length = 0;
  std::byte prefix[8];
  input->read(prefix, "header length");
  for (size_t i = 0; i < sizeof prefix; ++i) length |= static_cast<uint64_t>(prefix[i]) << (8 * i);
  if (length > kMaxHeader)
    throw FileError(label, fmt::format("header length={}: must be at most {}", length, kMaxHeader));
  if (length > input->remaining())
    throw FileError(label, fmt::format("header length={}: {} bytes are left in the file", length, input->remaining()));
  const std::vector<std::byte> header = input->read_bytes(length, "header");
  std::vector<SafetensorsEntry> entries =
      parse_safetensors_header({reinterpret_cast<const char*>(header.data()), header.size()}, label);
  check_entries(entries, input->remaining(), label);
  return std::make_unique<SafetensorsFile>(std::move(input), std::move(entries));
}

void write_safetensors(const TensorMap& tensors, const Sink& sink) {
  // Widest elements first, so that each tensor is aligned.
  std::vector<const TensorMap::value_type*> order;
  for (const auto& entry : tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(),
                   [](auto* a, auto* b) { return size_of(a->second.dtype) > size_of(b->second.dtype); });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  uint64_t end = 0;
  for (const auto* entry : order) {
    const auto& [name, tensor] = *entry;
    if (!is_utf8(name) || name == "__metadata__")
      throw std::invalid_argument(
          fmt::format("tensor {}: a name in .safetensors must be UTF-8, and not __metadata__", printable(name)));
    const uint64_t begin = end;
    end += static_cast<uint64_t>(tensor.elements()) * size_of(tensor.dtype);
    header[name] = {{"dtype", name_of(tensor.dtype)}, {"shape", tensor.sizes}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  std::byte prefix[8];
  for (size_t i = 0; i < sizeof prefix; ++i) prefix[i] = static_cast<std::byte>(text.size() >> (8 * i));
  sink(prefix);
  sink(std::as_bytes(std::span(text)));
  for (const auto* entry : order) {
    const OwnedTensor& tensor = entry->second;
    const size_t size = static_cast<size_t>(tensor.elements()) * size_of(tensor.dtype);
    if (tensor.is_c_order())
      sink(std::span(tensor.bytes).first(size));
    else
      sink(tensor.in_c_order().bytes);
  }
}

}  // namespace nearfield::cli
