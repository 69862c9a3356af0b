// Tensor files: what is written is what is read, and what NumPy wrote is understood.
#include <gtest/gtest.h>

#include <cstring>

#include "io/npy.h"
#include "io_samples.h"

namespace nearfield::cli::testing {
namespace {

template <class T>
std::vector<T> values_of(const OwnedTensor& tensor) {
  const OwnedTensor dense = tensor.in_c_order();
  std::vector<T> values(dense.bytes.size() / sizeof(T));
  std::memcpy(values.data(), dense.bytes.data(), dense.bytes.size());
  return values;
}

// By dtype, sizes and elements; the order may differ.
void expect_same(const OwnedTensor& actual, const OwnedTensor& wanted) {
  EXPECT_EQ(actual.dtype, wanted.dtype);
  EXPECT_EQ(actual.sizes, wanted.sizes);
  EXPECT_EQ(actual.in_c_order().bytes, wanted.in_c_order().bytes);
}

OwnedTensor read_one(const Bytes& bytes) { return open_tensor_bytes(FileFormat::npy, bytes, "f.npy")->read(""); }

class RoundTrip : public ::testing::TestWithParam<const char*> {};

TEST_P(RoundTrip, KeepsEveryDTypeShapeAndOrder) {
  const uint64_t seed = 20240607;
  std::mt19937_64 random(seed);
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory / (std::string("x") + GetParam());
  const std::vector<std::vector<int64_t>> shapes = {{},  {0},       {1},       {7},          {2, 3},
                                                    {1}, {2, 0, 3}, {2, 3, 4}, {2, 3, 4, 5}, {1, 2, 1, 3, 1, 2}};
  for (const nf_dtype dtype : kDTypes)
    for (const Order order : {Order::c, Order::fortran, Order::strided})
      for (const auto& shape : shapes) {
        SCOPED_TRACE(::testing::Message() << "seed " << seed << " dtype " << dtype << " order " << int(order)
                                          << " shape " << ::testing::PrintToString(shape));
        const OwnedTensor tensor = random_tensor(dtype, shape, order, random);
        write_tensor_file(path, {{"x", tensor}});
        const std::unique_ptr<TensorFile> file = open_tensor_file(path);
        ASSERT_EQ(file->names().size(), 1u);
        expect_same(file->read(file->names()[0]), tensor);
        // The file in memory reads like the file on disk.
        const Bytes bytes = read_bytes(path);
        const std::unique_ptr<TensorFile> memory = open_tensor_bytes(format_of(path), bytes, "x");
        expect_same(memory->read(memory->names()[0]), tensor);
      }
}
INSTANTIATE_TEST_SUITE_P(Formats, RoundTrip, ::testing::Values(".npy", ".npz", ".safetensors"));

TEST(Npy, KeepsFortranOrderAsAStridedView) {
  std::mt19937_64 random(1);
  const OwnedTensor tensor = random_tensor(NF_FLOAT32, {2, 3, 4}, Order::fortran, random);
  Bytes bytes;
  write_npy(tensor, [&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); });
  EXPECT_NE(text_of(bytes).find("'fortran_order': True"), std::string::npos);
  const OwnedTensor read = read_one(bytes);
  EXPECT_EQ(read.strides, (std::vector<int64_t>{1, 2, 6}));
  EXPECT_EQ(read.bytes, tensor.bytes);
}

TEST(Npy, AlignsTheElements) {
  for (const int64_t size : {0, 1, 10, 1000}) {
    Bytes bytes;
    const OwnedTensor tensor = make_tensor(NF_BOOL, {size, 1, size});
    write_npy(tensor, [&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); });
    EXPECT_EQ((bytes.size() - tensor.bytes.size()) % 64, 0u) << size;
  }
}

// ---- files as NumPy writes them ------------------------------------------------------------------------------------

constexpr char kDict[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }                              \n";
constexpr char kSixFloats[] = "000000000000803f0000004000004040000080400000a040";
const std::vector<float> kCounting = {0, 1, 2, 3, 4, 5};

