// What a GPU call says where it can't be served: a status and a message each, through the table of an emulated device.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.h"
#include "check/compare.h"
#include "check/random_problem.h"
#include "dispatch/dispatch_cuda.h"
#include "emulated_device.h"
#include "engine/cuda/device_plan.h"
#include "nearfield/cuda.h"

namespace nearfield::emulator {
namespace {

// A problem with a workspace, its copy on a device.
struct Call {
  Call()
      : random(3, options()), device(1), on_device(device, random.problem()), outputs(on_device.add(random.outputs())) {
    bytes = core::dispatch_cuda_workspace(EmulatedDevice::table(), on_device.problem(), {}, 0);
    request = {0, nullptr, on_device.workspace(bytes), bytes};
  }
  static core::RandomProblemOptions options() {
    core::RandomProblemOptions options;
    options.dtypes = {core::DType::float32};
    options.zero_sizes = false;
    options.max_pairs = 500;
    options.max_multiplies = 20000;
    options.threading.num_threads = 1;
    return options;
  }
  void forward() { core::dispatch_cuda_forward(EmulatedDevice::table(), problem, outputs, request); }

  core::RandomProblem random;
  EmulatedDevice device;
  DeviceProblem on_device;
  core::ForwardOutputs outputs;
  core::Problem problem = on_device.problem();
  size_t bytes = 0;
  core::CudaRequest request;
};

// The message of what fails with this status.
std::string message_of(core::Status status, const std::function<void()>& body) {
  try {
    body();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.status(), status) << error.what();
    return error.what();
  }
  return "nothing failed";
}
std::string refusal(Call& call) {
  return message_of(core::Status::invalid_argument, [&] { call.forward(); });
}
bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(CudaDispatch, RunsThroughTheDoor) {
  Call call;
  call.random.poison();
  call.forward();
  call.on_device.copy_back();
  EXPECT_EQ(core::ExpectedForward(call.random.problem()).compare(call.random.outputs()).failure, "");
}

TEST(CudaDispatch, PlansAreUploadedOnce) {
  Call call;  // whose workspace query has done it
  call.device.memory_left = 0;
  call.forward();
  call.forward();
}

TEST(CudaDispatch, MemoryOfTheHost) {
  Call call;
  call.problem.key = call.random.problem().key;
  call.problem.key.data -= reinterpret_cast<uintptr_t>(call.problem.key.data) % 4;
  EXPECT_PRED2(mentions, refusal(call), "key.data=");
  EXPECT_PRED2(mentions, refusal(call), ": is memory of the host: must be of device 0");
}

TEST(CudaDispatch, MisalignedElements) {
  Call call;
  call.problem.value.data += 2;
  EXPECT_PRED2(mentions, refusal(call), "value.data=");
  EXPECT_PRED2(mentions, refusal(call), ": must be a multiple of 4 bytes on a GPU");
}

TEST(CudaDispatch, DevicesThatAreNotThere) {
  Call call;
  for (const int device : {-1, 1}) {
    call.request.device = device;
    EXPECT_PRED2(mentions, refusal(call),
                 core::concat("launch.device=", device, ": must be at least 0 and below the 1"));
  }
}

TEST(CudaDispatch, Workspaces) {
  Call call;
  if (call.bytes == 0) GTEST_FAIL() << "the problem needs no workspace: " << call.random.describe();
  call.request.workspace_size = call.bytes - 1;
  EXPECT_PRED2(mentions, refusal(call),
               core::concat("launch.workspace_size=", call.bytes - 1, ": must be at least ", call.bytes));
  call.request.workspace = nullptr;
  EXPECT_PRED2(mentions, refusal(call), "launch.workspace: must not be NULL");
  std::vector<std::byte> host(call.bytes);
  call.request = {0, nullptr, host.data(), host.size()};
  EXPECT_PRED2(mentions, refusal(call), "launch.workspace=");
}

TEST(CudaDispatch, NoMemoryForAPlan) {
  Call call;
  core::release_device_plans(EmulatedDevice::table());
  call.device.memory_left = 0;
  const auto forward = [&] { call.forward(); };
  EXPECT_EQ(message_of(core::Status::out_of_memory, forward), "CUDA: uploading a plan: out of memory");
  call.device.memory_left = 10;
  call.forward();  // and life goes on
}

TEST(CudaDispatch, AnErrorFromBefore) {
  Call call;
  call.device.pending_error = 700;
  EXPECT_EQ(message_of(core::Status::internal_error, [&] { call.forward(); }),
            "CUDA: an earlier call has left an error behind: an emulated error");
}

// This machine may or may not have a GPU: either the door is open or it says why not.
TEST(CudaApi, SaysWhatIsMissing) {
  const char* const obstacle = nf_cuda_unavailable();
  if (obstacle == nullptr) {
    EXPECT_GE(nf_cuda_device_count(), 1);
    return;
  }
  EXPECT_STRNE(obstacle, "");
  EXPECT_EQ(nf_cuda_device_count(), 0);
  const int64_t window = 3;
  const nf_neighborhood pattern = nf_make_neighborhood(1, &window);
  const nf_tensor tensor = {nullptr, NF_FLOAT32, 4, {1, 8, 1, 4}, {32, 4, 4, 1}};
  size_t bytes = 0;
  EXPECT_EQ(nf_cuda_forward_workspace(&pattern.pattern, &tensor, &tensor, &tensor, nullptr, nullptr, 0, &bytes),
            NF_UNSUPPORTED);
  EXPECT_PRED2(mentions, nf_last_error(), "CUDA: ");
}

TEST(CudaApi, ChecksArgumentsFirst) {
  const int64_t window = 0;
  const nf_neighborhood pattern = nf_make_neighborhood(1, &window);
  float memory[32] = {};
  const nf_tensor tensor = {memory, NF_FLOAT32, 4, {1, 8, 1, 4}, {32, 4, 4, 1}};
  size_t bytes = 0;
  const auto query = [&](const nf_options* options) {
    return nf_cuda_forward_workspace(&pattern.pattern, &tensor, &tensor, &tensor, nullptr, options, 0, &bytes);
  };
  EXPECT_EQ(query(nullptr), NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(), "kernel_size[0]=0: must be at least 1");
  EXPECT_EQ(nf_cuda_forward(&pattern.pattern, &tensor, &tensor, &tensor, nullptr, nullptr, nullptr, &tensor, nullptr),
            NF_INVALID_ARGUMENT);
  EXPECT_STREQ(nf_last_error(), "launch: must not be NULL");
}

}  // namespace
}  // namespace nearfield::emulator
