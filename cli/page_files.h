// The parts of the page of `nearfield simulate --html`, from cli/page/. Written into the program by cmake/embed.cmake.
#pragma once

#include <string_view>

namespace nearfield::cli {

extern const std::string_view page_html;    // with @MODULE@, @INITIAL@ and @SCRIPT@ in place of what follows
extern const std::string_view page_script;  // JavaScript
extern const std::string_view page_module;  // WebAssembly: the library's geometry

}  // namespace nearfield::cli