TEST(Npy, ReadsAllVersions) {
  for (const int version : {1, 2, 3}) {
    const OwnedTensor tensor = read_one(npy(kDict, bytes_of_hex(kSixFloats), version));
    EXPECT_EQ(tensor.sizes, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(values_of<float>(tensor), kCounting);
  }
}

TEST(Npy, ReadsFortranOrder) {
  const Bytes file = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n",
                         bytes_of_hex("00000000000040400000803f00008040000000400000a040"));
  EXPECT_EQ(values_of<float>(read_one(file)), kCounting);
}

TEST(Npy, SwapsBigEndian) {
  const Bytes f8 = npy("{'descr': '>f8', 'fortran_order': False, 'shape': (2,), }\n",
                       bytes_of_hex("3ff00000000000004014000000000000"));
  EXPECT_EQ(values_of<double>(read_one(f8)), (std::vector<double>{1, 5}));
  const Bytes f2 = npy("{'descr': '>f2', 'fortran_order': False, 'shape': (1,), }\n", bytes_of_hex("3c00"));
  EXPECT_EQ(values_of<uint16_t>(read_one(f2)), (std::vector<uint16_t>{0x3c00}));
}

TEST(Npy, ReadsScalarsMasksAndBfloat16) {
  const OwnedTensor scalar =
      read_one(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", bytes_of_hex("00002040")));
  EXPECT_TRUE(scalar.sizes.empty());
  EXPECT_EQ(values_of<float>(scalar), (std::vector<float>{2.5f}));
  const OwnedTensor mask =
      read_one(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }\n", bytes_of_hex("0100")));
  EXPECT_EQ(mask.dtype, NF_BOOL);
  for (const char* descr : {"<V2", "|V2", "bfloat16"}) {
    const std::string dict = std::string("{'descr': '") + descr + "', 'fortran_order': False, 'shape': (2,), }\n";
    const OwnedTensor tensor = read_one(npy(dict, bytes_of_hex("803f0040")));
    EXPECT_EQ(tensor.dtype, NF_BFLOAT16);
    EXPECT_EQ(values_of<uint16_t>(tensor), (std::vector<uint16_t>{0x3f80, 0x4000}));
  }
}

TEST(Npy, KeysComeInAnyOrderAndQuotes) {
  const Bytes file = npy("{\"shape\":(2,3),\"fortran_order\":False,'descr':'<f4'}", bytes_of_hex(kSixFloats));
  EXPECT_EQ(values_of<float>(read_one(file)), kCounting);
}

// np.savez(file, q=np.arange(6, dtype='<f4').reshape(2, 3), k=np.float16([1, 2]))
constexpr char kSavez[] =
    "504b03042d0000000000000021004fe9002affffffffffffffff05001400712e6e7079010010009800000000000000980000000000000093"
    "4e554d5059010076007b276465736372273a20273c6634272c2027666f727472616e5f6f72646572273a2046616c73652c20277368617065"
    "273a2028322c2033292c207d2020202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "20202020202020202020202020200a000000000000803f0000004000004040000080400000a040504b03042d000000000000002100fd96be"
    "e2ffffffffffffffff050014006b2e6e70790100100084000000000000008400000000000000934e554d5059010076007b27646573637227"
    "3a20273c6632272c2027666f727472616e5f6f72646572273a2046616c73652c20277368617065273a2028322c292c207d20202020202020"
    "20202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200a003c"
    "0040504b01022d032d0000000000000021004fe9002a9800000098000000050000000000000000000000800100000000712e6e7079504b01"
    "022d032d000000000000002100fd96bee284000000840000000500000000000000000000008001cf0000006b2e6e7079504b050600000000"
    "02000200660000008a0100000000";
// np.savez_compressed(file, q=np.zeros(64, '<f4'))
constexpr char kSavezCompressed[] =
    "504b03042d00000008000000210045236dbfffffffffffffffff05001400712e6e707901001000800100000000000048000000000000009b"
    "ec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9366a2aea3a09e965f54529498179f5f94920a12774bcc294e058a17672416a402f91a"
    "66263a9a3a0ab50ae4032e86110e00504b01022d032d00000008000000210045236dbf480000008001000005000000000000000000000080"
    "0100000000712e6e7079504b05060000000001000100330000007f0000000000";

TEST(Npz, ReadsNumPysArchives) {
  const Bytes stored = bytes_of_hex(kSavez), deflated = bytes_of_hex(kSavezCompressed);
  const std::unique_ptr<TensorFile> file = open_tensor_bytes(FileFormat::npz, stored, "f.npz");
  EXPECT_EQ(file->names(), (std::vector<std::string>{"q", "k"}));
  EXPECT_EQ(values_of<float>(file->read("q")), kCounting);
  EXPECT_EQ(values_of<uint16_t>(file->read("k")), (std::vector<uint16_t>{0x3c00, 0x4000}));
  const std::unique_ptr<TensorFile> small = open_tensor_bytes(FileFormat::npz, deflated, "f.npz");
  EXPECT_EQ(values_of<float>(small->read("q")), std::vector<float>(64, 0.0f));
}

TEST(Npz, RoundTripsDeflatedEntriesBeyondTheFirstChunk) {
  // Zeros compress beyond what a claimed size alone may allocate.
  TensorMap tensors;
  tensors.emplace("zeros", make_tensor(NF_FLOAT32, {3, 1 << 18}));
  const Bytes bytes = npz_of(tensors, NpzCompression::deflated);
  EXPECT_LT(bytes.size(), 100'000u);
  const std::unique_ptr<TensorFile> file = open_tensor_bytes(FileFormat::npz, bytes, "f.npz");
  expect_same(file->read("zeros"), tensors.at("zeros"));
}

TEST(Safetensors, ReadsWhatOthersWrite) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2],"data_offsets":[24,28]},)"
      R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}   )";
  const Bytes bytes = safetensors(header, bytes_of_hex(kSixFloats) + bytes_of_hex("803f0040"));
  const std::unique_ptr<TensorFile> file = open_tensor_bytes(FileFormat::safetensors, bytes, "f.safetensors");
  EXPECT_TRUE(file->has("a") && file->has("b") && !file->has("__metadata__"));
  EXPECT_EQ(values_of<float>(file->read("a")), kCounting);
  EXPECT_EQ(file->read("b").dtype, NF_BFLOAT16);
}

