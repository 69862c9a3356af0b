#include "io/npz.h"

#include <fmt/format.h>
#include <zip.h>

#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>

#include "io/npy.h"

namespace nearfield::cli {
namespace {

constexpr std::string_view kExtension = ".npy";
// Deflate makes at most 1032 bytes of one: a larger claim is a lie.
constexpr uint64_t kMaxRatio = 1032;
constexpr uint64_t kSmallestArchive = 22;  // bytes: an end record

struct Discard {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
struct CloseEntry {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
using Archive = std::unique_ptr<zip_t, Discard>;

std::string text_of(zip_error_t* error) {
  std::string text = zip_error_strerror(error);
  zip_error_fini(error);
  return text;
}

Archive open_archive(zip_source_t* source, zip_error_t* error, int flags, const std::string& label) {
  zip_t* archive = source == nullptr ? nullptr : zip_open_from_source(source, flags, error);
  if (archive == nullptr) {
    if (source != nullptr) zip_source_free(source);
    throw FileError(label, "is no readable zip archive: " + text_of(error));
  }
  zip_error_fini(error);
  return Archive(archive);
}

// The bytes of one entry, as they are decompressed.
class EntryInput : public Input {
 public:
  EntryInput(std::string label, const zip_stat_t& entry, zip_t* archive)
      : Input(std::move(label), entry.size), file_(zip_fopen_index(archive, entry.index, 0)) {
    if (file_ == nullptr)
      throw FileError(this->label(), fmt::format("cannot be read: {}", zip_error_strerror(zip_get_error(archive))));
  }

  // The checksum is compared at the end only.
  void finish() {
    std::byte extra;
    if (read_some({&extra, 1}) != 0) throw FileError(label(), fmt::format("data: goes on after byte {}", size()));
  }

 protected:
  bool size_is_measured() const override { return false; }
  size_t read_some(std::span<std::byte> to) override {
    const zip_int64_t count = zip_fread(file_.get(), to.data(), to.size());
    if (count < 0)
      throw FileError(label(), fmt::format("data: cannot be decompressed: {}",
                                           zip_error_strerror(zip_file_get_error(file_.get()))));
    return static_cast<size_t>(count);
  }

