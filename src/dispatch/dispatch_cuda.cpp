#include "dispatch/dispatch_cuda.h"

#include <vector>

#include "base/error.h"
#include "dispatch/tensor_rules.h"
#include "engine/cuda/device_plan.h"
#include "engine/cuda/loader.h"
#include "engine/cuda/simt.h"

namespace nearfield::core {
namespace {

constexpr int kOldestMajor = 7, kOldestMinor = 5;

void check_device(const cuda::Table& table, int device) {
  int count = 0;
  check(table, table.device_count(&count), "looking for devices");
  if (device < 0 || device >= count)
    invalid_argument("launch.device=", device, ": must be at least 0 and below the ", count, " devices that there are");
  cuda::DeviceFacts facts;
  check(table, table.device_facts(device, &facts), "asking for a device");
  if (facts.major < kOldestMajor || (facts.major == kOldestMajor && facts.minor < kOldestMinor))
    unsupported("launch.device=", device, ": ", facts.name, " has compute capability ", facts.major, ".", facts.minor,
                ": must be at least 7.5");
}

void check_pointer(const cuda::Table& table, const char* name, const void* pointer, int device) {
  cuda::MemoryKind kind = cuda::MemoryKind::host;
  int owner = 0;
  check(table, table.memory_of(pointer, &kind, &owner), "asking for a pointer's memory");
  if (kind == cuda::MemoryKind::host)
    invalid_argument(name, "=", pointer, ": is memory of the host: must be of device ", device);
  if (kind == cuda::MemoryKind::device && owner != device)
    invalid_argument(name, "=", pointer, ": is memory of device ", owner, ": must be of device ", device);
}

void check_views(const cuda::Table& table, const std::vector<NamedView>& views, int device) {
  for (const auto& [name, view] : views) {
    if (!view) continue;
    const int64_t size = size_of(view.dtype);
    const std::string label = concat(name, ".data");
    if (reinterpret_cast<uintptr_t>(view.data) % static_cast<uintptr_t>(size) != 0)
      invalid_argument(label, "=", static_cast<const void*>(view.data), ": must be a multiple of ", size,
                       " bytes on a GPU");
    check_pointer(table, label.c_str(), view.data, device);
  }
}

std::vector<NamedView> inputs_of(const Problem& problem) {
  const Modifiers& m = problem.modifiers;
  return {{"query", problem.query},
          {"key", problem.key},
          {"value", problem.value},
          {"additional_keys", m.additional_keys},
          {"additional_values", m.additional_values},
          {"key_mask", m.key_mask},
          {"key_weights", m.key_weights},
          {"bias", m.bias}};
}

size_t bytes_at_any_alignment(size_t bytes) { return bytes == 0 ? 0 : bytes + kCudaAlignment - 1; }

// The workspace, aligned.
CudaTarget target_of(const cuda::Table& table, const Problem& problem, const GradientsWanted& wanted,
                     const CudaRequest& request, const char* query) {
  check_device(table, request.device);
  if (const int error = table.earlier_error(request.device); error != 0)
    check(table, error, "an earlier call has left an error behind");
  CudaTarget target{&table, request.device, request.stream, nullptr};
  const size_t needed = bytes_at_any_alignment(simt_workspace(problem, wanted));
  if (needed == 0) return target;
  if (request.workspace == nullptr) invalid_argument("launch.workspace: must not be NULL: ", query, " says ", needed);
  if (request.workspace_size < needed)
    invalid_argument("launch.workspace_size=", request.workspace_size, ": must be at least ", needed,
                     " bytes for this problem, as ", query, " says");
  check_pointer(table, "launch.workspace", request.workspace, request.device);
  const auto address = reinterpret_cast<uintptr_t>(request.workspace);
  const uintptr_t shift = (kCudaAlignment - address % kCudaAlignment) % kCudaAlignment;
  target.workspace = static_cast<std::byte*>(request.workspace) + shift;
  return target;
}

bool has_no_query(const Shape& shape) { return shape.batch == 0 || shape.tokens() == 0; }

}  // namespace

const cuda::Table& cuda_runtime() {
  std::string why;
  const cuda::Table* const table = cuda_table(why);
  if (table == nullptr) unsupported("CUDA: ", why);
  return *table;
}

std::string cuda_obstacle() {
  std::string why;
  const cuda::Table* const table = cuda_table(why);
  if (table == nullptr) return why;
  int count = 0;
  if (const int error = table->device_count(&count); error != 0) {
    const char* message = "";
    table->describe(error, &message);
    return concat("no GPU can be used: ", message, " (a driver for CUDA ", table->runtime_version / 1000, ".",
                  table->runtime_version % 1000 / 10, " or newer is needed)");
  }
  return count == 0 ? "there is no GPU" : "";
}

size_t dispatch_cuda_workspace(const cuda::Table& table, const Problem& problem, const GradientsWanted& wanted,
                               int device) {
  check_device(table, device);
  simt_prepare(problem, wanted, {&table, device, nullptr, nullptr});
  return bytes_at_any_alignment(simt_workspace(problem, wanted));
}

void dispatch_cuda_forward(const cuda::Table& table, const Problem& problem, const ForwardOutputs& outputs,
                           const CudaRequest& request) {
  const CudaTarget target = target_of(table, problem, {}, request, "nf_cuda_forward_workspace");
  std::vector<NamedView> views = inputs_of(problem);
  views.insert(views.end(), {{"out", outputs.out}, {"logsumexp", outputs.logsumexp}});
  check_views(table, views, request.device);
  if (!has_no_query(problem.shape)) simt_forward(problem, outputs, target);
}

void dispatch_cuda_backward(const cuda::Table& table, const Problem& problem, const BackwardInputs& inputs,
                            const Gradients& gradients, const CudaRequest& request) {
  const GradientsWanted wanted = wanted_of(gradients);
  if (!wanted.any()) return;
  const CudaTarget target = target_of(table, problem, wanted, request, "nf_cuda_backward_workspace");
  std::vector<NamedView> views = inputs_of(problem);
  views.insert(views.end(), {{"out", inputs.out},
                             {"logsumexp", inputs.logsumexp},
                             {"dout", inputs.dout},
                             {"dlogsumexp", inputs.dlogsumexp},
                             {"gradients.query", gradients.query},
                             {"gradients.key", gradients.key},
                             {"gradients.value", gradients.value},
                             {"gradients.additional_keys", gradients.additional_keys},
                             {"gradients.additional_values", gradients.additional_values},
                             {"gradients.key_weights", gradients.key_weights},
                             {"gradients.bias", gradients.bias}});
  check_views(table, views, request.device);
  simt_backward(problem, inputs, gradients, target);
}

}  // namespace nearfield::core
