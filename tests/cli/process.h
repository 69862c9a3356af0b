// Runs the built program as a user does, and keeps what it says.
#pragma once

#include <string>
#include <vector>

namespace nearfield::cli::testing {

struct Outcome {
  int status = -1;  // exit status; 128 + signal if a signal ended it
  std::string out, err;
};

// `environment` entries ("NEARFIELD_ISA=portable") come on top of the test's own.
Outcome nearfield(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {});

// The same with stderr on a terminal of its own; `err` is what it shows.
Outcome nearfield_on_terminal(const std::vector<std::string>& arguments);

}  // namespace nearfield::cli::testing
