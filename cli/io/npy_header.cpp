// The header of a .npy file: a strict parser of the few Python literals that NumPy writes.
#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "io/npy.h"

namespace nearfield::cli {
namespace {

constexpr size_t kMaxRank = 64;  // NumPy's own limit

struct Descriptor {
  std::string_view text;
  nf_dtype dtype;
  bool big_endian;
};
// '<V2' is how NumPy stores the bfloat16 of ml_dtypes, which it doesn't know.
constexpr Descriptor kDescriptors[] = {
    {"<f8", NF_FLOAT64, false},       {">f8", NF_FLOAT64, true},
    {"<f4", NF_FLOAT32, false},       {">f4", NF_FLOAT32, true},
    {"<f2", NF_FLOAT16, false},       {">f2", NF_FLOAT16, true},
    {"|b1", NF_BOOL, false},          {"?", NF_BOOL, false},
    {"<V2", NF_BFLOAT16, false},      {"|V2", NF_BFLOAT16, false},
    {"bfloat16", NF_BFLOAT16, false},
};

class HeaderParser {
 public:
  HeaderParser(std::string_view text, std::string_view label) : text_(text), label_(label) {}

  NpyHeader parse() {
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string("a key");
      expect(':');
      value_of(key);
      if (accept(',')) continue;
      expect('}');
      break;
    }
    skip_space();
    if (at_ != text_.size()) fail("the end of the header");
    for (const auto& [name, seen] :
         {std::pair{"descr", has_descr_}, {"fortran_order", has_order_}, {"shape", has_shape_}})
      if (!seen) throw FileError(label_, fmt::format("header: has no key '{}'", name));
    return std::move(header_);
  }

 private:
  [[noreturn]] void fail(std::string_view expected) const {
    throw FileError(label_, fmt::format("header: at byte {}: expected {}, found {}", at_, expected,
                                        at_ < text_.size() ? printable(text_.substr(at_, 12)) : "the end"));
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(fmt::format("'{}'", c));
  }
  bool accept_word(std::string_view word) {
    skip_space();
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  // No escapes: NumPy needs none for what is valid here.
  std::string_view string(std::string_view expected) {
    skip_space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) fail(expected);
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) fail("a string that ends");
    const std::string_view value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return value;
  }

  void value_of(std::string_view key) {
    if (key == "descr") {
      once(has_descr_, key);
      descr();
    } else if (key == "fortran_order") {
      once(has_order_, key);
      header_.fortran_order = accept_word("True");
      if (!header_.fortran_order && !accept_word("False")) fail("True or False");
    } else if (key == "shape") {
      once(has_shape_, key);
      shape();
    } else {
      throw FileError(label_,
                      fmt::format("header: key {}: must be 'descr', 'fortran_order' or 'shape'", printable(key)));
    }
  }
  void once(bool& seen, std::string_view key) {
    if (std::exchange(seen, true)) throw FileError(label_, fmt::format("header: key '{}': comes twice", key));
  }

  void descr() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '[')
      throw FileError(label_, "descr: structured dtypes have no meaning here: must be one plain dtype");
    const std::string_view text = string("a string");
    for (const Descriptor& known : kDescriptors) {
      if (known.text != text) continue;
      header_.dtype = known.dtype;
      header_.big_endian = known.big_endian;
      return;
    }
    throw FileError(label_, fmt::format("descr={}: must be '<f8', '<f4', '<f2' (or '>'), '|b1', or '<V2' for bfloat16",
                                        printable(text)));
  }

  void shape() {
    expect('(');
    bool comma = true;
    while (!accept(')')) {
      if (!comma) fail("',' or ')'");
      if (header_.sizes.size() == kMaxRank)
        throw FileError(label_, fmt::format("shape: has more than {} axes", kMaxRank));
      header_.sizes.push_back(size());
      comma = accept(',');
    }
    // (5) is a number in Python, not a tuple.
    if (header_.sizes.size() == 1 && !comma) fail("a tuple: a comma after its only element");
  }

  int64_t size() {
    skip_space();
    int64_t value = 0;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    const std::string_view digits(begin, static_cast<size_t>(end - begin));
    const size_t axis = header_.sizes.size();
    if (error == std::errc::result_out_of_range)
      throw FileError(label_, fmt::format("shape[{}]={}: must fit 64 bits", axis, printable(digits)));
    if (error != std::errc()) fail("an integer");
    if (value < 0) throw FileError(label_, fmt::format("shape[{}]={}: must be 0 or more", axis, value));
    at_ += digits.size();
    return value;
  }

  std::string_view text_;
  std::string_view label_;
  size_t at_ = 0;
  NpyHeader header_;
  bool has_descr_ = false, has_order_ = false, has_shape_ = false;
};

}  // namespace

NpyHeader parse_npy_header(std::string_view text, std::string_view label) { return HeaderParser(text, label).parse(); }

}  // namespace nearfield::cli
