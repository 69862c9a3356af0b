#include "suggest.h"

#include <algorithm>

namespace nearfield::cli {

size_t edit_distance(std::string_view a, std::string_view b) {
  // rows[i % 3][j]: distance of the first i letters of a from the first j of b.
  std::vector<size_t> rows[3] = {std::vector<size_t>(b.size() + 1), std::vector<size_t>(b.size() + 1),
                                 std::vector<size_t>(b.size() + 1)};
  for (size_t i = 0; i <= a.size(); ++i) {
    std::vector<size_t>&row = rows[i % 3], &above = rows[(i + 2) % 3], &above_that = rows[(i + 1) % 3];
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        row[j] = i + j;
        continue;
      }
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], above_that[j - 2] + 1);
    }
  }
  return rows[a.size() % 3][b.size()];
}

std::string nearest(std::string_view text, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = 0;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(text, candidate);
    if (distance > std::max<size_t>(1, candidate.size() / 3)) continue;
    if (!best.empty() && distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

std::string with_suggestion(const std::string& message, const std::string& suggestion) {
  return suggestion.empty() ? message : message + " (did you mean " + suggestion + "?)";
}

}  // namespace nearfield::cli
