// Without system calls, unlike fiber.cpp: the registers that a call must keep, and the stack.
#include <cstdint>
#include <vector>

#include "fiber.h"

asm(R"(
.text
.globl nearfield_switch_stacks
nearfield_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

// Goes on at the stack `to`; where it was is left in *from.
extern "C" void nearfield_switch_stacks(void** from, void* to);

namespace nearfield::emulator {

struct Fiber::State {
  static constexpr size_t kStack = size_t{128} << 10;
  std::unique_ptr<char[]> stack;
  void *own = nullptr, *resumer = nullptr;
  void (*body)(void*) = nullptr;
  void* argument = nullptr;
};

namespace {
thread_local Fiber* entering = nullptr;
}

void Fiber::enter() {
  State& s = *entering->state_;
  s.body(s.argument);
  while (true) nearfield_switch_stacks(&s.own, s.resumer);
}

Fiber::Fiber() : state_(std::make_unique<State>()) {}
Fiber::~Fiber() = default;
Fiber::Fiber(Fiber&&) noexcept = default;
Fiber& Fiber::operator=(Fiber&&) noexcept = default;

void Fiber::start(void (*body)(void*), void* argument) {
  State& s = *state_;
  s.body = body;
  s.argument = argument;
  if (!s.stack) s.stack = std::make_unique_for_overwrite<char[]>(State::kStack);
  // As a call would leave it: aligned to 16 bytes before a return address, which nobody uses.
  const auto top = (reinterpret_cast<uintptr_t>(s.stack.get()) + State::kStack) / 16 * 16;
  auto* at = reinterpret_cast<void**>(top);
  *--at = nullptr;
  *--at = reinterpret_cast<void*>(&Fiber::enter);
  for (int saved = 0; saved < 6; ++saved) *--at = nullptr;
  s.own = at;
}

void Fiber::resume() {
  entering = this;
  nearfield_switch_stacks(&state_->resumer, state_->own);
}
void Fiber::suspend() { nearfield_switch_stacks(&state_->own, state_->resumer); }

}  // namespace nearfield::emulator
