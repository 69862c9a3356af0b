// The sub-commands of `nearfield`. add_<name> registers one: its options, its help and the callback that runs it.
//
// How a callback ends is the exit status of the process: it returns: 0; it throws UsageError or a nearfield::Error of
// status NF_INVALID_ARGUMENT: the message on stderr and 2; it throws Failure, any other nearfield::Error or any other
// std::exception: the message and 1; it throws CLI::RuntimeError(status): that status and no message.
#pragma once

#include <stdexcept>
#include <string>

namespace CLI {
class App;
}

namespace nearfield::cli {

// A bad argument, in the house style: `kernel_size[1]=0: must be at least 1`.
class UsageError : public std::runtime_error {
 public:
  explicit UsageError(const std::string& message) : std::runtime_error(message) {}
};

// The arguments were fine but the work could not be done: a file that cannot be read, an engine that is absent.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& message) : std::runtime_error(message) {}
};

void add_info(CLI::App& app);
void add_run(CLI::App& app);
void add_explain(CLI::App& app);
void add_check(CLI::App& app);
void add_bench(CLI::App& app);
void add_simulate(CLI::App& app);
void add_plot(CLI::App& app);

}  // namespace nearfield::cli
