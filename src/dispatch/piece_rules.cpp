#include "dispatch/piece_rules.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "dispatch/pattern_rules.h"
#include "dispatch/validate.h"

namespace nearfield::core {
namespace {

void check_offsets(const nf_ragged& given, int64_t tokens) {
  // Without pieces there may be no list, and nothing but no tokens.
  const int64_t* const offsets = given.token_offsets;
  if (offsets == nullptr && given.count > 0) invalid_argument("token_offsets: must not be NULL");
  if (offsets != nullptr && offsets[0] != 0) invalid_argument("token_offsets[0]=", offsets[0], ": must be 0");
  for (int64_t i = 0; i < given.count; ++i)
    if (offsets[i + 1] < offsets[i])
      invalid_argument("token_offsets[", i + 1, "]=", offsets[i + 1], ": must be at least token_offsets[", i,
                       "]=", offsets[i]);
  const int64_t last = given.count > 0 ? offsets[given.count] : 0;
  if (last != tokens)
    invalid_argument("token_offsets[", given.count, "]=", last, ": must be ", tokens, ", the tokens of query");
}

std::string text_of(const int64_t* grid, int rank) {
  std::string text;
  for (int a = 0; a < rank; ++a) text += concat(a == 0 ? "" : "x", grid[a]);
  return text;
}

void check_axes(const nf_ragged& given, int rank) {
  if (given.grids == nullptr && given.count > 0) invalid_argument("grids: must not be NULL");
  for (int64_t i = 0; i < given.count * rank; ++i) {
    const auto fail = [&](auto... rule) {
      invalid_argument("grids[", i / rank, "][", i % rank, "]=", given.grids[i], ": must be ", rule...);
    };
    if (given.grids[i] < 0) fail("at least 0");
    if (given.grids[i] > kMaxAxis) fail("at most ", kMaxAxis);
  }
}

void check_tokens(const nf_ragged& given, int64_t piece, int rank) {
  const int64_t* const grid = given.grids + piece * rank;
  __int128 product = 1;  // of at most three axes of 31 bits
  for (int a = 0; a < rank; ++a) product *= grid[a];
  const int64_t tokens = given.token_offsets[piece + 1] - given.token_offsets[piece];
  if (product != tokens)
    invalid_argument("grids[", piece, "]=", text_of(grid, rank), ": must have ", tokens, " tokens, token_offsets[",
                     piece + 1, "] - token_offsets[", piece, "]");
}

// "" or why the pattern does not allow this grid.
std::string obstacle(const nf_pattern& pattern, const Shape& shape) {
  try {
    validate_pattern(pattern, shape);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

void check_pattern(const nf_pattern& pattern, int64_t piece, Shape shape, const int64_t* grid) {
  std::copy_n(grid, shape.rank, shape.grid);
  const std::string together = obstacle(pattern, shape);
  if (together.empty()) return;
  // One axis may be the reason; empty ones break no rule.
  for (int a = 0; a < shape.rank; ++a) {
    std::fill_n(shape.grid, shape.rank, 0);
    shape.grid[a] = grid[a];
    if (const std::string alone = obstacle(pattern, shape); !alone.empty())
      invalid_argument("grids[", piece, "][", a, "]=", grid[a], ": ", alone);
  }
  invalid_argument("grids[", piece, "]=", text_of(grid, shape.rank), ": ", together);
}

}  // namespace

void take_pieces(Ragged& ragged, const nf_ragged& given, int64_t tokens) {
  const Shape& shape = ragged.packed.shape;
  if (given.count < 0) invalid_argument("count=", given.count, ": must be at least 0");
  if (given.count > kMaxAxis) invalid_argument("count=", given.count, ": must be at most ", kMaxAxis);
  check_axes(given, shape.rank);
  check_offsets(given, tokens);
  for (int64_t i = 0; i < given.count; ++i) {
    check_tokens(given, i, shape.rank);
    check_pattern(*ragged.pattern, i, shape, given.grids + i * shape.rank);
  }
  ragged.count = given.count;
  ragged.token_offsets = given.token_offsets;
  ragged.grids = given.grids;
}

}  // namespace nearfield::core
