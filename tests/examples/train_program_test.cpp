// nearfield_train as a user meets it: exit status, messages, files.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "image_io.h"
#include "test_files.h"

namespace train {
namespace {

using denoise::Image;

struct Outcome {
  int status = -1;  // exit status; -1: ended by a signal
  std::string text;
};

class TrainProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("NEARFIELD_TRAIN");
    ASSERT_NE(path, nullptr) << "NEARFIELD_TRAIN must name the program";
    program_ = path;
    denoise::write_png(directory_.file("one.png"), denoise::test::synthetic(40, 48, 3));
    denoise::write_png(directory_.file("two.png"), denoise::test::synthetic(50, 33, 3));
    denoise::write_png(directory_.file("grey.png"), denoise::test::synthetic(40, 48, 1));
  }
  std::string photographs() const { return directory_.file("one.png") + " " + directory_.file("two.png"); }
  std::string out() const { return " --out " + directory_.file("out"); }
  Outcome run(const std::string& arguments) const {
    const std::string log = directory_.file("log");
    const int raw = std::system(("'" + program_ + "' " + arguments + " > '" + log + "' 2>&1").c_str());
    const std::vector<uint8_t> bytes = denoise::test::read_bytes(log);
    return {WIFEXITED(raw) ? WEXITSTATUS(raw) : -1, {bytes.begin(), bytes.end()}};
  }
  void expect_refused(const std::string& arguments, const std::string& message) const {
    SCOPED_TRACE(arguments);
    const Outcome outcome = run(arguments);
    EXPECT_GT(outcome.status, 0);
    EXPECT_NE(outcome.text.find(message), std::string::npos) << outcome.text;
  }

  denoise::test::TemporaryDirectory directory_;
  std::string program_;
};

TEST_F(TrainProgram, LearnsAndWritesItsPictures) {
  const Outcome outcome = run(photographs() + out() + " --steps 12 --side 24 --threads 2");
  ASSERT_EQ(outcome.status, 0) << outcome.text;
  EXPECT_NE(outcome.text.find("12 of 12   loss "), std::string::npos) << outcome.text;
  EXPECT_NE(outcome.text.find("never seen in training"), std::string::npos) << outcome.text;
  for (const std::string name : {"one", "two"}) {
    SCOPED_TRACE(name);
    const Image original = denoise::read_png(directory_.file(name + ".png"));
    const auto quality = [&](const char* kind) {
      return denoise::psnr(denoise::read_png(directory_.file("out/" + name + "_" + kind + ".png")), original);
    };
    EXPECT_GT(quality("plain"), quality("noisy") + 3);
    EXPECT_GT(quality("learnt"), quality("plain") + 0.1);
    EXPECT_NO_THROW(denoise::read_png(directory_.file("out/" + name + "_comparison.png")));
  }
}

TEST_F(TrainProgram, RefusesBadFiles) {
  expect_refused(directory_.file("absent.png") + " " + photographs() + out(), "absent.png: cannot open: ");
  expect_refused(photographs() + " " + directory_.file("grey.png") + out(), "grey.png: must be a colour image");
  expect_refused(photographs() + " --out " + directory_.file("one.png/inside"),
                 "inside: cannot make this directory: Not a directory");
}

TEST_F(TrainProgram, RefusesBadArguments) {
  expect_refused("", "photograph is required");
  expect_refused(directory_.file("one.png") + out(), "others is required");
  expect_refused(photographs(), "--out is required");
  expect_refused(photographs() + out() + " --sigma 0", "--sigma");
  expect_refused(photographs() + out() + " --steps 0", "--steps");
  expect_refused(photographs() + out() + " --side 2", "--side");
  expect_refused(photographs() + out() + " --learning-rate fast", "--learning-rate");
  expect_refused(photographs() + out() + " --threads -2", "--threads");
  expect_refused(photographs() + out() + " --frobnicate", "--frobnicate");
}

}  // namespace
}  // namespace train
