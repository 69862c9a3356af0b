// In the page's module: nothing is kept, and there are no threads.
#pragma once

#include <cstddef>
#include <memory>

namespace nearfield::core {

template <class Key, class Value>
class LruCache {
 public:
  LruCache(size_t, size_t) {}
  template <class Make>
  std::shared_ptr<const Value> get(const Key&, Make make) {
    return make();
  }
};

}  // namespace nearfield::core
