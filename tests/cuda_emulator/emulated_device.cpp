#include "emulated_device.h"

#include <algorithm>
#include <cstring>

#include "check/guarded_buffer.h"
#include "engine/cuda/device_plan.h"
#include "engine/cuda/simt.h"
#include "kernels.h"

namespace nearfield::emulator {
namespace {

constexpr int kNoMemory = 2, kNoDevice = 101;
thread_local EmulatedDevice* device_of_thread = nullptr;

int device_count(int* count) {
  *count = 1;
  return 0;
}

int device_facts(int device, cuda::DeviceFacts* facts) {
  if (device != 0) return kNoDevice;
  std::strcpy(facts->name, "emulator");
  facts->major = 7;
  facts->minor = 5;
  return 0;
}

int memory_of(const void* pointer, cuda::MemoryKind* kind, int* device) {
  *kind = device_of_thread->emulator.memory.holds(pointer) ? cuda::MemoryKind::device : cuda::MemoryKind::host;
  *device = 0;
  return 0;
}

int upload(int, const void* content, size_t size, void** memory) {
  if (device_of_thread->memory_left-- <= 0) return kNoMemory;
  *memory = ::operator new (size + 1, std::align_val_t{256});
  std::memcpy(*memory, content, size);
  device_of_thread->emulator.memory.add(*memory, size, false);
  return 0;
}

int release(int, void* memory) {
  device_of_thread->emulator.memory.remove(memory);
  ::operator delete (memory, std::align_val_t{256});
  return 0;
}

int download(int, const void* memory, size_t size, void* content) {
  std::memcpy(content, memory, size);
  return 0;
}

int earlier_error(int) { return device_of_thread->pending_error; }

int launch(int, void*, const cuda::Launch* launch, const void* arguments) {
  ++device_of_thread->launches;
  run_kernel(device_of_thread->emulator, *launch, arguments, device_of_thread->most_blocks);
  return 0;
}

cuda::Trouble describe(int code, const char** message) {
  *message = code == kNoMemory ? "out of memory" : code == kNoDevice ? "no such device" : "an emulated error";
  return code == kNoMemory   ? cuda::Trouble::no_memory
         : code == kNoDevice ? cuda::Trouble::no_device
                             : cuda::Trouble::other;
}

}  // namespace

EmulatedDevice::EmulatedDevice(uint64_t seed) : emulator(seed) { device_of_thread = this; }
EmulatedDevice::~EmulatedDevice() {
  core::release_device_plans(table());
  device_of_thread = nullptr;
}

const cuda::Table& EmulatedDevice::table() {
  static const cuda::Table table = {cuda::kTableVersion, 0,      device_count, device_facts,
                                    memory_of,           upload, release,      download,
                                    earlier_error,       launch, describe};
  return table;
}

// ---- tensors
// ---------------------------------------------------------------------------------------------------------

DeviceCopy::DeviceCopy(Emulator& emulator, const core::TensorView& host, bool writable)
    : emulator_(&emulator), host_(host), view_(host) {
  if (!host) return;
  int64_t low = 0, high = 0;
  for (int d = 0; d < host.rank; ++d) {
    const int64_t reach = (host.sizes[d] - 1) * host.strides[d];
    low += std::min<int64_t>(reach, 0);
    high += std::max<int64_t>(reach, 0);
  }
  const auto size = static_cast<size_t>((high - low + 1) * core::size_of(host.dtype));
  memory_.resize((size + 7) / 8);
  std::memcpy(memory_.data(), host.at(low), size);
  view_.data = reinterpret_cast<std::byte*>(memory_.data()) - low * core::size_of(host.dtype);
  emulator.memory.add(memory_.data(), size, writable);
}

DeviceCopy::~DeviceCopy() {
  if (!memory_.empty()) emulator_->memory.remove(memory_.data());
}

void DeviceCopy::copy_back() const {
  if (!host_) return;
  const auto size = static_cast<size_t>(core::size_of(host_.dtype));
  core::for_each_element(
      host_, [&](const auto&, int64_t element) { std::memcpy(host_.at(element), view_.at(element), size); });
}

DeviceProblem::DeviceProblem(EmulatedDevice& device, const core::Problem& host) : device_(device), problem_(host) {
  core::Modifiers& m = problem_.modifiers;
  for (core::TensorView* view : {&problem_.query, &problem_.key, &problem_.value, &m.additional_keys,
                                 &m.additional_values, &m.key_mask, &m.key_weights, &m.bias})
    *view = add(*view, false);
}

core::TensorView DeviceProblem::add(const core::TensorView& host, bool writable) {
  copies_.push_back(std::make_unique<DeviceCopy>(device_.emulator, host, writable));
  return copies_.back()->view();
}

core::ForwardOutputs DeviceProblem::add(const core::ForwardOutputs& host) {
  return {add(host.out, true), add(host.logsumexp, true)};
}

core::BackwardInputs DeviceProblem::add(const core::BackwardInputs& host) {
  return {add(host.out, false), add(host.logsumexp, false), add(host.dout, false), add(host.dlogsumexp, false)};
}

core::Gradients DeviceProblem::add(const core::Gradients& host) {
  return {add(host.query, true),
          add(host.key, true),
          add(host.value, true),
          add(host.additional_keys, true),
          add(host.additional_values, true),
          add(host.key_weights, true),
          add(host.bias, true)};
}

std::byte* DeviceProblem::workspace(size_t bytes) {
  workspace_.assign(bytes + core::kCudaAlignment, std::byte{0xff});
  const auto at = reinterpret_cast<uintptr_t>(workspace_.data());
  std::byte* const aligned = workspace_.data() + (core::kCudaAlignment - at % core::kCudaAlignment);
  device_.emulator.memory.add(aligned, bytes, true);
  return aligned;
}

void DeviceProblem::copy_back() const {
  for (const auto& copy : copies_) copy->copy_back();
}

void run_forward(EmulatedDevice& device, const core::Problem& problem, const core::ForwardOutputs& outputs) {
  DeviceProblem on_device(device, problem);
  const core::ForwardOutputs device_outputs = on_device.add(outputs);
  std::byte* const workspace = on_device.workspace(core::simt_workspace(on_device.problem(), {}));
  core::simt_forward(on_device.problem(), device_outputs, {&EmulatedDevice::table(), 0, nullptr, workspace});
  device.emulator.memory.remove(workspace);
  on_device.copy_back();
}

void run_backward(EmulatedDevice& device, const core::Problem& problem, const core::BackwardInputs& inputs,
                  const core::Gradients& gradients) {
  DeviceProblem on_device(device, problem);
  const core::BackwardInputs device_inputs = on_device.add(inputs);
  const core::Gradients device_gradients = on_device.add(gradients);
  const core::GradientsWanted wanted = core::wanted_of(gradients);
  std::byte* const workspace = on_device.workspace(core::simt_workspace(on_device.problem(), wanted));
  core::simt_backward(on_device.problem(), device_inputs, device_gradients,
                      {&EmulatedDevice::table(), 0, nullptr, workspace});
  device.emulator.memory.remove(workspace);
  on_device.copy_back();
}

}  // namespace nearfield::emulator
