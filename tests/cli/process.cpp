#include "process.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "io_samples.h"

namespace nearfield::cli::testing {
namespace {

std::string text_in(const std::filesystem::path& path) { return text_of(read_bytes(path)); }

int status_of(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw std::runtime_error("waitpid failed");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// In the child: never returns.
[[noreturn]] void execute(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                          int out, int err) {
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  for (const std::string& entry : environment) putenv(const_cast<char*>(entry.c_str()));
  std::vector<char*> argv = {const_cast<char*>(NEARFIELD_PROGRAM)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

int create(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) throw std::runtime_error("cannot create " + path.string());
  return file;
}

}  // namespace

Outcome nearfield(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
  const TemporaryDirectory directory;
  const int out = create(directory / "out"), err = create(directory / "err");
  const pid_t child = fork();
  if (child == 0) execute(arguments, environment, out, err);
  close(out);
  close(err);
  const int status = status_of(child);
  return {status, text_in(directory / "out"), text_in(directory / "err")};
}

Outcome nearfield_on_terminal(const std::vector<std::string>& arguments) {
  const TemporaryDirectory directory;
  const int out = create(directory / "out");
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) throw std::runtime_error("no pseudo-terminal");
  const int err = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (err < 0) throw std::runtime_error("cannot open the pseudo-terminal");
  const pid_t child = fork();
  if (child == 0) execute(arguments, {}, out, err);
  close(out);
  close(err);
  // Reading fails once the child, the last to hold the other side, has ended.
  std::string shown;
  char buffer[4096];
  for (ssize_t count; (count = read(terminal, buffer, sizeof buffer)) > 0;)
    shown.append(buffer, static_cast<size_t>(count));
  close(terminal);
  const int status = status_of(child);
  return {status, text_in(directory / "out"), shown};
}

}  // namespace nearfield::cli::testing
