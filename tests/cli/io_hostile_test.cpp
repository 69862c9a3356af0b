// Files that lie: each gives an error that names file, field, value and rule.
#include <gtest/gtest.h>
#include <zip.h>

#include <fstream>

#include "io_samples.h"

namespace nearfield::cli::testing {
namespace {

struct Case {
  const char* what;
  Bytes bytes;
  const char* error;  // how it begins
};

void expect_errors(FileFormat format, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const std::string error = error_of(format, c.bytes);
    EXPECT_TRUE(error.starts_with(c.error)) << c.what << "\n got:    " << error << "\n wanted: " << c.error;
  }
}

Bytes npy_of(std::string_view descr, std::string_view shape, const Bytes& data = {}) {
  return npy("{'descr': " + std::string(descr) + ", 'fortran_order': False, 'shape': " + std::string(shape) + ", }\n",
             data);
}

TEST(HostileNpy, Framing) {
  const Bytes valid = npy_of("'<f4'", "(2,)", Bytes(8));
  expect_errors(
      FileFormat::npy,
      {{"empty file", {}, "f: magic: the file ends after 0 of 8 bytes"},
       {"another format", bytes_of("PK\x03\x04 and more"), "f: magic: is not a .npy file"},
       {"version 4", npy("{}", {}, 4), "f: version=4.0: must be 1.0, 2.0 or 3.0"},
       {"minor version", bytes_of("\x93NUMPY\x01\x01"), "f: version=1.1: must be 1.0, 2.0 or 3.0"},
       {"no length", bytes_of("\x93NUMPY") + integer(2, 2), "f: header length: the file ends after 0 of 4 bytes"},
       {"header beyond the file", bytes_of("\x93NUMPY") + integer(1, 2) + integer(9, 2),
        "f: header: needs 9 bytes: 0 are left"},
       {"huge header", bytes_of("\x93NUMPY") + integer(2, 2) + integer(0xFFFFFFFF, 4),
        "f: header length=4294967295: must be at most 1048576"},
       {"not UTF-8 in version 3", npy("{'\xff': 1}", {}, 3), "f: header: must be UTF-8 in version 3.0"},
       {"data cut", Bytes(valid.begin(), valid.end() - 1), "f: data: shape (2) of <f4 needs 8 bytes: the file has 7"},
       {"data too long", valid + Bytes(1), "f: data: shape (2) of <f4 needs 8 bytes: the file has 9"}});
}

TEST(HostileNpy, Header) {
  const auto dict = [](std::string_view text) { return npy(text, {}); };
  expect_errors(FileFormat::npy,
                {{"empty", dict(""), "f: header: at byte 0: expected '{', found the end"},
                 {"not a dict", dict("[]"), "f: header: at byte 0: expected '{', found '[]'"},
                 {"no keys", dict("{}"), "f: header: has no key 'descr'"},
                 {"no shape", dict("{'descr': '<f4', 'fortran_order': True}"), "f: header: has no key 'shape'"},
                 {"unknown key", dict("{'x': 1}"), "f: header: key 'x': must be 'descr', 'fortran_order' or 'shape'"},
                 {"key twice", dict("{'descr': '<f4', 'descr': '<f8'}"), "f: header: key 'descr': comes twice"},
                 {"open string", dict("{'descr"), "f: header: at byte 1: expected a string that ends"},
                 {"open dict", dict("{'descr': '<f4', "), "f: header: at byte 17: expected a key, found the end"},
                 {"no comma", dict("{'descr': '<f4' 'shape': ()}"), "f: header: at byte 16: expected '}'"},
                 {"number as bool", dict("{'fortran_order': 1}"), "f: header: at byte 18: expected True or False"},
                 {"text after the dict", npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()} x", {}),
                  "f: header: at byte 54: expected the end of the header, found 'x'"},
                 {"terminal escapes", dict("{'\x1b[31m': 1}"), "f: header: key '\\x1b[31m': must be"},
                 {"code", dict("__import__('os')"), "f: header: at byte 0: expected '{'"}});
}