TEST(Safetensors, ForeignDTypesAreAnErrorOnlyWhenRead) {
  const std::string header = R"({"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                             R"("x":{"dtype":"F16","shape":[1],"data_offsets":[8,10]}})";
  const Bytes bytes = safetensors(header, Bytes(10));
  const std::unique_ptr<TensorFile> file = open_tensor_bytes(FileFormat::safetensors, bytes, "f");
  EXPECT_EQ(file->read("x").dtype, NF_FLOAT16);
  try {
    file->read("ids");
    FAIL() << "I64 was read";
  } catch (const FileError& error) {
    EXPECT_STREQ(error.what(), "f: tensor 'ids': dtype='I64': must be F64, F32, BF16, F16 or BOOL");
  }
}

TEST(TensorFile, HoldsManyTensors) {
  std::mt19937_64 random(3);
  const TensorMap tensors = sample_tensors(random);
  const TemporaryDirectory directory;
  for (const char* name : {"x.npz", "x.safetensors"}) {
    write_tensor_file(directory / name, tensors);
    const TensorMap read = read_all(*open_tensor_file(directory / name));
    ASSERT_EQ(read.size(), tensors.size());
    for (const auto& [key, tensor] : tensors) expect_same(read.at(key), tensor);
  }
}

TEST(Tensor, KnowsItsOrder) {
  OwnedTensor tensor = make_tensor(NF_FLOAT32, {2, 3});
  EXPECT_TRUE(tensor.is_c_order());
  EXPECT_FALSE(tensor.is_fortran_order());
  tensor.strides = {1, 2};
  EXPECT_FALSE(tensor.is_c_order());
  EXPECT_TRUE(tensor.is_fortran_order());
  EXPECT_EQ(element_count(std::vector<int64_t>{0, INT64_MAX}, NF_FLOAT64), std::nullopt);
  EXPECT_EQ(element_count(std::vector<int64_t>{0, 5}, NF_FLOAT64), 0);
  EXPECT_EQ(element_count(std::vector<int64_t>{int64_t{1} << 62}, NF_FLOAT16), std::nullopt);
}

}  // namespace
}  // namespace nearfield::cli::testing
