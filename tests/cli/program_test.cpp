// The built program: what succeeds is right, what fails says why and with which status.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>

#include "io_samples.h"
#include "process.h"

namespace nearfield::cli::testing {
namespace {

using Json = nlohmann::json;

OwnedTensor normal(std::vector<int64_t> sizes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> values;
  OwnedTensor tensor = make_tensor(NF_FLOAT32, std::move(sizes));
  for (size_t i = 0; i < tensor.bytes.size(); i += sizeof(float)) {
    const float value = values(random);
    std::memcpy(&tensor.bytes[i], &value, sizeof value);
  }
  return tensor;
}

TensorMap attention_inputs(std::vector<int64_t> sizes) {
  return {{"q", normal(sizes, 1)}, {"k", normal(sizes, 2)}, {"v", normal(sizes, 3)}};
}

double largest_difference(const OwnedTensor& a, const OwnedTensor& b) {
  EXPECT_EQ(a.sizes, b.sizes);
  EXPECT_EQ(a.dtype, NF_FLOAT32);
  EXPECT_EQ(b.dtype, NF_FLOAT32);
  if (a.sizes != b.sizes || a.dtype != b.dtype) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.bytes.size(); i += sizeof(float)) {
    float x = 0, y = 0;
    std::memcpy(&x, &a.bytes[i], sizeof x);
    std::memcpy(&y, &b.bytes[i], sizeof y);
    const double difference = std::abs(double{x} - double{y});
    if (!(difference <= largest)) largest = difference;  // a NaN stays
  }
  return largest;
}

OwnedTensor permuted(const OwnedTensor& tensor, const std::vector<size_t>& order) {
  OwnedTensor result = tensor;
  for (size_t i = 0; i < order.size(); ++i) {
    result.sizes[i] = tensor.sizes[order[i]];
    result.strides[i] = tensor.strides[order[i]];
  }
  return result.in_c_order();
}

class Program : public ::testing::Test {
 protected:
  std::string path(std::string_view name) const { return (directory_ / name).string(); }
  OwnedTensor read(std::string_view file, const std::string& name = "") const {
    return open_tensor_file(path(file))->read(name);
  }
  // Runs, expects success, silence on stderr.
  Outcome succeed(const std::vector<std::string>& arguments) const {
    const Outcome outcome = nearfield(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return outcome;
  }
  TemporaryDirectory directory_;
};

// ---- run -----------------------------------------------------------------------------------------------------------

TEST_F(Program, RunAgreesWithTheReference) {
  struct Case {
    std::vector<int64_t> sizes;
    std::vector<std::string> pattern;
  };
  const std::vector<Case> cases = {
      {{1, 9, 11, 2, 16}, {"--kernel-size", "3,5"}},
      {{2, 12, 12, 2, 8}, {"-k", "3", "--dilation", "2", "--boundary", "wrap"}},
      {{1, 40, 1, 32}, {"-k", "7", "--causal", "true", "--scale", "0.3"}},
      {{1, 9, 11, 2, 16}, {"--pattern", "window", "--size", "3,5", "--shift", "1"}},
      {{1, 9, 11, 2, 16}, {"--pattern", "hilbert-window", "--size", "16", "--shift", "8"}},
      {{2, 12, 10, 2, 8}, {"--pattern", "hilbert-slide", "--size", "9", "--dilation", "2"}},
      {{1, 9, 11, 1, 8}, {"--pattern", "hilbert-neighborhood", "--size", "25", "--causal", "true", "--stride", "3"}},
      {{1, 9, 11, 1, 8}, {"--pattern", "curve-neighborhood", "--size", "25", "--order", "morton"}},
      {{1, 4, 6, 7, 1, 24}, {"-k", "3,5,5", "--stride", "1,2,1", "--boundary", "clamp,cut,wrap"}},
  };
  for (const Case& c : cases) {
    write_tensor_file(path("in.npz"), attention_inputs(c.sizes));
    std::vector<std::string> common = {"run", "--input", path("in.npz"), "--lse"};
    common.insert(common.end(), c.pattern.begin(), c.pattern.end());
    const auto with = [&](std::vector<std::string> extra) {
      extra.insert(extra.begin(), common.begin(), common.end());
      return extra;
    };
    succeed(with({"--out", path("fast.npz")}));
    succeed(with({"--out", path("reference.safetensors"), "--engine", "reference"}));
    for (const char* name : {"out", "logsumexp"}) {
      const double error = largest_difference(read("fast.npz", name), read("reference.safetensors", name));
      EXPECT_TRUE(error <= 2e-5) << name << " " << ::testing::PrintToString(c.pattern) << ": " << error;
    }
    EXPECT_EQ(read("fast.npz", "out").sizes, c.sizes);
  }
}

TEST_F(Program, RunSaysWhatItDid) {
  write_tensor_file(path("in.npz"), attention_inputs({1, 8, 8, 2, 16}));
  const Outcome outcome =
      succeed({"run", "-i", path("in.npz"), "-k", "3", "-o", path("out.npy"), "--threads", "1", "--isa", "portable"});
  EXPECT_TRUE(outcome.out.starts_with(path("out.npy") + ": out (1, 8, 8, 2, 16) float32; cpu portable "))
      << outcome.out;
  EXPECT_NE(outcome.out.find(", 1 thread, "), std::string::npos) << outcome.out;
  EXPECT_TRUE(outcome.out.ends_with(" GFLOP/s\n")) << outcome.out;
}

TEST_F(Program, RunTakesEitherLayoutAndOrder) {
  const TensorMap inputs = attention_inputs({2, 5, 6, 3, 8});
  write_tensor_file(path("last.npz"), inputs);
  TensorMap first, fortran;
  for (const auto& [name, tensor] : inputs) {
    first.emplace(name, permuted(tensor, {0, 3, 1, 2, 4}));
    // The same elements with the first axis fastest.
    fortran.emplace(name, permuted(tensor, {4, 3, 2, 1, 0}));
    OwnedTensor& reversed = fortran.at(name);
    reversed.sizes = tensor.sizes;
    reversed.strides = fortran_strides(tensor.sizes);
  }
  write_tensor_file(path("first.npz"), first);
  write_tensor_file(path("fortran.npz"), fortran);
  succeed({"run", "-i", path("last.npz"), "-k", "3", "--lse", "-o", path("last_out.npz")});
  succeed({"run", "-i", path("first.npz"), "-k", "3", "--lse", "-o", path("first_out.npz"), "--layout", "heads-first"});
  succeed({"run", "-i", path("fortran.npz"), "-k", "3,3", "--lse", "-o", path("fortran_out.npz")});
  const OwnedTensor out = read("last_out.npz", "out"), logsumexp = read("last_out.npz", "logsumexp");
  EXPECT_EQ(read("fortran_out.npz", "out").bytes, out.bytes);
  EXPECT_EQ(read("fortran_out.npz", "logsumexp").bytes, logsumexp.bytes);
  EXPECT_EQ(read("first_out.npz", "out").sizes, (std::vector<int64_t>{2, 3, 5, 6, 8}));
  EXPECT_EQ(read("first_out.npz", "out").bytes, permuted(out, {0, 3, 1, 2, 4}).bytes);
  EXPECT_EQ(read("first_out.npz", "logsumexp").sizes, (std::vector<int64_t>{2, 3, 5, 6}));
  EXPECT_EQ(read("first_out.npz", "logsumexp").bytes, permuted(logsumexp, {0, 3, 1, 2}).bytes);
}

TEST_F(Program, RunTakesModifiersByNameOrFlag) {
  TensorMap inputs = attention_inputs({2, 6, 2, 8});
  TensorMap modifiers;
  modifiers.emplace("bias", normal({2, 5}, 4));
  OwnedTensor mask = make_tensor(NF_BOOL, {2, 6});
  for (size_t i = 0; i < mask.bytes.size(); ++i) mask.bytes[i] = static_cast<std::byte>(i % 3 != 0);
  modifiers.emplace("key_mask", mask);
  modifiers.emplace("additional_keys", normal({2, 3, 2, 8}, 5));
  modifiers.emplace("additional_values", normal({2, 3, 2, 8}, 6));
  write_tensor_file(path("in.npz"), inputs);
  write_tensor_file(path("modifiers.safetensors"), modifiers);
  inputs.insert(modifiers.begin(), modifiers.end());
  write_tensor_file(path("all.npz"), inputs);
  write_tensor_file(path("bias.npy"), {{"bias", modifiers.at("bias")}});
  const std::vector<std::string> rest = {"-k", "3", "--softcap", "4", "--engine", "reference", "-o"};
  const auto with = [&](std::vector<std::string> start, const std::string& out) {
    start.insert(start.begin(), "run");
    start.insert(start.end(), rest.begin(), rest.end());
    start.push_back(out);
    return start;
  };
  const std::string file = path("modifiers.safetensors");
  succeed(with({"-i", path("all.npz")}, path("a.npy")));
  succeed(
      with({"--query", path("in.npz:q"), "--key", path("in.npz:k"), "--value", path("in.npz"), "--bias",
            path("bias.npy"), "--key-mask", file + ":key_mask", "--additional-keys", file, "--additional-values", file},
           path("b.npy")));
  succeed(with({"-i", path("in.npz")}, path("plain.npy")));
  EXPECT_EQ(read("a.npy").bytes, read("b.npy").bytes);
  EXPECT_TRUE(largest_difference(read("a.npy"), read("plain.npy")) > 1e-2);
}

TEST_F(Program, RunKeepsTheDType) {
  for (const nf_dtype dtype : {NF_FLOAT64, NF_BFLOAT16, NF_FLOAT16}) {
    TensorMap inputs;
    for (const char* name : {"query", "key", "value"}) inputs.emplace(name, make_tensor(dtype, {1, 5, 1, 4}));
    write_tensor_file(path("in.safetensors"), inputs);
    succeed({"run", "-i", path("in.safetensors"), "-k", "3", "--engine", "reference", "--lse", "-o", path("out.npz")});
    EXPECT_EQ(read("out.npz", "out").dtype, dtype);
    EXPECT_EQ(read("out.npz", "logsumexp").dtype, dtype == NF_FLOAT64 ? NF_FLOAT64 : NF_FLOAT32);
  }
}

TEST_F(Program, RunTakesEmptyProblems) {
  write_tensor_file(path("in.npz"), attention_inputs({0, 8, 8, 2, 16}));
  succeed({"run", "-i", path("in.npz"), "-k", "3", "-o", path("out.npy")});
  EXPECT_EQ(read("out.npy").sizes, (std::vector<int64_t>{0, 8, 8, 2, 16}));
}

TEST_F(Program, RunShowsProgressOnATerminalOnly) {
  write_tensor_file(path("in.npz"), attention_inputs({2, 64, 64, 2, 32}));
  const std::vector<std::string> arguments = {"run", "-i", path("in.npz"), "-k", "17", "--engine", "reference", "-o"};
  const auto with = [&](const std::string& out) {
    std::vector<std::string> all = arguments;
    all.push_back(out);
    return all;
  };
  const Outcome watched = nearfield_on_terminal(with(path("watched.npy")));
  EXPECT_EQ(watched.status, 0);
  // As many parts as the prediction allows: 2 to 4, one for each batch entry and head.
  EXPECT_TRUE(std::regex_search(watched.err, std::regex("\\] 0/[2-4] parts of batch and heads"))) << watched.err;
  EXPECT_TRUE(watched.err.ends_with("\r\x1b[K")) << "the bar stays";
  succeed(with(path("silent.npy")));
  EXPECT_EQ(read("watched.npy").bytes, read("silent.npy").bytes);
}

// ---- errors --------------------------------------------------------------------------------------------------------

struct Wrong {
  std::vector<std::string> arguments;
  int status;
  std::string message;  // how it begins, after "nearfield: "
};

void expect_wrong(const std::vector<Wrong>& cases) {
  for (const Wrong& c : cases) {
    const Outcome outcome = nearfield(c.arguments);
    EXPECT_EQ(outcome.status, c.status) << ::testing::PrintToString(c.arguments) << "\n" << outcome.err;
    EXPECT_TRUE(outcome.err.starts_with("nearfield: " + c.message))
        << ::testing::PrintToString(c.arguments) << "\n got:    " << outcome.err << " wanted: " << c.message;
    EXPECT_TRUE(outcome.err.ends_with("\n") && outcome.err.find('\n') == outcome.err.size() - 1) << "not one line";
    EXPECT_EQ(outcome.out, "");
  }
}

TEST_F(Program, RefusesBadCommands) {
  expect_wrong(
      {{{}, 2, "command: is missing: must be one of info, run, explain"},
       {{"rnu"}, 2, "command=rnu: must be one of info, run, explain"},
       {{"info", "--jsno"}, 2, "--jsno: info has no such argument (did you mean --json?)"},
       {{"info", "more"}, 2, "more: info has no such argument"},
       {{"explain", "--kernel-sise", "7", "--shape", "1,8,1,8"},
        2,
        "--kernel-sise: explain has no such argument (did you mean --kernel-size?)"},
       {{"run", "--out", "x.npy"}, 2, "kernel_size: is missing: --pattern neighborhood takes it as --kernel-size"},
       {{"explain", "-k", "7"}, 2, "shape: is missing: give --shape, or files"}});
  EXPECT_NE(nearfield({"rnu"}).err.find("(did you mean run?)"), std::string::npos);
}

TEST_F(Program, RefusesBadValues) {
  const auto explain = [](std::vector<std::string> more) {
    std::vector<std::string> all = {"explain", "--shape", "1,8,8,2,16", "--kernel-size"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  expect_wrong({{explain({"0"}), 2, "kernel_size[0]=0: must be at least 1"},
                {explain({"-3"}), 2, "kernel_size[0]=-3: must be at least 1"},
                {explain({"3,b"}), 2, "kernel_size[1]=b: must be an integer of 64 bits"},
                {explain({"3,3,3"}), 2, "kernel_size: has 3 values: must have 1, or one for each of the 2 axes"},
                {explain({"3", "--stride", "4"}), 2, "stride[0]=4: must be"},
                {explain({"3", "--causal", "maybe"}), 2, "is_causal[0]=maybe: must be true or false"},
                {explain({"3", "--causal", "1", "--boundary", "wrap"}), 2,
                 "is_causal[0]=1: must be 0 where boundary[0] is wrap"},
                {explain({"3", "--boundary", "mirror"}), 2, "boundary[0]=mirror: must be one of clamp, wrap, cut"},
                {explain({"3", "--dtype", "i8"}), 2, "dtype=i8: must be one of f64, f32, bf16, f16"},
                {explain({"3", "--engine", "gpu"}), 2, "engine=gpu: must be one of auto, reference, cpu, block_sparse"},
                {explain({"3", "--isa", "sse"}), 2, "isa=sse: must be one of auto, portable, avx2"},
                {explain({"3", "--kernel", "x"}), 2, "kernel=x: must be one of auto, band, tile"},
                {explain({"3", "--scale", "nan"}), 2, "scale=nan: must be a finite number"},
                {explain({"3", "--threads", "-1"}), 2, "num_threads=-1: must be 0 or more"},
                {{"explain", "--shape", "1,8,8", "-k", "3"}, 2, "shape: has 3 dimensions: must have 4, 5 or 6"},
                {{"explain", "--shape", "1,-8,2,16", "-k", "3"}, 2, "query.sizes[1]=-8 (axis 0): must be at least 0"}});
}

TEST_F(Program, RefusesBadFiles) {
  write_tensor_file(path("in.npz"), attention_inputs({1, 8, 2, 16}));
  write_tensor_file(path("both.npz"), {{"q", make_tensor(NF_FLOAT32, {1})}, {"query", make_tensor(NF_FLOAT32, {1})}});
  write_tensor_file(path("flat.npz"), {{"q", make_tensor(NF_FLOAT32, {8, 2})},
                                       {"k", make_tensor(NF_FLOAT32, {8, 2})},
                                       {"v", make_tensor(NF_FLOAT32, {8, 2})}});
  TensorMap odd = attention_inputs({1, 8, 2, 16});
  odd.at("k") = normal({1, 9, 2, 16}, 1);
  write_tensor_file(path("odd.npz"), odd);
  write_bytes(path("cut.npy"), bytes_of("\x93NUMPY"));
  const auto run = [&](std::vector<std::string> inputs, const std::string& out) {
    inputs.insert(inputs.begin(), "run");
    inputs.insert(inputs.end(), {"-k", "3", "-o", out.empty() ? path("out.npy") : out});
    return inputs;
  };
  const std::string in = path("in.npz");
  std::filesystem::create_directory(path("directory.npy"));
  expect_wrong(
      {{run({"-i", path("no.npz")}, ""), 1,
        "input=" + path("no.npz") + ": cannot be opened: No such file or directory"},
       {run({"-i", in, "--query", path("no.npy")}, ""), 1,
        "query=" + path("no.npy") + ": cannot be opened: No such file or directory"},
       {run({"-i", in, "--key-mask", path("cut.npy/no.npy")}, ""), 1,
        "key_mask=" + path("cut.npy/no.npy") + ": cannot be opened: Not a directory"},
       {run({"-i", path("x.txt")}, ""), 1,
        "input=" + path("x.txt") + ": extension '.txt': must be .npy, .npz or .safetensors"},
       {run({"-i", path("cut.npy")}, ""), 2, "query: is missing: must be given as --query FILE, or by an --input"},
       {run({"-i", in, "--query", path("cut.npy")}, ""), 1,
        "query=" + path("cut.npy") + ": magic: the file ends after 6 of 8"},
       {run({"-i", in, "--query", in + ":z"}, ""), 1, "query=" + in + ": has no tensor 'z': has 'k', 'q', 'v'"},
       {run({"-i", in, "--bias", in}, ""), 1, "bias=" + in + ": has no tensor 'bias': has 'k', 'q', 'v'"},
       {run({"-i", path("both.npz")}, ""), 2, "query=" + path("both.npz") + ": has both 'query' and 'q'"},
       {run({"-i", path("flat.npz")}, ""), 2, "query: has 2 dimensions: must have 4, 5 or 6"},
       {run({"-i", path("odd.npz")}, ""), 2, "key.sizes[1]=9 (axis 0): must be 8, as in query"},
       {run({"-i", in, "--layout", "nchw"}, ""), 2, "layout=nchw: must be heads-last or heads-first"},
       {run({"-i", in}, in), 2, "out=" + in + ": must not be an input, which it would overwrite"},
       {run({"-i", in}, path("directory.npy")), 1, "out=" + path("directory.npy") + ": must be a regular file"},
       {run({"-i", in}, path("x.txt")), 2, "out=" + path("x.txt") + ": must end in .npy, .npz or .safetensors"},
       {run({"-i", in, "--lse"}, ""), 2, "out=" + path("out.npy") + ": must be .npz or .safetensors to hold logsumexp"},
       {run({"-i", in}, path("no/x.npy")), 2, "out=" + path("no/x.npy") + ": there is no directory "}});
  EXPECT_FALSE(std::filesystem::exists(path("out.npy")));
}

TEST_F(Program, ReportsWhatCannotBeDone) {
  const Outcome isa = nearfield({"explain", "--shape", "1,8,2,16", "-k", "3"}, {"NEARFIELD_ISA=sparc"});
  EXPECT_NE(isa.status, 0);
  EXPECT_NE(isa.err.find("sparc"), std::string::npos) << isa.err;
  const Outcome full = nearfield({"info", "--json"}, {"NEARFIELD_ISA=sparc"});
  EXPECT_EQ(full.status, 0);
  EXPECT_NE(Json::parse(full.out).at("isa_error").get<std::string>().find("sparc"), std::string::npos);
}

// ---- explain and info ----------------------------------------------------------------------------------------------

TEST_F(Program, ExplainCountsPairs) {
  const Json json =
      Json::parse(succeed({"explain", "--shape", "2,12,10,3,16", "-k", "5,3", "--engine", "reference", "--json"}).out);
  EXPECT_EQ(json.at("engine"), "reference");
  EXPECT_EQ(json.at("isa"), nullptr);
  EXPECT_EQ(json.at("useful_pairs"), 2 * 12 * 10 * 3 * 5 * 3);
  EXPECT_EQ(json.at("pattern").at("kernel_size"), (std::vector<int64_t>{5, 3}));
  EXPECT_EQ(json.at("query").at("dtype"), "float32");
  const Json cpu = Json::parse(succeed({"explain", "--shape", "2,12,10,3,16", "-k", "5,3", "--engine", "cpu", "--isa",
                                        "portable", "--kernel", "tile", "--threads", "3", "--json"})
                                   .out);
  EXPECT_EQ(cpu.at("engine"), "cpu");
  EXPECT_EQ(cpu.at("isa"), "portable");
  EXPECT_EQ(cpu.at("kernel"), "tile");
  EXPECT_EQ(cpu.at("num_threads"), 3);
  EXPECT_EQ(cpu.at("useful_pairs"), json.at("useful_pairs"));
  EXPECT_GE(cpu.at("waste").get<double>(), 1.0);
  EXPECT_FALSE(cpu.at("reason").get<std::string>().empty());
}

TEST_F(Program, ExplainTakesFilesAndPrintsText) {
  write_tensor_file(path("in.npz"), attention_inputs({1, 8, 8, 2, 16}));
  const std::vector<std::string> pattern = {"-k", "3", "--causal", "true,false", "--boundary", "cut"};
  std::vector<std::string> by_shape = {"explain", "--shape", "1,8,8,2,16"}, by_file = {"explain", "-i", path("in.npz")};
  for (auto* arguments : {&by_shape, &by_file}) arguments->insert(arguments->end(), pattern.begin(), pattern.end());
  const std::string text = succeed(by_shape).out;
  EXPECT_EQ(text, succeed(by_file).out);
  EXPECT_TRUE(
      text.starts_with("query            (1, 8, 8, 2, 16) float32\n"
                       "pattern          kernel_size 3, 3; stride 1, 1; dilation 1, 1; causal true, false; "
                       "boundary cut, cut\n"))
      << text;
  for (const char* name : {"engine ", "instruction set ", "kernel ", "threads ", "tile ", "step ", "per head ",
                           "pairs ", "predicted ", "workspace ", "reason "})
    EXPECT_NE(text.find("\n" + std::string(name)), std::string::npos) << name << "\n" << text;
}

TEST_F(Program, InfoDescribesTheMachine) {
  const Json json = Json::parse(succeed({"info", "--json"}).out);
  EXPECT_EQ(json.at("version"), nf_version());
  EXPECT_FALSE(json.at("cpu").get<std::string>().empty());
  EXPECT_GE(json.at("num_threads").get<int>(), 1);
  EXPECT_EQ(json.at("isas").at(0).at("name"), "portable");
  EXPECT_EQ(json.at("isas").at(0).at("available"), true);
  EXPECT_EQ(json.at("isas").at(0).at("reason"), nullptr);
  std::vector<std::string> engines;
  for (const Json& engine : json.at("engines")) engines.push_back(engine.at("name"));
  EXPECT_EQ(engines, (std::vector<std::string>{"reference", "cpu", "block_sparse", "naive", "gemm"}));
  const Json& cuda = json.at("cuda");
  EXPECT_EQ(cuda.at("available").get<bool>(), cuda.at("reason").is_null() && !cuda.at("devices").empty());
  const Json forced = Json::parse(nearfield({"info", "--json"}, {"NEARFIELD_ISA=portable"}).out);
  EXPECT_EQ(forced.at("selected_isa"), "portable");
  EXPECT_EQ(forced.at("environment").at("NEARFIELD_ISA"), "portable");
  const std::string text = succeed({"info"}).out;
  EXPECT_NE(text.find("portable   available"), std::string::npos) << text;
}

TEST_F(Program, HelpsEachCommand) {
  EXPECT_EQ(succeed({"--version"}).out, std::string("nearfield ") + nf_version() + "\n");
  EXPECT_NE(succeed({"--help"}).out.find("explain"), std::string::npos);
  for (const char* command : {"info", "run", "explain"}) {
    const std::string help = succeed({command, "--help"}).out;
    EXPECT_NE(help.find("Examples:"), std::string::npos) << help;
    EXPECT_NE(help.find(std::string("nearfield ") + command), std::string::npos) << help;
  }
}

}  // namespace
}  // namespace nearfield::cli::testing
