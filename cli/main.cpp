// The command line `nearfield`: registers the sub-commands and turns exceptions into exit statuses (see commands.h).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "commands.h"
#include "nearfield/nearfield.hpp"
#include "suggest.h"

namespace nearfield::cli {
namespace {

void register_commands(CLI::App& app) {
  add_info(app);
  add_run(app);
  add_explain(app);
  add_simulate(app);
  add_plot(app);
  add_check(app);
  add_bench(app);
}

int report(std::string message, int status) {
  // CLI11 ends some of its messages with a line break.
  while (message.ends_with('\n')) message.pop_back();
  fmt::print(stderr, "nearfield: {}\n", message);
  return status;
}

// CLI11 would only say that a sub-command is missing.
void check_command(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  const std::string known = fmt::format("must be one of {}", fmt::join(names, ", "));
  if (argc < 2) throw UsageError(fmt::format("command: is missing: {}; nearfield --help says more", known));
  const std::string given = argv[1];
  if (given.starts_with('-') || std::find(names.begin(), names.end(), given) != names.end()) return;
  throw UsageError(with_suggestion(fmt::format("command={}: {}", given, known), nearest(given, names)));
}

// The first argument that nothing takes, with the option it resembles.
std::string describe_extra(const CLI::App& app, const std::string& fallback) {
  for (const CLI::App* command : app.get_subcommands()) {
    const std::vector<std::string> extras = command->remaining();
    if (extras.empty()) continue;
    std::vector<std::string> options;
    for (const CLI::Option* option : command->get_options())
      for (const std::string& name : option->get_lnames()) options.push_back("--" + name);
    const std::string given = extras[0].substr(0, extras[0].find('='));
    return with_suggestion(fmt::format("{}: {} has no such argument", given, command->get_name()),
                           nearest(given, options));
  }
  return fallback;
}

int run(int argc, char** argv) {
  CLI::App app("nearfield: local attention for every grid.", "nearfield");
  app.set_version_flag("--version", std::string("nearfield ") + nf_version());
  app.require_subcommand(1);
  app.footer("nearfield COMMAND --help explains a command, with examples.");
  try {
    register_commands(app);
    check_command(app, argc, argv);
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ExtrasError& error) {
    return report(describe_extra(app, error.what()), 2);
  } catch (const CLI::RequiredError& error) {
    // A misspelt option is often the reason why one is missing.
    return report(describe_extra(app, error.what()), 2);
  } catch (const CLI::ParseError& error) {
    return report(error.what(), 2);
  } catch (const UsageError& error) {
    return report(error.what(), 2);
  } catch (const Error& error) {
    return report(error.what(), error.status() == NF_INVALID_ARGUMENT ? 2 : 1);
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
  // A full disk or a closed pipe shows only now.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return report("standard output: cannot be written", 1);
  return 0;
}

}  // namespace
}  // namespace nearfield::cli

int main(int argc, char** argv) { return nearfield::cli::run(argc, argv); }
