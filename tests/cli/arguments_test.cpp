// Texts to values, and the messages of those that mean nothing.
#include "arguments.h"

#include <gtest/gtest.h>

#include "format.h"
#include "inputs.h"
#include "pattern_arguments.h"
#include "suggest.h"

namespace nearfield::cli::testing {
namespace {

template <class Body>
std::string usage_error(Body&& body) {
  try {
    body();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Arguments, Numbers) {
  EXPECT_EQ(parse_integer("-7", "x"), -7);
  EXPECT_EQ(parse_integer("9223372036854775807", "x"), INT64_MAX);
  for (const char* text : {"", "7.0", "7 ", "+7", "0x7", "9223372036854775808", "seven"})
    EXPECT_EQ(usage_error([&] { parse_integer(text, "x"); }),
              std::string("x=") + text + ": must be an integer of 64 bits");
  EXPECT_EQ(parse_number("-1.5e3", "x"), -1500);
  EXPECT_EQ(parse_number("0", "x"), 0);
  for (const char* text : {"", "nan", "inf", "-inf", "1e999", "1,5"})
    EXPECT_EQ(usage_error([&] { parse_number(text, "x"); }), std::string("x=") + text + ": must be a finite number");
}

TEST(Arguments, Lists) {
  EXPECT_EQ(parse_integers("7", "x"), (std::vector<int64_t>{7}));
  EXPECT_EQ(parse_integers("5, 7 ,-1", "x"), (std::vector<int64_t>{5, 7, -1}));
  for (const char* text : {"", ",", "5,", ",5", "5,,7", " "})
    EXPECT_EQ(usage_error([&] { parse_integers(text, "x"); }),
              std::string("x=") + text + ": must be a list separated by commas, without empty elements");
  EXPECT_EQ(usage_error([] { parse_integers("5,b", "x"); }), "x[1]=b: must be an integer of 64 bits");
  EXPECT_EQ(broadcast(std::vector<int64_t>{7}, 3, "x"), (std::vector<int64_t>{7, 7, 7}));
  EXPECT_EQ(usage_error([] {
              broadcast(std::vector<int64_t>{7, 7}, 3, "x");
            }),
            "x: has 2 values: must have 1, or one for each of the 3 axes");
}

TEST(Arguments, Names) {
  for (const char* name : {"f32", "float32", "fp32", "float"}) EXPECT_EQ(parse_dtype(name), NF_FLOAT32);
  for (const char* name : {"f64", "float64", "double"}) EXPECT_EQ(parse_dtype(name), NF_FLOAT64);
  for (const char* name : {"bf16", "bfloat16"}) EXPECT_EQ(parse_dtype(name), NF_BFLOAT16);
  for (const char* name : {"f16", "float16", "half"}) EXPECT_EQ(parse_dtype(name), NF_FLOAT16);
  EXPECT_EQ(usage_error([] { parse_dtype("f31"); }),
            "dtype=f31: must be one of f64, f32, bf16, f16 (or float64, float32, bfloat16, float16)");
  EXPECT_EQ(parse_engine("auto"), NF_ENGINE_AUTO);
  EXPECT_EQ(parse_engine("reference"), NF_ENGINE_REFERENCE);
  EXPECT_EQ(parse_isa("portable"), NF_ISA_PORTABLE);
  EXPECT_EQ(parse_isa("avx2"), NF_ISA_AVX2);
  EXPECT_EQ(parse_isa("neon"), NF_ISA_NEON);
  EXPECT_EQ(parse_kernel("tile"), NF_KERNEL_TILE);
  EXPECT_EQ(parse_boundary("wrap"), NF_WRAP);
  EXPECT_EQ(usage_error([] { parse_boundary("Wrap"); }), "boundary=Wrap: must be one of clamp, wrap, cut");
  EXPECT_EQ(usage_error([] { parse_isa("sse"); }), "isa=sse: must be one of " + isa_names());
  for (const nf_boundary boundary : {NF_CLAMP, NF_WRAP, NF_CUT}) EXPECT_EQ(parse_boundary(name_of(boundary)), boundary);
}

Grids of_rank(size_t rank) {
  const std::vector<int64_t> grid(rank, 8);
  return {grid, grid};
}

TEST(Arguments, Pattern) {
  PatternArguments arguments;
  arguments.kernel_size = "5,7,7";
  arguments.dilation = "1,2,2";
  arguments.causal = "true,no,0";
  arguments.boundary = "cut,clamp,wrap";
  const auto pattern = std::get<nf_neighborhood>(arguments.resolve(of_rank(3)));
  EXPECT_EQ(pattern.pattern.rank, 3);
  EXPECT_EQ(pattern.kernel_size[0], 5);
  EXPECT_EQ(pattern.kernel_size[2], 7);
  EXPECT_EQ(pattern.stride[1], 1);
  EXPECT_EQ(pattern.dilation[2], 2);
  EXPECT_EQ(pattern.is_causal[0], 1);
  EXPECT_EQ(pattern.is_causal[2], 0);
  EXPECT_EQ(pattern.boundary[0], NF_CUT);
  EXPECT_EQ(pattern.boundary[2], NF_WRAP);
  EXPECT_EQ(usage_error([&] { arguments.resolve(of_rank(2)); }),
            "kernel_size: has 3 values: must have 1, or one for each of the 2 axes");
  arguments.causal = "true,maybe,0";
  EXPECT_EQ(usage_error([&] { arguments.resolve(of_rank(3)); }), "is_causal[1]=maybe: must be true or false");
}

TEST(Arguments, Engine) {
  EngineArguments arguments;
  EXPECT_EQ(arguments.resolve().has_scale, 0);
  arguments.scale = "0";
  arguments.threads = "3";
  EXPECT_EQ(arguments.resolve().has_scale, 1);
  EXPECT_EQ(arguments.resolve().scale, 0);
  EXPECT_EQ(arguments.resolve().num_threads, 3);
  arguments.threads = "-1";
  EXPECT_EQ(usage_error([&] { arguments.resolve(); }), "num_threads=-1: must be 0 or more, and fit 32 bits");
  arguments.threads = "4294967296";
  EXPECT_NE(usage_error([&] { arguments.resolve(); }), "");
}

TEST(Arguments, Ranks) {
  EXPECT_EQ(grid_rank_of(4, "query"), 1);
  EXPECT_EQ(grid_rank_of(6, "query"), 3);
  for (const size_t rank : {0u, 3u, 7u}) EXPECT_NE(usage_error([&] { grid_rank_of(rank, "query"); }), "");
}

TEST(Arguments, References) {
  EXPECT_EQ(parse_reference("x.npz:q").file, "x.npz");
  EXPECT_EQ(parse_reference("x.npz:q").name, "q");
  EXPECT_EQ(parse_reference("a:b/x.npz:q").file, "a:b/x.npz");
  EXPECT_EQ(parse_reference("x.npy").name, "");
}

TEST(Layout, HeadsFirstIsAView) {
  const Tensor tensor(nullptr, NF_FLOAT32, {2, 3, 10, 20, 8});  // batch, heads, *grid, head_dim
  const Tensor view = in_heads_last(tensor, Layout::heads_first);
  EXPECT_EQ(std::vector<int64_t>(view.sizes, view.sizes + 5), (std::vector<int64_t>{2, 10, 20, 3, 8}));
  EXPECT_EQ(std::vector<int64_t>(view.strides, view.strides + 5), (std::vector<int64_t>{4800, 160, 8, 1600, 1}));
}

TEST(Format, Numbers) {
  EXPECT_EQ(seconds_text(0.00123), "1.23 ms");
  EXPECT_EQ(seconds_text(90), "1.5 min");
  EXPECT_EQ(seconds_text(0), "0 ns");
  EXPECT_EQ(bytes_text(0), "0 bytes");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(count_text(12), "12");
  EXPECT_EQ(count_text(1.5e9), "1.5 G");
  const std::vector<int64_t> one = {3}, two = {3, 4};
  EXPECT_EQ(shape_text(one), "(3,)");
  EXPECT_EQ(shape_text(two), "(3, 4)");
}

TEST(Suggest, FindsTheNearest) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("rnu", "run"), 1u);
  const std::vector<std::string> names = {"info", "run", "explain", "bench", "check"};
  EXPECT_EQ(nearest("rnu", names), "run");
  EXPECT_EQ(nearest("exlpain", names), "explain");
  EXPECT_EQ(nearest("attention", names), "");
}

}  // namespace
}  // namespace nearfield::cli::testing
