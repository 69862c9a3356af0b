#include "io/input.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace nearfield::cli {
namespace {

constexpr uint64_t kFirstChunk = 1 << 20;  // bytes allocated on the word of a container alone
constexpr size_t kQuotedLength = 80;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

class FileInput : public SeekableInput {
 public:
  FileInput(std::string label, uint64_t size, std::FILE* file) : SeekableInput(std::move(label), size), file_(file) {}
  void seek(uint64_t position) override {
    if (fseeko(file_.get(), static_cast<off_t>(position), SEEK_SET) != 0)
      throw FileError(label(), fmt::format("cannot seek to byte {}: {}", position, std::strerror(errno)));
    set_position(position);
  }

 protected:
  size_t read_some(std::span<std::byte> to) override {
    const size_t count = std::fread(to.data(), 1, to.size(), file_.get());
    if (count == 0 && std::ferror(file_.get()) != 0)
      throw FileError(label(), fmt::format("cannot be read: {}", std::strerror(errno)));
    return count;
  }

 private:
  std::unique_ptr<std::FILE, CloseFile> file_;
};

class MemoryInput : public SeekableInput {
 public:
  MemoryInput(std::string label, std::span<const std::byte> bytes)
      : SeekableInput(std::move(label), bytes.size()), bytes_(bytes) {}
  void seek(uint64_t position) override {
    at_ = position;
    set_position(position);
  }

 protected:
  size_t read_some(std::span<std::byte> to) override {
    const size_t count = std::min<size_t>(to.size(), bytes_.size() - at_);
    if (count > 0) std::memcpy(to.data(), bytes_.data() + at_, count);
    at_ += count;
    return count;
  }

 private:
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
};

// Length of the UTF-8 sequence that starts `text`, 0 if there is none.
size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  // Overlong forms, surrogates, and what lies beyond U+10FFFF.
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

}  // namespace

FileError::FileError(std::string_view file, std::string_view message)
    : std::runtime_error(fmt::format("{}: {}", file, message)) {}

std::string printable(std::string_view text) {
  std::string result = "'";
  for (const char c : text.substr(0, kQuotedLength)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7F || c == '\'' || c == '\\')
      result += fmt::format("\\x{:02x}", byte);
    else
      result += c;
  }
  return result + (text.size() > kQuotedLength ? "'..." : "'");
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_sequence(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void Input::read(std::span<std::byte> to, std::string_view what) {
  const size_t wanted = to.size();
  while (!to.empty()) {
    const size_t count = read_some(to);
    if (count == 0)
      throw FileError(label_, fmt::format("{}: the file ends after {} of {} bytes", what, wanted - to.size(), wanted));
    to = to.subspan(count);
    position_ += count;
  }
}

std::vector<std::byte> Input::read_bytes(uint64_t count, std::string_view what) {
  if (count > remaining())
    throw FileError(label_, fmt::format("{}: needs {} bytes: {} are left in the file", what, count, remaining()));
  std::vector<std::byte> bytes;
  uint64_t goal = size_is_measured() ? count : std::min(count, kFirstChunk);
  for (;; goal = std::min(count, 2 * goal)) {
    const size_t have = bytes.size();
    bytes.resize(goal);
    read(std::span(bytes).subspan(have), what);
    if (goal == count) return bytes;
  }
}

std::unique_ptr<SeekableInput> open_file(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status))
    throw FileError(path.string(), fmt::format("cannot be opened: {}", error.message()));
  if (!std::filesystem::is_regular_file(status)) throw FileError(path.string(), "must be a regular file");
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) throw FileError(path.string(), "cannot be measured: " + error.message());
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) throw FileError(path.string(), fmt::format("cannot be opened: {}", std::strerror(errno)));
  return std::make_unique<FileInput>(path.string(), size, file);
}

std::unique_ptr<SeekableInput> open_memory(std::span<const std::byte> bytes, std::string label) {
  return std::make_unique<MemoryInput>(std::move(label), bytes);
}

}  // namespace nearfield::cli
