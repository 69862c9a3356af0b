// The values used last, immutable and shared between threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <list>
#include <memory>
#include <mutex>

namespace nearfield::core {

// Keeps at most `max_entries` values and `max_bytes` of what Value::bytes() says, dropping those not used for longest;
// a value in use outlives its dropping. Few enough entries to search one by one.
template <class Key, class Value>
class LruCache {
 public:
  LruCache(size_t max_entries, size_t max_bytes) : max_entries_(max_entries), max_bytes_(max_bytes) {}

  // The value kept for `key`, or make(), a std::shared_ptr<const Value>. Makes outside of its lock, so two threads may
  // make the same value at once; the one kept first is then returned to both. If make() throws nothing is kept. A value
  // larger than the cache is returned but not kept.
  template <class Make>
  std::shared_ptr<const Value> get(const Key& key, Make make) {
    {
      const std::lock_guard lock(mutex_);
      if (auto known = find_locked(key)) return known;
    }
    std::shared_ptr<const Value> value = make();
    if (max_entries_ == 0 || value->bytes() > max_bytes_) return value;

    std::list<Entry> dropped;  // outlives the lock: freeing may take long
    std::list<Entry> added{{key, value}};
    const std::lock_guard lock(mutex_);
    if (auto known = find_locked(key)) return known;  // another thread was faster
    entries_.splice(entries_.begin(), added);
    bytes_ += value->bytes();
    while (entries_.size() > max_entries_ || bytes_ > max_bytes_) {
      bytes_ -= entries_.back().value->bytes();
      dropped.splice(dropped.begin(), entries_, std::prev(entries_.end()));
    }
    return value;
  }

  size_t entries() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
  }
  size_t bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const Value> value;
  };

  // And makes it the one used last.
  std::shared_ptr<const Value> find_locked(const Key& key) {
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
    if (found == entries_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found);
    return found->value;
  }

  const size_t max_entries_, max_bytes_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // the one used last first
  size_t bytes_ = 0;
};

}  // namespace nearfield::core
