#include "simulate_page.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "arguments.h"
#include "page_files.h"

namespace nearfield::cli {
namespace {

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63];
  }
  return text;
}

void replace(std::string& text, std::string_view place, std::string_view with) {
  text.replace(text.find(place), place.size(), with);
}

}  // namespace

std::string simulation_page(const AnyPattern& pattern, const Axes& grid, const TileSizes& tiles) {
  const auto* neighborhood = std::get_if<nf_neighborhood>(&pattern);
  if (neighborhood == nullptr)
    throw UsageError(
        fmt::format("html: must not come with --pattern {}: the page is of neighborhoods", pattern_name(pattern)));
  nlohmann::ordered_json axes = nlohmann::ordered_json::array();
  for (size_t a = 0; a < grid.size(); ++a)
    axes.push_back({{"length", grid[a]},
                    {"kernel", neighborhood->kernel_size[a]},
                    {"stride", neighborhood->stride[a]},
                    {"dilation", neighborhood->dilation[a]},
                    {"boundary", name_of(static_cast<nf_boundary>(neighborhood->boundary[a]))},
                    {"causal", neighborhood->is_causal[a] != 0},
                    {"tile", tiles.tile[a]},
                    {"keyTile", tiles.key_tile[a]},
                    {"query", grid[a] / 2}});
  std::string page(page_html);
  replace(page, "@SCRIPT@", page_script);
  replace(page, "@INITIAL@", axes.dump());
  replace(page, "@MODULE@", base64(page_module));
  return page;
}

}  // namespace nearfield::cli
