// The program as a user meets it: exit status, messages, files.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "image_io.h"
#include "test_files.h"

namespace denoise {
namespace {

struct Outcome {
  int status = -1;  // exit status; -1: ended by a signal
  std::string text;
};

class Program : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("NEARFIELD_DENOISE");
    ASSERT_NE(path, nullptr) << "NEARFIELD_DENOISE must name the program";
    program_ = path;
    Image image = test::synthetic(40, 48, 3);
    add_noise(image, 0.01, 1);
    write_png(input(), image);
  }
  std::string input() const { return directory_.file("input.png"); }
  std::string output() const { return directory_.file("out"); }
  Outcome run(const std::string& arguments) const {
    const std::string log = directory_.file("log");
    const int raw = std::system(("'" + program_ + "' " + arguments + " > '" + log + "' 2>&1").c_str());
    const std::vector<uint8_t> bytes = test::read_bytes(log);
    return {WIFEXITED(raw) ? WEXITSTATUS(raw) : -1, {bytes.begin(), bytes.end()}};
  }
  void expect_refused(const std::string& arguments, const std::string& message) const {
    SCOPED_TRACE(arguments);
    const Outcome outcome = run(arguments);
    EXPECT_GT(outcome.status, 0);
    EXPECT_NE(outcome.text.find(message), std::string::npos) << outcome.text;
  }

  test::TemporaryDirectory directory_;
  std::string program_;
};

TEST_F(Program, WritesAllItsFiles) {
  const Outcome outcome = run(input() + " " + output() + " --threads 1,3 --query 20,20");
  ASSERT_EQ(outcome.status, 0) << outcome.text;
  EXPECT_NE(outcome.text.find("3 threads: "), std::string::npos) << outcome.text;
  EXPECT_NE(outcome.text.find("PSNR: noisy "), std::string::npos) << outcome.text;
  for (const char* name : {"noisy.png", "denoised.png", "comparison.png", "attention.png"})
    EXPECT_NO_THROW(read_png(output() + "/" + name)) << name;
  for (const char* name : {"original.npy", "noisy.npy", "denoised.npy", "results.json"})
    EXPECT_GT(std::filesystem::file_size(output() + "/" + name), 100u) << name;
  const Image denoised = read_png(output() + "/denoised.png"), original = read_png(input());
  EXPECT_GT(psnr(denoised, original), psnr(read_png(output() + "/noisy.png"), original) + 3);
}

TEST_F(Program, TakesANoisyInputAsItIs) {
  const Outcome outcome = run(input() + " " + output() + " --no-noise --sigma 0 --h 0.05");
  ASSERT_EQ(outcome.status, 0) << outcome.text;
  EXPECT_EQ(outcome.text.find("PSNR"), std::string::npos) << outcome.text;
  EXPECT_EQ(read_png(output() + "/noisy.png").pixels, read_png(input()).pixels);
  EXPECT_FALSE(std::filesystem::exists(output() + "/original.npy"));
}

TEST_F(Program, RefusesBadFiles) {
  expect_refused(directory_.file("absent.png") + " " + output(), "absent.png: cannot open: No such file or directory");
  test::write_bytes(directory_.file("text.png"), {'h', 'e', 'l', 'l', 'o', ',', ' ', 'y', 'o', 'u'});
  expect_refused(directory_.file("text.png") + " " + output(), "text.png: not a PNG file");
  std::vector<uint8_t> bytes = test::read_bytes(input());
  bytes.resize(bytes.size() / 2);
  test::write_bytes(directory_.file("cut.png"), bytes);
  expect_refused(directory_.file("cut.png") + " " + output(), "cut.png: damaged PNG file: ");
  write_png(directory_.file("tiny.png"), Image(2, 9, 1));
  expect_refused(directory_.file("tiny.png") + " " + output(), "9 x 2 pixels: must be at least 3 on each side");
  expect_refused(input() + " " + input() + "/inside", "inside: cannot make this directory: Not a directory");
  // A directory that is there but takes no files, for root too.
  expect_refused(input() + " /proc", "/proc/noisy.png: cannot open: ");
}

TEST_F(Program, RefusesBadArguments) {
  const std::string files = input() + " " + output();
  expect_refused("", "input is required");
  expect_refused(files + " --sigma -1", "--sigma");
  expect_refused(files + " --sigma lots", "--sigma");
  expect_refused(files + " --sigma 0", "h=0: must be greater than 0");
  expect_refused(files + " --h 0.01", "h=0.01: must be at least 0.6 * sigma = 0.048");
  expect_refused(files + " --query 40,0", "query=40,0: must lie in the image of 40 rows and 48 columns");
  expect_refused(files + " --query 4", "--query");
  expect_refused(files + " --threads -2", "--threads");
  expect_refused(files + " --engine warp", "--engine");
  expect_refused(files + " --frobnicate", "--frobnicate");
}

}  // namespace
}  // namespace denoise