 private:
  std::unique_ptr<zip_file_t, CloseEntry> file_;
};

struct Directory {
  std::vector<std::string> names;
  std::vector<zip_stat_t> entries;
};

// Compares what one entry says with what an archive of `file_size` bytes can hold.
void check_entry(const zip_stat_t& entry, uint64_t file_size, const std::string& label) {
  constexpr zip_uint64_t kNeeded = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  if ((entry.valid & kNeeded) != kNeeded) throw FileError(label, "size: the archive does not say it");
  if (entry.comp_method != ZIP_CM_STORE && entry.comp_method != ZIP_CM_DEFLATE)
    throw FileError(label, fmt::format("compression={}: must be 0 (stored) or 8 (deflated)", entry.comp_method));
  if (entry.comp_size > file_size)
    throw FileError(label, fmt::format("compressed size={}: the file has {} bytes", entry.comp_size, file_size));
  const uint64_t limit = entry.comp_method == ZIP_CM_STORE ? entry.comp_size : entry.comp_size * kMaxRatio;
  if (entry.size > limit)
    throw FileError(label,
                    fmt::format("size={}: {} compressed bytes give at most {}", entry.size, entry.comp_size, limit));
}

Directory read_directory(zip_t* archive, uint64_t file_size, const std::string& label) {
  Directory directory;
  std::set<std::string> seen;
  uint64_t compressed = 0;
  const zip_int64_t count = zip_get_num_entries(archive, 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t entry;
    const char* name = zip_get_name(archive, static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
    if (name == nullptr || zip_stat_index(archive, static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW, &entry) != 0)
      throw FileError(label, fmt::format("entry {}: {}", i, zip_error_strerror(zip_get_error(archive))));
    std::string_view tensor = name;
    if (!tensor.ends_with(kExtension)) continue;
    if (!is_utf8(tensor)) throw FileError(label, fmt::format("entry {}: name {}: must be UTF-8", i, printable(tensor)));
    tensor.remove_suffix(kExtension.size());
    const std::string entry_label = fmt::format("{}: entry {}", label, printable(name));
    if (!seen.emplace(tensor).second) throw FileError(entry_label, "comes twice");
    check_entry(entry, file_size, entry_label);
    compressed += entry.comp_size;
    // Entries that share bytes would make a small file decompress to any size.
    if (compressed > file_size)
      throw FileError(label, fmt::format("the entries' compressed sizes add up to {} bytes: the file has {}",
                                         compressed, file_size));
    directory.names.emplace_back(tensor);
    directory.entries.push_back(entry);
  }
  return directory;
}

class NpzFile : public TensorFile {
 public:
  NpzFile(std::string label, Archive archive, Directory directory)
      : TensorFile(std::move(label), std::move(directory.names)),
        archive_(std::move(archive)),
        entries_(std::move(directory.entries)) {}

 protected:
  OwnedTensor read_entry(size_t index) override {
    EntryInput input(fmt::format("{}: entry {}", label(), printable(names()[index] + std::string(kExtension))),
                     entries_[index], archive_.get());
    OwnedTensor tensor = read_npy(input);
    input.finish();
    return tensor;
  }

 private:
  Archive archive_;
  std::vector<zip_stat_t> entries_;
};

std::unique_ptr<TensorFile> open_source(zip_source_t* source, zip_error_t* error, uint64_t size, std::string label) {
  Archive archive = open_archive(source, error, ZIP_RDONLY, label);
  // libzip takes an empty file for an archive without entries.
  if (size < kSmallestArchive)
    throw FileError(
        label, fmt::format("is no readable zip archive: has {} bytes: must have {} at least", size, kSmallestArchive));
  Directory directory = read_directory(archive.get(), size, label);
  return std::make_unique<NpzFile>(std::move(label), std::move(archive), std::move(directory));
}

void add_entry(zip_t* archive, const std::string& name, std::span<const std::byte> bytes, NpzCompression compression,
               const std::string& label) {
  zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
  const zip_int64_t index =
      source == nullptr ? -1
                        : zip_file_add(archive, (name + std::string(kExtension)).c_str(), source, ZIP_FL_ENC_UTF_8);
  if (index < 0) {
    if (source != nullptr) zip_source_free(source);
    throw FileError(label, fmt::format("tensor {}: {}", printable(name), zip_strerror(archive)));
  }
  const int method = compression == NpzCompression::stored ? ZIP_CM_STORE : ZIP_CM_DEFLATE;
  if (zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), method, 0) != 0)
    throw FileError(label, fmt::format("tensor {}: {}", printable(name), zip_strerror(archive)));
}

}  // namespace

std::unique_ptr<TensorFile> open_npz(const std::filesystem::path& path) {
  const uint64_t size = open_file(path)->size();
  zip_error_t error;
  zip_error_init(&error);
  return open_source(zip_source_file_create(path.c_str(), 0, 0, &error), &error, size, path.string());
}

std::unique_ptr<TensorFile> open_npz(std::span<const std::byte> bytes, std::string label) {
  zip_error_t error;
  zip_error_init(&error);
  return open_source(zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error), &error, bytes.size(),
                     std::move(label));
}

void write_npz(const std::filesystem::path& path, const TensorMap& tensors, NpzCompression compression) {
  const std::string label = path.string();
  zip_error_t error;
  zip_error_init(&error);
  Archive archive =
      open_archive(zip_source_file_create(path.c_str(), 0, 0, &error), &error, ZIP_CREATE | ZIP_TRUNCATE, label);
  std::vector<std::vector<std::byte>> contents;  // libzip reads them when it closes the archive
  for (const auto& [name, tensor] : tensors) {
    std::vector<std::byte>& bytes = contents.emplace_back();
    write_npy(tensor, [&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); });
    add_entry(archive.get(), name, bytes, compression, label);
  }
  if (zip_close(archive.get()) != 0)
    throw FileError(label, fmt::format("cannot be written: {}", zip_strerror(archive.get())));
  static_cast<void>(archive.release());
}

}  // namespace nearfield::cli
