// The kernels on a real GPU against the float64 reference, on random problems: gpu_check [problems], which
// tools/gpu_check.sh runs. It ends with 0 if all agree.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "check/compare.h"
#include "check/random_problem.h"
#include "dispatch/dispatch_cuda.h"
#include "engine/cuda/device_plan.h"

namespace nearfield {
namespace {

using core::concat;

// Memory of device 0 that begins as a copy of the host's.
class DeviceBuffer {
 public:
  DeviceBuffer(const cuda::Table& table, const void* content, size_t size) : table_(table), size_(size) {
    core::check(table, table.upload(0, content, size, &memory_), "copying to the device");
  }
  ~DeviceBuffer() { table_.release(0, memory_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  std::byte* data() const { return static_cast<std::byte*>(memory_); }
  void copy_to(void* host) const {
    core::check(table_, table_.download(0, memory_, size_, host), "copying from the device");
  }

 private:
  const cuda::Table& table_;
  void* memory_ = nullptr;
  size_t size_;
};

// Tensors on the device, with the host's strides.
class Tensors {
 public:
  explicit Tensors(const cuda::Table& table) : table_(table) {}

  core::TensorView add(const core::TensorView& host, bool comes_back) {
    if (!host) return host;
    int64_t low = 0, high = 0;
    for (int d = 0; d < host.rank; ++d) {
      const int64_t reach = (host.sizes[d] - 1) * host.strides[d];
      (reach < 0 ? low : high) += reach;
    }
    const auto size = static_cast<size_t>((high - low + 1) * core::size_of(host.dtype));
    auto buffer = std::make_unique<DeviceBuffer>(table_, host.at(low), size);
    core::TensorView view = host;
    view.data = buffer->data() - low * core::size_of(host.dtype);
    copies_.push_back({host, low, size, comes_back, std::move(buffer)});
    return view;
  }

  // Elements, and not what lies between them.
  void copy_back() const {
    for (const Copy& copy : copies_) {
      if (!copy.comes_back) continue;
      std::vector<std::byte> bytes(copy.size);
      copy.buffer->copy_to(bytes.data());
      const int64_t size = core::size_of(copy.host.dtype);
      core::for_each_element(copy.host, [&](const auto&, int64_t element) {
        std::memcpy(copy.host.at(element), bytes.data() + (element - copy.low) * size, static_cast<size_t>(size));
      });
    }
  }

 private:
  struct Copy {
    core::TensorView host;
    int64_t low;
    size_t size;
    bool comes_back;
    std::unique_ptr<DeviceBuffer> buffer;
  };
  const cuda::Table& table_;
  std::vector<Copy> copies_;
};

core::Problem on_device(Tensors& tensors, const core::Problem& host) {
  core::Problem problem = host;
  core::Modifiers& m = problem.modifiers;
  for (core::TensorView* view : {&problem.query, &problem.key, &problem.value, &m.additional_keys, &m.additional_values,
                                 &m.key_mask, &m.key_weights, &m.bias})
    *view = tensors.add(*view, false);
  return problem;
}

std::string check_forward(const cuda::Table& table, core::RandomProblem& random) {
  random.poison();
  Tensors tensors(table);
  const core::Problem problem = on_device(tensors, random.problem());
  const core::ForwardOutputs& host = random.outputs();
  const core::ForwardOutputs outputs = {tensors.add(host.out, true), tensors.add(host.logsumexp, true)};
  const size_t bytes = core::dispatch_cuda_workspace(table, problem, {}, 0);
  const std::vector<std::byte> poison(bytes, std::byte{0xff});
  const DeviceBuffer workspace(table, poison.data(), bytes);
  core::dispatch_cuda_forward(table, problem, outputs, {0, nullptr, workspace.data(), bytes});
  tensors.copy_back();
  return core::ExpectedForward(random.problem()).compare(host).failure;
}

std::string check_backward(const cuda::Table& table, core::RandomProblem& random) {
  random.poison();
  Tensors tensors(table);
  const core::Problem problem = on_device(tensors, random.problem());
  const core::BackwardInputs& in = random.backward_inputs();
  const core::Gradients& host = random.gradients();
  const core::BackwardInputs inputs = {tensors.add(in.out, false), tensors.add(in.logsumexp, false),
                                       tensors.add(in.dout, false), tensors.add(in.dlogsumexp, false)};
  core::Gradients gradients = host;
  for (core::TensorView* view : {&gradients.query, &gradients.key, &gradients.value, &gradients.additional_keys,
                                 &gradients.additional_values, &gradients.key_weights, &gradients.bias})
    *view = tensors.add(*view, true);
  const size_t bytes = core::dispatch_cuda_workspace(table, problem, core::wanted_of(host), 0);
  const std::vector<std::byte> poison(bytes, std::byte{0xff});
  const DeviceBuffer workspace(table, poison.data(), bytes);
  core::dispatch_cuda_backward(table, problem, inputs, gradients, {0, nullptr, workspace.data(), bytes});
  tensors.copy_back();
  return core::ExpectedGradients(random.problem(), in, host).compare(host).failure;
}

// How many of the problems fail.
int check_all(int64_t count) {
  const cuda::Table& table = core::cuda_runtime();
  int failures = 0;
  for (int64_t i = 0; i < count; ++i) {
    core::RandomProblemOptions options;
    options.gradients = i % 2 == 1;
    options.max_pairs = 50000;
    options.threading.num_threads = core::default_num_threads();
    core::RandomProblem random(core::Random(static_cast<uint64_t>(i)).bits(), options);
    std::string failure;
    try {
      failure = options.gradients ? check_backward(table, random) : check_forward(table, random);
    } catch (const core::Error& error) {
      failure = error.what();
    }
    core::release_device_plans(table);
    if (failure.empty()) continue;
    ++failures;
    std::printf("problem %lld: %s\n  %s\n", static_cast<long long>(i), failure.c_str(), random.describe().c_str());
  }
  std::printf("%lld problems, %d failures\n", static_cast<long long>(count), failures);
  return failures;
}

}  // namespace
}  // namespace nearfield

int main(int argc, char** argv) {
  const std::string obstacle = nearfield::core::cuda_obstacle();
  if (!obstacle.empty()) {
    std::printf("no GPU: %s\n", obstacle.c_str());
    return 1;
  }
  return nearfield::check_all(argc > 1 ? std::atoll(argv[1]) : 200) == 0 ? 0 : 1;
}
