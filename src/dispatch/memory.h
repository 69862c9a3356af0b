// What validation may do with the memory behind tensors.
#pragma once

namespace nearfield::core {

enum class Memory {
  read,        // data must not be null if there are elements
  unreadable,  // the same, but the host can't read it: values are not checked
  ignored      // a null data becomes a made-up address
};

}  // namespace nearfield::core
