// nearfield simulate and plot, as a user runs them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "io_samples.h"
#include "nearfield/nearfield.hpp"
#include "process.h"

namespace nearfield::cli::testing {
namespace {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

std::string contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

Outcome simulate(Arguments more) {
  more.insert(more.begin(), "simulate");
  return nearfield(more);
}

const Arguments kHunyuan = {"--grid", "30,48,80", "-k", "18,24,24", "--tile", "4,8,8", "--key-tile", "2,8,8"};
Arguments hunyuan(const Arguments& more) {
  Arguments all = kHunyuan;
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST(SimulateCommand, ShowsThePublishedBounds) {
  const Outcome found = simulate(kHunyuan);
  ASSERT_EQ(found.status, 0) << found.err;
  EXPECT_NE(found.out.find("worst bound                       3.27x"), std::string::npos) << found.out;
  EXPECT_NE(found.out.find("mean bound                        5.24x"), std::string::npos) << found.out;
  EXPECT_EQ(found.out.find("predicted"), std::string::npos) << found.out;
}

TEST(SimulateCommand, JsonIsWhatTheLibrarySays) {
  const Outcome found = simulate(hunyuan({"--stride", "16,8,8", "--gflops", "100", "--head-dim", "128", "--json"}));
  ASSERT_EQ(found.status, 0) << found.err;
  const Json json = Json::parse(found.out);
  const double per_key = 4 * 128 * 256 / 100e9;
  const nf_rates rates = {per_key, 0, 0, 0};
  const nf_simulation expected =
      ::nearfield::simulate(neighborhood({18, 24, 24}).stride({16, 8, 8}), {30, 48, 80}, {4, 8, 8}, {2, 8, 8}, &rates);
  EXPECT_EQ(json["is_block_sparse"], true);
  EXPECT_EQ(json["key_tiles"]["worst_bound"], expected.key_tiles.worst_bound);
  EXPECT_EQ(json["steps"]["keys"], expected.steps.keys);
  EXPECT_DOUBLE_EQ(json["steps"]["seconds"], expected.steps.seconds);
  EXPECT_GT(expected.steps.seconds, 0);
}

TEST(SimulateCommand, SweepFindsTheBestStride) {
  const Outcome found = simulate(hunyuan({"--sweep", "--json"}));
  ASSERT_EQ(found.status, 0) << found.err;
  const Json json = Json::parse(found.out);
  ASSERT_EQ(json["strides"].size(), 18u * 24 * 24);
  const Json& best = json["strides"][0];
  EXPECT_EQ(best["stride"], "16,8,8");  // the smallest of those without a mask
  EXPECT_EQ(best["is_block_sparse"], true);
  double keys = 0, bound = 1e300;
  for (const Json& each : json["pareto"]) {  // larger, slower
    const double own = static_cast<double>(each["useful_pairs"]);
    EXPECT_GT(own, keys);
    EXPECT_LT(each["key_tiles"]["worst_bound"], bound);
    keys = own;
    bound = each["key_tiles"]["worst_bound"];
  }
  EXPECT_GE(json["pareto"].size(), 5u);
}

// With stride 16 windows of 71 to 80 tokens reach as many key tiles of 16.
TEST(SimulateCommand, SweepFindsLargerWindowsOfTheSameCost) {
  const Outcome found = simulate({"--grid", "256", "-k", "75", "--tile", "16", "--sweep", "--json"});
  ASSERT_EQ(found.status, 0) << found.err;
  const Json json = Json::parse(found.out);
  ASSERT_FALSE(json["same_cost"].is_null());
  const Json &best = json["strides"][0], &larger = json["same_cost"];
  EXPECT_EQ(larger["key_tiles"]["units"], best["key_tiles"]["units"]);
  EXPECT_GT(std::stoi(larger["window"].get<std::string>()), 75);
  const std::vector<int64_t> one_more = {std::stoi(larger["window"].get<std::string>()) + 1};
  const std::vector<int64_t> stride = {std::stoi(best["stride"].get<std::string>())};
  const nf_simulation next = ::nearfield::simulate(neighborhood(one_more).stride(stride), {256}, {16}, {16});
  EXPECT_GT(next.key_tiles.units, best["key_tiles"]["units"]);
}

TEST(SimulateCommand, CsvHasALineForEach) {
  const Outcome found = simulate({"--grid", "64", "-k", "9", "--tile", "8", "--sweep", "--csv"});
  ASSERT_EQ(found.status, 0) << found.err;
  std::istringstream lines(found.out);
  std::string line;
  size_t commas = 0, count = 0;
  for (; std::getline(lines, line); ++count) {
    const auto own = static_cast<size_t>(std::count(line.begin(), line.end(), ','));
    if (count == 0) commas = own;
    EXPECT_EQ(own, commas) << line;
  }
  EXPECT_GT(count, 10u);
}

TEST(SimulateCommand, TakesEveryKindOfPattern) {
  for (const Arguments& pattern : {Arguments{"--pattern", "window", "--size", "8", "--shift", "3"},
                                   {"--pattern", "hilbert-slide", "--size", "49"},
                                   {"--pattern", "curve-window", "--order", "morton", "--size", "64"},
                                   {"--pattern", "sphere", "--cutoff", "0.3"},
                                   {"--pattern", "sphere-global", "--key-grid", "12,24"}})
    for (const char* way : {"--json", "--sweep"}) {
      Arguments all = {"--grid", "24,48", way};
      all.insert(all.end(), pattern.begin(), pattern.end());
      const Outcome found = simulate(all);
      EXPECT_EQ(found.status, 0) << pattern[1] << found.err;
      EXPECT_NE(found.out, "");
    }
}

TEST(SimulateCommand, ShowsProgressOnATerminal) {
  const Outcome found = nearfield_on_terminal({"simulate", "--grid", "256,256", "-k", "48", "--tile", "16", "--sweep"});
  EXPECT_EQ(found.status, 0);
  EXPECT_NE(found.err.find("strides and tiles"), std::string::npos) << found.err;
}

TEST(SimulateCommand, RefusesWhatIsWrong) {
  const auto refused = [](const Arguments& arguments, const std::string& message, int status = 2) {
    const Outcome found = simulate(arguments);
    EXPECT_EQ(found.status, status) << message;
    EXPECT_NE(found.err.find(message), std::string::npos) << found.err;
    EXPECT_EQ(found.out, "");
  };
  refused({}, "grid: is missing");
  refused({"--grid", "64"}, "kernel_size: is missing");
  refused({"--grid", "64", "-k", "8", "--tile", "65"}, "tile[0]=65: must be at most 64, the tokens of the axis");
  refused({"--grid", "64", "-k", "8", "--tile", "8", "--key-tile", "65"}, "key_tile[0]=65: must be at most 64");
  refused({"--grid", "64", "-k", "8", "--stride", "9"}, "stride[0]=9: must be at most kernel_size[0]=8");
  refused({"--grid", "64", "-k", "8", "--stride", "9", "--sweep"}, "stride[0]=9: must be at most kernel_size[0]=8");
  refused({"--grid", "4,4,4,4", "-k", "3"}, "grid=4,4,4,4: has 4 axes: must have 1, 2 or 3");
  refused({"--grid", "64", "-k", "8", "--tile", "4,4"}, "tile: has 2 values");
  refused({"--grid", "64", "-k", "8", "--head-dim", "32"}, "head_dim=32: must come with --gflops");
  refused({"--grid", "64", "-k", "8", "--gflops", "-1"}, "gflops=-1: must be above 0");
  refused({"--grid", "64", "-k", "8", "--json", "--csv"}, "csv: must not come with --json");
  refused({"--grid", "64", "-k", "8", "--html", "/nowhere/at/all.html"}, "/nowhere/at/all.html: cannot be written", 1);
  refused({"--grid", "64", "--pattern", "hilbert-slide", "--size", "9", "--html", "x.html"},
          "the page is of neighborhoods");
  refused({"--grid", "64", "-k", "8", "--html", "x.html", "--sweep"}, "html=x.html: must not come with --sweep");
}

// ---- plot ----

class PlotCommand : public ::testing::Test {
 protected:
  std::string path(std::string_view name) const { return (directory_ / name).string(); }
  Outcome plot(Arguments arguments, const std::string& file) const {
    arguments.insert(arguments.begin(), "plot");
    arguments.insert(arguments.end(), {"--out", path(file)});
    return nearfield(arguments);
  }
  TemporaryDirectory directory_;
};

TEST_F(PlotCommand, DrawsEveryKindInBothFormats) {
  const std::vector<std::pair<Arguments, std::string>> cases = {
      {{"window", "--grid", "9,12", "-k", "5", "--query", "1,10"}, "query (1, 10) sees 25 of 108 keys"},
      {{"window", "--grid", "20", "-k", "5", "--boundary", "wrap"}, "100 of 400 pairs"},
      {{"window", "--grid", "3,8,8", "-k", "3"}, "query (1, 4, 4) sees 27 of 192 keys"},
      {{"window", "--grid", "8,8", "--pattern", "hilbert-window", "--size", "16"}, "sees 16 of 64 keys"},
      {{"plan", "--grid", "64", "-k", "16", "--stride", "16", "--tile", "8", "--key-tile", "16"},
       "waste: 1.000 in all"},
      {{"plan", "--grid", "12,12", "-k", "5", "--dilation", "2", "--tile", "2"}, "masked: "},
      {{"blocks", "--grid", "32,32", "-k", "7", "--block", "64"}, "empty: "},
      {{"curve", "--grid", "7,10"}, "hilbert order of 7 x 10 tokens"},
      {{"curve", "--grid", "8,8", "--order", "morton"}, "morton order"},
      {{"curve", "--grid", "8,8", "--pattern", "hilbert-window", "--size", "16"}, "and so on"},
      {{"sphere", "--grid", "19,36", "--cutoff", "20deg", "--query", "0,3"}, "query (0, 3) sees 108 of 684 keys"}};
  for (const auto& [arguments, text] : cases) {
    SCOPED_TRACE(::testing::PrintToString(arguments));
    const Outcome vector = plot(arguments, "picture.svg"), pixels = plot(arguments, "picture.png");
    ASSERT_EQ(vector.status, 0) << vector.err;
    ASSERT_EQ(pixels.status, 0) << pixels.err;
    const std::string svg = contents(path("picture.svg")), png = contents(path("picture.png"));
    EXPECT_NE(svg.find(text), std::string::npos) << svg.substr(0, 2000);
    EXPECT_TRUE(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_TRUE(png.starts_with("\x89PNG"));
    EXPECT_GT(png.size(), 1000u);
  }
}

TEST_F(PlotCommand, RefusesWhatIsWrong) {
  const auto refused = [&](const Arguments& arguments, const std::string& file, const std::string& message,
                           int status = 2) {
    const Outcome found = plot(arguments, file);
    EXPECT_EQ(found.status, status) << message;
    EXPECT_NE(found.err.find(message), std::string::npos) << found.err;
  };
  refused({"windw", "--grid", "8"}, "x.svg",
          "kind=windw: must be one of window, plan, blocks, curve, sphere (did you mean window?)");
  refused({"window", "--grid", "8", "-k", "3"}, "x.pdf", "must end in .svg or .png");
  refused({"window", "--grid", "8", "-k", "3"}, "no/folder/x.svg", "cannot be written", 1);
  refused({"window", "--grid", "8,8", "-k", "3", "--query", "8,1"}, "x.svg",
          "query[0]=8: must be at least 0 and below 8");
  refused({"window", "--grid", "8,8", "-k", "3", "--tile", "4"}, "x.svg", "tile=4: is not for plot window");
  refused({"window", "--grid", "0,8", "-k", "3"}, "x.svg", "must have at least 1 token");
  refused({"plan", "--grid", "1000,1000", "-k", "3"}, "x.svg",
          "grid: has 1000000 tokens: must have at most 16384 to be drawn");
  refused({"blocks", "--grid", "4096,4096", "-k", "3"}, "x.svg", "must have at most 512 to be drawn");
  refused({"curve", "--grid", "8,8,8"}, "x.svg", "must have 2");
  refused({"curve", "--grid", "8,8", "-k", "3"}, "x.svg", "kernel_size: is not for plot curve");
  refused({"sphere", "--grid", "8,8", "--pattern", "window", "--size", "4"}, "x.svg",
          "must be sphere or sphere-global");
  EXPECT_EQ(nearfield({"plot", "window", "--grid", "8", "-k", "3"}).status, 2);
}

// ---- the page ----

// What the page finds, in a browser without a screen, for axes that its link carries.
Json shown_by_browser(const std::string& page, const TemporaryDirectory& directory, const Json& axes) {
  std::string link;
  for (const char letter : axes.dump()) {
    char code[4];
    std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned char>(letter));
    link += code;
  }
  const std::string command =
      "chromium --headless=new --no-sandbox --disable-gpu --virtual-time-budget=10000 --dump-dom "
      "--user-data-dir=" +
      (directory / "profile").string() + " 'file://" + page + "#" + link + "' 2>/dev/null";
  std::string text;
  std::FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("chromium: cannot be started");
  char part[4096];
  while (const size_t size = std::fread(part, 1, sizeof part, pipe)) text.append(part, size);
  EXPECT_EQ(pclose(pipe), 0) << "chromium, of which tools/setup.sh test brings the package";
  const std::string name = "data-results=\"";
  const size_t begin = text.find(name), end = text.find('"', begin + name.size());
  if (begin == std::string::npos) throw std::runtime_error("the page shows no results: " + text.substr(0, 500));
  std::string json = text.substr(begin + name.size(), end - begin - name.size());
  for (size_t at = json.find("&quot;"); at != std::string::npos; at = json.find("&quot;")) json.replace(at, 6, "\"");
  return Json::parse(json);
}

struct PageAxis {
  int64_t length, kernel, stride, dilation;
  nf_boundary boundary;
  int64_t tile, key_tile, query;
};

// The module that the page carries is compiled apart from the library: they have to agree.
TEST(SimulatePage, CountsInTheBrowserAsTheLibraryDoes) {
  const TemporaryDirectory directory;
  const std::string page = (directory / "page.html").string();
  ASSERT_EQ(simulate(hunyuan({"--html", page})).status, 0);
  EXPECT_EQ(contents(page).find("http"), std::string::npos) << "the page must load nothing";
  const std::vector<std::vector<PageAxis>> cases = {
      {{30, 18, 1, 1, NF_CLAMP, 4, 2, 15}, {48, 24, 1, 1, NF_CLAMP, 8, 8, 24}, {80, 24, 1, 1, NF_CLAMP, 8, 8, 40}},
      {{37, 11, 3, 2, NF_CUT, 5, 4, 36}, {24, 23, 5, 2, NF_WRAP, 7, 5, 0}},
      {{100, 27, 9, 3, NF_CLAMP, 6, 10, 99}}};
  for (const auto& axes : cases) {
    Json link = Json::array();
    std::vector<int64_t> grid, kernel, stride, dilation, tile, key_tile;
    std::vector<nf_boundary> boundary;
    int64_t token = 0;
    for (const PageAxis& a : axes) {
      constexpr const char* kNames[] = {"clamp", "wrap", "cut"};
      link.push_back({{"length", a.length},
                      {"kernel", a.kernel},
                      {"stride", a.stride},
                      {"dilation", a.dilation},
                      {"boundary", kNames[a.boundary]},
                      {"causal", false},
                      {"tile", a.tile},
                      {"keyTile", a.key_tile},
                      {"query", a.query}});
      grid.push_back(a.length), kernel.push_back(a.kernel), stride.push_back(a.stride), dilation.push_back(a.dilation);
      tile.push_back(a.tile), key_tile.push_back(a.key_tile), boundary.push_back(a.boundary);
      token = token * a.length + a.query;
    }
    SCOPED_TRACE(link.dump());
    const auto pattern = neighborhood(kernel).stride(stride).dilation(dilation).boundary(boundary);
    const nf_simulation expected = ::nearfield::simulate(pattern, grid, tile, key_tile);
    const Json shown = shown_by_browser(page, directory, link);
    ASSERT_FALSE(shown.contains("error")) << shown["error"];
    EXPECT_EQ(shown["usefulPairs"], expected.useful_pairs);
    EXPECT_DOUBLE_EQ(shown["ideal"], expected.ideal_bound);
    for (const auto& [name, visits] : {std::pair("keyTiles", expected.key_tiles), std::pair("steps", expected.steps)}) {
      EXPECT_EQ(shown[name]["units"], visits.units);
      EXPECT_EQ(shown[name]["mostUnits"], visits.most_units);
      EXPECT_EQ(shown[name]["fullUnits"], visits.full_units);
      EXPECT_EQ(shown[name]["pairs"], visits.pairs);
      EXPECT_DOUBLE_EQ(shown[name]["worst"], visits.worst_bound);
      EXPECT_DOUBLE_EQ(shown[name]["mean"], visits.mean_bound);
    }
    // What is drawn: the query's keys, and every key tile of every tile of queries.
    std::vector<int64_t> keys = windows(pattern, grid, token, 1).keys;
    std::erase(keys, -1);
    EXPECT_EQ(shown["keys"], keys.size());
    EXPECT_EQ(shown["map"]["visited"], expected.key_tiles.units);
    EXPECT_EQ(shown["map"]["full"], expected.key_tiles.full_units);
  }
  const Json wrong = {{{"length", 64}, {"kernel", 8}, {"stride", 9}, {"tile", 8}, {"keyTile", 8}, {"query", 3}}};
  EXPECT_EQ(shown_by_browser(page, directory, wrong)["error"], "stride[0]=9: must be at most kernel_size[0]=8");
}

}  // namespace
}  // namespace nearfield::cli::testing
