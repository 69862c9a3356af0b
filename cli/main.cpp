// The command line `nearfield`: registers the sub-commands and turns exceptions into exit statuses (see commands.h).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "commands.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {
namespace {

int report(const std::string& message, int status) {
  std::fprintf(stderr, "nearfield: %s\n", message.c_str());
  return status;
}

void register_commands(CLI::App& app) {
  add_info(app);
  add_run(app);
  add_explain(app);
  add_check(app);
  add_bench(app);
}

int run(int argc, char** argv) {
  CLI::App app("Local attention for every grid.", "nearfield");
  app.set_version_flag("--version", std::string("nearfield ") + nf_version());
  app.require_subcommand(1);
  register_commands(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
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
  return 0;
}

}  // namespace
}  // namespace nearfield::cli

int main(int argc, char** argv) { return nearfield::cli::run(argc, argv); }
