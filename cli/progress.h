// A progress bar on stderr, shown only where stderr is a terminal.
#pragma once

#include <cstdint>
#include <string_view>

namespace nearfield::cli {

class Progress {
 public:
  explicit Progress(int64_t total);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of the total are finished, `label` is under way. Redraws at most ten times a second.
  void show(int64_t done, std::string_view label);
  // Takes the bar off the screen, so that other output can be written; the next show() brings it back.
  void clear();

 private:
  int64_t total_ = 0;
  bool terminal_ = false;
  bool visible_ = false;
  double last_drawn_ = -1;
};

}  // namespace nearfield::cli
