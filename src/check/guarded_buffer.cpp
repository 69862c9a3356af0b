#include "check/guarded_buffer.h"

#include <algorithm>
#include <cstdint>

#include "base/error.h"

namespace nearfield::core {
namespace {

constexpr int64_t kGuard = 64;  // bytes before and after everything: the widest vector store
constexpr std::byte kNanByte{0xff};

// Dimensions from the outermost to the innermost.
std::vector<int> random_order(Random& random, int rank, bool keep_last) {
  std::vector<int> order;
  for (int a = 0; a < rank; ++a) order.push_back(a);
  const int movable = keep_last ? rank - 1 : rank;
  const int64_t kind = random.below(4);
  if (kind < 2 || movable < 2) return order;
  if (kind == 2) {
    // heads-first: (batch, *grid, heads, channels) stored as (batch, heads, *grid, channels)
    std::rotate(order.begin() + 1, order.begin() + movable - 1, order.begin() + movable);
    return order;
  }
  for (int a = movable - 1; a > 0; --a) std::swap(order[static_cast<size_t>(a)], order[random.below(a + 1)]);
  return order;
}

}  // namespace

Layout random_layout(Random& random, DType dtype, const std::vector<int64_t>& sizes, const LayoutFreedom& freedom) {
  Layout layout;
  layout.dtype = dtype;
  layout.rank = static_cast<int>(sizes.size());
  std::copy(sizes.begin(), sizes.end(), layout.sizes);

  const bool shared = freedom.broadcast && sizes[0] > 0 && random.chance(0.08);
  const bool padded = random.chance(0.3);
  const std::vector<int> order = random_order(random, layout.rank, freedom.keep_last);
  int64_t extent = 1, first = 0;
  for (int position = layout.rank - 1; position >= 0; --position) {
    const int a = order[static_cast<size_t>(position)];
    if (a == 0 && shared) continue;
    const bool innermost = position == layout.rank - 1;
    layout.strides[a] = extent;
    extent *= std::max<int64_t>(sizes[static_cast<size_t>(a)], 1);
    if (padded) extent += random.below(4);
    if (!(innermost && freedom.keep_last) && random.chance(0.08)) {
      first += (std::max<int64_t>(sizes[static_cast<size_t>(a)], 1) - 1) * layout.strides[a];
      layout.strides[a] = -layout.strides[a];
    }
  }
  const int64_t misalignment = random.chance(0.3) ? random.below(64) : 0;
  layout.offset = kGuard + misalignment + first * size_of(dtype);
  layout.bytes = kGuard + misalignment + extent * size_of(dtype) + kGuard;
  return layout;
}

std::string describe_layout(const TensorView& view) {
  if (!view) return "none";
  std::string text = concat(name_of(view.dtype), " strides ");
  for (int a = 0; a < view.rank; ++a) text += concat(a == 0 ? "" : ",", view.strides[a]);
  const auto address = reinterpret_cast<uintptr_t>(view.data);
  const uintptr_t misalignment = address % static_cast<uintptr_t>(size_of(view.dtype));
  if (misalignment != 0) text += concat(" misaligned by ", misalignment);
  return text;
}

GuardedBuffer::GuardedBuffer(int64_t bytes)
    : bytes_(static_cast<size_t>(std::max(bytes, 2 * kGuard)), kNanByte), claimed_(bytes_.size(), false) {
  remember();
}

TensorView GuardedBuffer::view(const Layout& layout) {
  TensorView view;
  view.data = data() + layout.offset;
  view.dtype = layout.dtype;
  view.rank = layout.rank;
  std::copy(layout.sizes, layout.sizes + kMaxDims, view.sizes);
  std::copy(layout.strides, layout.strides + kMaxDims, view.strides);
  return view;
}

void GuardedBuffer::claim(const TensorView& view) {
  for_each_element(view, [&](const ElementIndex&, int64_t element) {
    const int64_t first = view.at(element) - data();
    for (int64_t byte = first; byte < first + size_of(view.dtype); ++byte) {
      if (claimed_.at(static_cast<size_t>(byte))) {
        throw Error(Status::internal_error, concat("byte ", byte, " of a test buffer belongs to two elements"));
      }
      claimed_[static_cast<size_t>(byte)] = true;
    }
  });
}

void GuardedBuffer::poison() {
  for (size_t i = 0; i < bytes_.size(); ++i) {
    bytes_[i] = claimed_[i] ? kNanByte : static_cast<std::byte>(i * 37 + 11);
  }
  remember();
}

void GuardedBuffer::remember() { expected_ = bytes_; }

std::string GuardedBuffer::damage() const {
  for (size_t i = 0; i < bytes_.size(); ++i) {
    if (!claimed_[i] && bytes_[i] != expected_[i]) {
      return concat("byte ", i, " of ", bytes_.size(), " was overwritten: ", static_cast<int>(expected_[i]), " became ",
                    static_cast<int>(bytes_[i]));
    }
  }
  return "";
}

}  // namespace nearfield::core
