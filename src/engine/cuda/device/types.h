// Types that kernels share with both of their layers.
#pragma once

namespace nearfield::device {

// 16 adjacent bytes: what one access to shared memory moves at most.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  T values[kSize];
};

}  // namespace nearfield::device
