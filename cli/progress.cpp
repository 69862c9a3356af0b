#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

namespace nearfield::cli {
namespace {

constexpr int64_t kWidth = 30;
constexpr double kInterval = 0.1;  // seconds

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Progress::Progress(int64_t total) : total_(std::max<int64_t>(total, 1)), terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::show(int64_t done, std::string_view label) {
  if (!terminal_) return;
  const double time = now();
  if (visible_ && time - last_drawn_ < kInterval) return;
  last_drawn_ = time;
  visible_ = true;
  const size_t filled = static_cast<size_t>(kWidth * std::clamp<int64_t>(done, 0, total_) / total_);
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
  fmt::print(stderr, "\r\033[K[{}] {}/{} {}", bar, done, total_, label);
  std::fflush(stderr);
}

void Progress::clear() {
  if (!visible_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  visible_ = false;
}

}  // namespace nearfield::cli