TEST(HostileNpy, DescrAndShape) {
  std::string many = "(";
  for (int i = 0; i < 65; ++i) many += "1, ";
  expect_errors(
      FileFormat::npy,
      {{"integers", npy_of("'<i8'", "(2,)"), "f: descr='<i8': must be '<f8'"},
       {"objects", npy_of("'|O'", "(2,)"), "f: descr='|O': must be"},
       {"structured", npy_of("[('x', '<f4')]", "(2,)"), "f: descr: structured dtypes have no meaning here"},
       {"number", npy_of("4", "(2,)"), "f: header: at byte 10: expected a string"},
       {"negative", npy_of("'<f4'", "(2, -3)"), "f: shape[1]=-3: must be 0 or more"},
       {"no integer", npy_of("'<f4'", "(2, x)"), "f: header: at byte 54: expected an integer, found 'x), }"},
       {"float", npy_of("'<f4'", "(2.0,)"), "f: header: at byte 52: expected ',' or ')'"},
       {"beyond 64 bits", npy_of("'<f4'", "(9223372036854775808,)"), "f: shape[0]='9223372036854775808': must fit"},
       {"product overflows", npy_of("'<f4'", "(4294967296, 4294967296)"),
        "f: shape=(4294967296, 4294967296): the size in bytes exceeds 64 bits"},
       {"product overflows to 0", npy_of("'<f4'", "(4611686018427387904, 4)"), "f: shape=(4611686018427387904, 4)"},
       {"empty, strides overflow", npy_of("'<f4'", "(0, 4611686018427387904, 4)"), "f: shape=(0, 46116860"},
       {"huge but possible", npy_of("'<f4'", "(1099511627776,)", Bytes(8)),
        "f: data: shape (1099511627776) of <f4 needs 4398046511104 bytes: the file has 8"},
       {"rank", npy_of("'<f4'", many + ")"), "f: shape: has more than 64 axes"},
       {"no tuple", npy_of("'<f4'", "(2)"), "f: header: at byte 53: expected a tuple"},
       {"two commas", npy_of("'<f4'", "(2,,3)"), "f: header: at byte 53: expected an integer"},
       {"bool of 2", npy_of("'|b1'", "(2,)", bytes_of_hex("0102")), "f: data: byte 1 is 2: a bool must be 0 or 1"}});
}

TEST(HostileSafetensors, Framing) {
  expect_errors(FileFormat::safetensors,
                {{"empty file", {}, "f: header length: the file ends after 0 of 8 bytes"},
                 {"huge header", integer(~uint64_t{0}, 8), "f: header length=18446744073709551615: must be at most"},
                 {"header beyond the file", integer(10, 8) + bytes_of("{}"), "f: header length=10: 2 bytes are left"},
                 {"empty header", safetensors("", {}), "f: header: must begin with '{'"},
                 {"leading space", safetensors(" {}", {}), "f: header: must begin with '{'"},
                 {"list", safetensors("[]", {}), "f: header: must begin with '{'"},
                 {"cut", safetensors("{", {}), "f: header: at byte 2: is no JSON: "},
                 {"text after it", safetensors("{} x", {}), "f: header: at byte 4: is no JSON: "},
                 {"not UTF-8", safetensors("{\"\xff\": 1}", {}), "f: header: at byte 3: is no JSON: "},
                 {"nesting", safetensors("{\"x\":" + std::string(100'000, '['), {}),
                  "f: header: tensor 'x': is a list: must be an object"},
                 {"data without tensors", safetensors("{}", Bytes(3)), "f: data: the tensors end at byte 0 of 3"}});
}

Bytes with_tensor(std::string_view fields, size_t data = 0) {
  return safetensors("{\"x\":{" + std::string(fields) + "}}", Bytes(data));
}

TEST(HostileSafetensors, Fields) {
  expect_errors(
      FileFormat::safetensors,
      {{"no fields", with_tensor(""), "f: header: tensor 'x': dtype: is missing"},
       {"no shape", with_tensor(R"("dtype":"F32","data_offsets":[0,0])"), "f: header: tensor 'x': shape: is missing"},
       {"unknown field", with_tensor(R"("strides":[1])"), "f: header: tensor 'x': 'strides': must be dtype, shape"},
       {"field twice", with_tensor(R"("dtype":"F32","dtype":"F64")"), "f: header: 'dtype': comes twice"},
       {"name twice", safetensors(R"({"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"x":{}})", {}),
        "f: header: 'x': comes twice"},
       {"number as dtype", with_tensor(R"("dtype":4)"), "f: header: tensor 'x': dtype: is a number: must be a string"},
       {"negative size", with_tensor(R"("shape":[2,-3])"), "f: header: tensor 'x': shape[1]=-3: must be 0 or more"},
       {"fraction", with_tensor(R"("shape":[2.5])"), "f: header: tensor 'x': shape[0]=2.5: must be an integer"},
       {"64 bits", with_tensor(R"("shape":[18446744073709551615])"), "f: header: tensor 'x': shape[0]=184467440737095"},
       {"more bits", with_tensor(R"("shape":[99999999999999999999])"), "f: header: tensor 'x': shape[0]=9999999999999"},
       {"text in shape", with_tensor(R"("shape":["2"])"),
        "f: header: tensor 'x': shape: holds a string: must hold int"},
       {"list in shape", with_tensor(R"("shape":[[2]])"), "f: header: tensor 'x': shape: holds a list: must hold int"},
       {"null", with_tensor(R"("shape":null)"), "f: header: tensor 'x': shape: is null: must be a list of integers"},
       {"one offset", with_tensor(R"("data_offsets":[0])"), "f: header: tensor 'x': data_offsets: has 1 numbers"},
       {"three offsets", with_tensor(R"("data_offsets":[0,1,2])"),
        "f: header: tensor 'x': data_offsets: has more than"},
       {"metadata", safetensors(R"({"__metadata__":{"a":1}})", {}), "f: header: __metadata__: holds a number"},
       {"unknown dtype", with_tensor(R"("dtype":"F1","shape":[1],"data_offsets":[0,4])", 4),
        "f: tensor 'x': dtype='F1': must be F64, F32, BF16, F16 or BOOL"},
       {"bool of 2", safetensors(R"({"x":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})", bytes_of_hex("02")),
        "f: tensor 'x': byte 0 is 2: a bool must be 0 or 1"}});
}

TEST(HostileSafetensors, Offsets) {
  const auto two = [](std::string_view first, std::string_view second) {
    const std::string rest = R"(,"dtype":"F32","shape":[1]})";
    return safetensors("{\"a\":{\"data_offsets\":" + std::string(first) + rest +
                           ",\"b\":{\"data_offsets\":" + std::string(second) + rest + "}",
                       Bytes(8));
  };
  expect_errors(FileFormat::safetensors,
                {{"backwards", with_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])", 4),
                  "f: tensor 'x': data_offsets=[4, 0]: must not end before it begins"},
                 {"beyond the file", with_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])", 4),
                  "f: tensor 'x': data_offsets=[0, 8]: the file has 4 bytes of data"},
                 {"near 2^64", with_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,0])", 8),
                  "f: tensor 'x': data_offsets=[18446744073709551608, 0]: must not end before"},
                 {"size and shape", with_tensor(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])", 8),
                  "f: tensor 'x': data_offsets=[0, 8]: shape [3] of F32 needs 12 bytes"},
                 {"overflow", with_tensor(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])", 0),
                  "f: tensor 'x': shape=[4611686018427387904, 4]: the size in bytes exceeds 64 bits"},
                 {"overlap", two("[0,4]", "[0,4]"),
                  "f: tensor 'b': data_offsets=[0, 4]: must begin at 4, without hole or overlap"},
                 {"hole", two("[0,4]", "[5,8]"), "f: tensor 'b': data_offsets=[5, 8]: must begin at 4"},
                 {"rest", with_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])", 8),
                  "f: data: the tensors end at byte 4 of 8: must cover all"}});
}

