// "did you mean ...?"
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nearfield::cli {

// Fewest insertions, deletions, replacements and swaps of neighbours that turn one text into the other.
size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `text`, or "" if none is near: more than a third of its letters differ.
std::string nearest(std::string_view text, const std::vector<std::string>& candidates);

// "... (did you mean lobatto?)"; the message itself where the suggestion is "".
std::string with_suggestion(const std::string& message, const std::string& suggestion);

}  // namespace nearfield::cli
