// Bytes to read, from a file or from memory, and the one error of tensor files.
//
// Nothing that a file says about itself is trusted: every length is compared with the bytes that are really there
// before anything of that length is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace nearfield::cli {

// `q.npy: shape[1]=-3: must be 0 or more`: file, field, value, rule.
class FileError : public std::runtime_error {
 public:
  FileError(std::string_view file, std::string_view message);
};

// Text from a file, made fit for a message: quoted, unprintable bytes escaped, cut to a readable length.
std::string printable(std::string_view text);
bool is_utf8(std::string_view text);

// Sequential bytes.
class Input {
 public:
  Input(std::string label, uint64_t size) : label_(std::move(label)), size_(size) {}
  virtual ~Input() = default;
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  const std::string& label() const { return label_; }  // the file, for messages
  uint64_t size() const { return size_; }
  uint64_t remaining() const { return size_ - position_; }

  // Exactly `to.size()` bytes. `what` names them in the error if they are not there.
  void read(std::span<std::byte> to, std::string_view what);
  // The memory grows with what has really been read, where the size is only a claim.
  std::vector<std::byte> read_bytes(uint64_t count, std::string_view what);

 protected:
  virtual size_t read_some(std::span<std::byte> to) = 0;  // 0 at the end; throws FileError
  // False where size() is what a container says and not what was measured.
  virtual bool size_is_measured() const { return true; }
  void set_position(uint64_t position) { position_ = position; }

 private:
  std::string label_;
  uint64_t size_;
  uint64_t position_ = 0;
};

class SeekableInput : public Input {
 public:
  using Input::Input;
  virtual void seek(uint64_t position) = 0;  // 0 <= position <= size()
};

// A regular file; a FileError says why it cannot be read.
std::unique_ptr<SeekableInput> open_file(const std::filesystem::path& path);
// `bytes` must outlive the input.
std::unique_ptr<SeekableInput> open_memory(std::span<const std::byte> bytes, std::string label);

// Where a writer puts its bytes.
using Sink = std::function<void(std::span<const std::byte>)>;

}  // namespace nearfield::cli
