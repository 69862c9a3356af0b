// Stacks that take turns on one thread. Nothing may be thrown out of one.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace nearfield::emulator {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(Fiber&&) noexcept;
  Fiber& operator=(Fiber&&) noexcept;

  // The next resume() calls body(argument) on a fresh stack. What was running on this fiber is forgotten: nothing that
  // needs a destructor may be left on it.
  void start(void (*body)(void*), void* argument);
  // Runs it until it suspends or its body returns.
  void resume();
  // Called on the fiber: goes back to who resumed it.
  void suspend();

 private:
  struct State;
  static void enter();  // of fiber_x86_64.cpp
  std::unique_ptr<State> state_;
};

}  // namespace nearfield::emulator
