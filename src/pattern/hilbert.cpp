#include "pattern/hilbert.h"

#include <algorithm>
#include <cstddef>

#include "pattern/interval.h"

namespace nearfield::core {
namespace {

// One side of a box: which axis it lies on, and how far it reaches from the corner, the corner's cell included. A
// negative one reaches towards lower coordinates.
struct Side {
  int axis = 0;
  int64_t span = 1;
  int64_t length() const { return span < 0 ? -span : span; }
  int64_t direction() const { return span < 0 ? -1 : 1; }
  Side reversed() const { return {axis, -span}; }
};

struct Halves {
  Side first, second;
};

// Rounded down, also where the span is negative. Then an odd half becomes even, if the side is longer than 2.
Halves halve(const Side& side, bool evenly) {
  int64_t half = floor_div(side.span, 2);
  if (evenly && half % 2 != 0 && side.length() > 2) half += side.direction();
  return {{side.axis, half}, {side.axis, side.span - half}};
}

class Walk {
 public:
  Walk(int rank, const int64_t* grid) {
    int64_t stride = 1;
    for (int a = rank - 1; a >= 0; --a) {
      strides_[a] = stride;
      stride *= grid[a];
    }
    tokens_.reserve(static_cast<size_t>(stride));
  }
  std::vector<int32_t> take() { return std::move(tokens_); }

  // Along `side`, from `corner` on.
  void line(int64_t corner, const Side& side) {
    const int64_t step = side.direction() * strides_[side.axis];
    for (int64_t i = 0; i < side.length(); ++i) tokens_.push_back(static_cast<int32_t>(corner + i * step));
  }

  // From the corner's cell to the one at the other end of `along`, through a rectangle.
  void rectangle(int64_t corner, const Side& along, const Side& across) {
    if (across.length() == 1) return line(corner, along);
    if (along.length() == 1) return line(corner, across);
    if (2 * along.length() > 3 * across.length()) {  // too long: one half after the other
      const auto [near, far] = halve(along, true);
      rectangle(corner, near, across);
      rectangle(corner + reach(near), far, across);
      return;
    }
    // There, along, and back.
    const auto [near, far] = halve(along, false);
    const auto [low, high] = halve(across, true);
    rectangle(corner, low, near);
    rectangle(corner + reach(low), along, high);
    rectangle(corner + last(along) + last(low), low.reversed(), far.reversed());
  }

  // The same through a box.
  void box(int64_t corner, const Side& along, const Side& across, const Side& deep) {
    const int64_t a = along.length(), b = across.length(), c = deep.length();
    if (b == 1 && c == 1) return line(corner, along);
    if (a == 1 && c == 1) return line(corner, across);
    if (a == 1 && b == 1) return line(corner, deep);
    const Halves as = halve(along, true), bs = halve(across, true), cs = halve(deep, true);
    if (2 * a > 3 * b && 2 * a > 3 * c) {  // much longer than wide and deep
      box(corner, as.first, across, deep);
      box(corner + reach(as.first), as.second, across, deep);
    } else if (3 * b > 4 * c) {  // flat: as a rectangle
      box(corner, bs.first, deep, as.first);
      box(corner + reach(bs.first), along, bs.second, deep);
      box(corner + last(along) + last(bs.first), bs.first.reversed(), deep, as.second.reversed());
    } else if (3 * c > 4 * b) {  // flat the other way
      box(corner, cs.first, as.first, across);
      box(corner + reach(cs.first), along, across, cs.second);
      box(corner + last(along) + last(cs.first), cs.first.reversed(), as.second.reversed(), across);
    } else {  // all sides in two: five boxes, of which the third takes two of the eight parts twice over
      box(corner, bs.first, cs.first, as.first);
      box(corner + reach(bs.first), deep, as.first, bs.second);
      box(corner + last(bs.first) + last(deep), along, bs.first.reversed(), cs.second.reversed());
      box(corner + last(along) + reach(bs.first) + last(deep), deep.reversed(), as.second.reversed(), bs.second);
      box(corner + last(along) + last(bs.first), bs.first.reversed(), cs.first, as.second.reversed());
    }
  }

 private:
  // Tokens from the corner to what lies beyond a side, and to its last cell.
  int64_t reach(const Side& side) const { return side.span * strides_[side.axis]; }
  int64_t last(const Side& side) const { return (side.span - side.direction()) * strides_[side.axis]; }

  int64_t strides_[3] = {};
  std::vector<int32_t> tokens_;
};

}  // namespace

std::vector<int32_t> hilbert_tokens(int rank, const int64_t* grid) {
  Walk walk(rank, grid);
  std::vector<Side> sides;  // an axis of one token takes no part
  for (int a = rank - 1; a >= 0; --a) {
    if (grid[a] == 0) return {};
    if (grid[a] > 1) sides.push_back({a, grid[a]});
  }
  // The longest leads; the others stay in their order.
  if (!sides.empty()) {
    const auto longest =
        std::max_element(sides.begin(), sides.end(), [](const Side& s, const Side& t) { return s.span < t.span; });
    std::rotate(sides.begin(), longest, longest + 1);
  }
  switch (sides.size()) {
    case 0: walk.line(0, {}); break;
    case 1: walk.line(0, sides[0]); break;
    case 2: walk.rectangle(0, sides[0], sides[1]); break;
    default: walk.box(0, sides[0], sides[1], sides[2]);
  }
  return walk.take();
}

}  // namespace nearfield::core