// ---- archives ------------------------------------------------------------------------------------------------------

struct Entry {
  std::string name;
  Bytes bytes;
  int method = ZIP_CM_STORE;
};

Bytes zip_of(const std::vector<Entry>& entries) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory / "x.npz";
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE, nullptr);
  for (const Entry& entry : entries) {
    zip_source_t* source = zip_source_buffer(archive, entry.bytes.data(), entry.bytes.size(), 0);
    const zip_int64_t index = zip_file_add(archive, entry.name.c_str(), source, ZIP_FL_ENC_GUESS);
    EXPECT_GE(index, 0);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), entry.method, 0);
  }
  EXPECT_EQ(zip_close(archive), 0);
  return read_bytes(path);
}

// Overwrites `size` bytes at `offset` after the `occurrence`-th signature ("PK\1\2": a directory entry).
Bytes patched(Bytes bytes, std::string_view signature, int occurrence, size_t offset, uint64_t value, size_t size) {
  const std::string text = text_of(bytes);
  size_t at = text.find(signature);
  for (int i = 0; i < occurrence; ++i) at = text.find(signature, at + 1);
  EXPECT_NE(at, std::string::npos);
  const Bytes field = integer(value, size);
  std::copy(field.begin(), field.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at + offset));
  return bytes;
}

constexpr std::string_view kDirectoryEntry("PK\x01\x02", 4);
constexpr size_t kMethod = 10, kCompressedSize = 20, kSize = 24, kName = 46;

