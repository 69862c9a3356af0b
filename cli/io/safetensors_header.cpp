// The JSON header of a .safetensors file, read event by event: a document tree would keep only the last of two equal
// names, and would grow with nesting that the format doesn't have.
#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "io/safetensors.h"

namespace nearfield::cli {
namespace {

constexpr size_t kMaxRank = 64;
constexpr std::string_view kMetadata = "__metadata__";

// nlohmann's SAX interface: every event returns true or throws.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view label) : label_(label) {}
  std::vector<SafetensorsEntry> take() { return std::move(entries_); }

  bool start_object(size_t) {
    if (level_ == Level::document) {
      level_ = Level::names;
    } else if (level_ == Level::names) {
      level_ = name_ == kMetadata ? Level::metadata : Level::fields;
      field_names_.clear();
      if (level_ == Level::fields) entries_.push_back({name_, {}, {}, 0, 0});
    } else {
      unexpected("an object");
    }
    return true;
  }
  bool end_object() {
    if (level_ == Level::fields)
      for (const char* field : {"dtype", "shape", "data_offsets"})
        if (!field_names_.contains(field)) throw FileError(label_, fmt::format("{}: is missing", place(field)));
    level_ = level_ == Level::names ? Level::document : Level::names;
    return true;
  }
  bool key(std::string& text) {
    std::set<std::string>& known = level_ == Level::names ? names_ : field_names_;
    (level_ == Level::names ? name_ : field_) = text;
    if (!known.insert(text).second) throw FileError(label_, fmt::format("header: {}: comes twice", printable(text)));
    if (level_ == Level::fields && text != "dtype" && text != "shape" && text != "data_offsets")
      throw FileError(label_, fmt::format("{}: must be dtype, shape or data_offsets", place(printable(text))));
    return true;
  }
  bool string(std::string& text) {
    if (level_ == Level::metadata) return true;
    if (level_ != Level::fields || field_ != "dtype") unexpected("a string");
    entries_.back().dtype = text;
    return true;
  }
  bool start_array(size_t) {
    if (level_ != Level::fields || field_ == "dtype") unexpected("a list");
    level_ = Level::numbers;
    count_ = 0;
    return true;
  }
  bool end_array() {
    if (field_ == "data_offsets" && count_ != 2)
      throw FileError(label_, fmt::format("{}: has {} numbers: must have 2", place(field_), count_));
    level_ = Level::fields;
    return true;
  }
  bool number_unsigned(uint64_t value) {
    if (level_ != Level::numbers) unexpected("a number");
    if (field_ == "shape") {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) bad_number(std::to_string(value));
      if (count_ == kMaxRank)
        throw FileError(label_, fmt::format("{}: has more than {} axes", place(field_), kMaxRank));
      entries_.back().shape.push_back(static_cast<int64_t>(value));
    } else if (count_ < 2) {
      (count_ == 0 ? entries_.back().begin : entries_.back().end) = value;
    } else {
      throw FileError(label_, fmt::format("{}: has more than 2 numbers", place(field_)));
    }
    ++count_;
    return true;
  }
  bool number_integer(int64_t value) {
    if (level_ != Level::numbers) unexpected("a number");
    throw FileError(label_, fmt::format("{}[{}]={}: must be 0 or more", place(field_), count_, value));
  }
  bool number_float(double, const std::string& text) {
    if (level_ != Level::numbers) unexpected("a number");
    bad_number(text);
  }
  bool null() { unexpected("null"); }
  bool boolean(bool) { unexpected("a boolean"); }
  bool binary(nlohmann::json::binary_t&) { unexpected("binary data"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ...; last read: '...'"
    std::string_view reason = error.what();
    if (const size_t colon = reason.find(": "); colon != reason.npos) reason.remove_prefix(colon + 2);
    reason = reason.substr(0, reason.find("; last read"));
    throw FileError(label_, fmt::format("header: at byte {}: is no JSON: {}", position, reason));
  }

 private:
  enum class Level { document, names, metadata, fields, numbers };

  std::string place(std::string_view field) const {
    return fmt::format("header: tensor {}: {}", printable(name_), field);
  }
  [[noreturn]] void unexpected(std::string_view what) const {
    if (level_ == Level::document) throw FileError(label_, fmt::format("header: is {}: must be an object", what));
    if (level_ == Level::names)
      throw FileError(label_, fmt::format("header: tensor {}: is {}: must be an object", printable(name_), what));
    if (level_ == Level::metadata)
      throw FileError(label_, fmt::format("header: {}: holds {}: must hold strings only", kMetadata, what));
    const std::string_view rule = level_ == Level::numbers ? "must hold integers"
                                  : field_ == "dtype"      ? "must be a string"
                                                           : "must be a list of integers";
    throw FileError(label_,
                    fmt::format("{}: {} {}: {}", place(field_), level_ == Level::numbers ? "holds" : "is", what, rule));
  }
  [[noreturn]] void bad_number(std::string_view text) const {
    throw FileError(label_, fmt::format("{}[{}]={}: must be an integer of 63 bits", place(field_), count_, text));
  }

  std::string_view label_;
  Level level_ = Level::document;
  std::string name_, field_;  // where the reader is
  std::set<std::string> names_, field_names_;
  size_t count_ = 0;  // numbers seen in the list
  std::vector<SafetensorsEntry> entries_;
};

}  // namespace

std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view json, std::string_view label) {
  if (!json.starts_with('{')) throw FileError(label, "header: must begin with '{'");
  HeaderReader reader(label);
  nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  return reader.take();
}

}  // namespace nearfield::cli
