#include "fiber.h"

#include <ucontext.h>

#include <utility>
#include <vector>

namespace nearfield::emulator {

struct Fiber::State {
  static constexpr size_t kStack = size_t{128} << 10;
  std::unique_ptr<char[]> stack;
  ucontext_t own{}, resumer{};
  void (*body)(void*) = nullptr;
  void* argument = nullptr;

  static void enter(unsigned low, unsigned high) {
    auto* const self = reinterpret_cast<State*>(static_cast<uintptr_t>(low) | (static_cast<uintptr_t>(high) << 32));
    self->body(self->argument);
  }
};

Fiber::Fiber() : state_(std::make_unique<State>()) {}
Fiber::~Fiber() = default;
Fiber::Fiber(Fiber&&) noexcept = default;
Fiber& Fiber::operator=(Fiber&&) noexcept = default;

void Fiber::start(void (*body)(void*), void* argument) {
  State& s = *state_;
  s.body = body;
  s.argument = argument;
  if (!s.stack) s.stack = std::make_unique_for_overwrite<char[]>(State::kStack);
  getcontext(&s.own);
  s.own.uc_stack.ss_sp = s.stack.get();
  s.own.uc_stack.ss_size = State::kStack;
  s.own.uc_link = &s.resumer;
  const auto address = reinterpret_cast<uintptr_t>(&s);
  makecontext(&s.own, reinterpret_cast<void (*)()>(State::enter), 2, static_cast<unsigned>(address),
              static_cast<unsigned>(address >> 32));
}

void Fiber::resume() { swapcontext(&state_->resumer, &state_->own); }
void Fiber::suspend() { swapcontext(&state_->own, &state_->resumer); }

}  // namespace nearfield::emulator