TEST(HostileNpz, Archives) {
  const Bytes floats = npy_of("'<f4'", "(64,)", Bytes(256));
  const Bytes stored = zip_of({{"q.npy", floats}}), deflated = zip_of({{"q.npy", floats, ZIP_CM_DEFLATE}});
  const Bytes two = zip_of({{"q.npy", floats}, {"r.npy", floats}});
  const size_t data = text_of(stored).find(", }\n") + 4;
  Bytes flipped = stored;
  flipped[data] ^= std::byte{1};
  expect_errors(
      FileFormat::npz,
      {{"empty file", {}, "f: is no readable zip archive: "},
       {"another format", npy_of("'<f4'", "(0,)"), "f: is no readable zip archive: "},
       {"cut", Bytes(stored.begin(), stored.end() - 30), "f: is no readable zip archive: "},
       {"no .npy inside", zip_of({{"q.npy", bytes_of("text")}}), "f: entry 'q.npy': magic: the file ends"},
       {"checksum", flipped, "f: entry 'q.npy': data: cannot be decompressed: CRC error"},
       {"data beyond the shape", zip_of({{"q.npy", floats + Bytes(1)}}),
        "f: entry 'q.npy': data: shape (64) of <f4 needs 256 bytes: the file has 257"},
       {"name twice", patched(two, kDirectoryEntry, 1, kName, 'q', 1), "f: entry 'q.npy': comes twice"},
       {"name not UTF-8", patched(two, kDirectoryEntry, 1, kName, 0xFF, 1), "f: entry 1: name '\\xff.npy': must be"},
       {"method", patched(stored, kDirectoryEntry, 0, kMethod, 12, 2), "f: entry 'q.npy': compression=12: must be"}});
}

TEST(HostileNpz, Bombs) {
  const Bytes floats = npy_of("'<f4'", "(64,)", Bytes(256));
  const Bytes deflated = zip_of({{"q.npy", floats, ZIP_CM_DEFLATE}}), stored = zip_of({{"q.npy", floats}});
  // The claim is impossible; it is possible but a lie; the shape is small and the entry is not.
  Bytes two = zip_of({{"q.npy", floats}, {"r.npy", floats}});
  two = patched(two, kDirectoryEntry, 0, kCompressedSize, two.size() - 10, 4);
  two = patched(two, kDirectoryEntry, 0, kSize, two.size() - 10, 4);
  expect_errors(
      FileFormat::npz,
      {{"impossible ratio", patched(deflated, kDirectoryEntry, 0, kSize, 0x7FFFFFFF, 4),
        "f: entry 'q.npy': size=214748"},
       {"stored size", patched(stored, kDirectoryEntry, 0, kSize, 100'000, 4), "f: entry 'q.npy': size=100000: "},
       {"compressed size", patched(stored, kDirectoryEntry, 0, kCompressedSize, 0x7FFFFFFF, 4), "f: "},
       {"shared bytes", two, "f: the entries' compressed sizes add up to "},
       {"claims more", patched(deflated, kDirectoryEntry, 0, kSize, 5'000, 4),
        "f: entry 'q.npy': data: shape (64) of <f4 needs 256 bytes: the file has "},
       {"small shape", zip_of({{"q.npy", npy_of("'<f4'", "(1,)", Bytes(1 << 20)), ZIP_CM_DEFLATE}}),
        "f: entry 'q.npy': data: shape (1) of <f4 needs 4 bytes: the file has 1048576"}});
}

// ---- files on disk -------------------------------------------------------------------------------------------------

TEST(TensorFileErrors, NameTheFile) {
  const TemporaryDirectory directory;
  const auto error = [&](const char* name) -> std::string {
    try {
      open_tensor_file(directory / name)->read("x");
    } catch (const FileError& e) {
      return e.what();
    }
    return "";
  };
  const std::string base = (directory / "").string();
  EXPECT_EQ(error("no.npy"), base + "no.npy: cannot be opened: No such file or directory");
  EXPECT_EQ(error("no.npz"), base + "no.npz: cannot be opened: No such file or directory");
  EXPECT_EQ(error("no.txt"), base + "no.txt: extension '.txt': must be .npy, .npz or .safetensors");
  std::filesystem::create_directory(directory / "d.npy");
  EXPECT_EQ(error("d.npy"), base + "d.npy: must be a regular file");
  write_tensor_file(directory / "two.npz", {{"a", make_tensor(NF_FLOAT32, {1})}, {"b", make_tensor(NF_BOOL, {})}});
  EXPECT_EQ(error("two.npz"), base + "two.npz: has no tensor 'x': has 'a', 'b'");
}

TEST(TensorFileErrors, OfWriting) {
  const TemporaryDirectory directory;
  const TensorMap one = {{"a", make_tensor(NF_FLOAT32, {1})}};
  const TensorMap two = {{"a", make_tensor(NF_FLOAT32, {1})}, {"b", make_tensor(NF_BOOL, {})}};
  EXPECT_THROW(write_tensor_file(directory / "x.npy", two), FileError);
  EXPECT_THROW(write_tensor_file(directory / "x.txt", one), FileError);
  for (const char* name : {"none/x.npy", "none/x.npz", "none/x.safetensors"})
    EXPECT_THROW(write_tensor_file(directory / name, one), FileError) << name;
  std::filesystem::create_directory(directory / "d.npz");
  EXPECT_THROW(write_tensor_file(directory / "d.npz", one), FileError);
}

}  // namespace
}  // namespace nearfield::cli::testing
