// A plan as the kernels read it, in the memory of a device.
//
// Per axis and token the interval that it sees, per axis the tiles with the hull of what their tokens see, all from a
// Plan; along an order the tables of tokens, on the sphere the half-widths. As a plan, O(sum of the axes' lengths), but
// for an order's tables.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/cuda/simt/arguments.h"
#include "engine/cuda/table.h"
#include "engine/problem.h"

namespace nearfield::core {

// In host memory: pointers of `plan` are offsets into `content` plus 1, or null.
struct PlanImage {
  simt::Plan plan = {};
  size_t densities = 0;  // offset plus 1 of the ln of the pattern's own weights, [key latitude] (double); 0: none
  std::vector<std::byte> content;
};

// transposed: tiles of keys. rows: near tokens of a tile at most. Errors: unsupported for an axis of 2^29 tokens or
// more, and those of Plan.
PlanImage plan_image(const Problem& problem, bool transposed, int rows);

struct DevicePlan {
  simt::Plan plan = {};
  const double* densities = nullptr;
  size_t bytes = 0;
};

// Uploaded once for each device and kept until release_device_plans(): a recorded graph of launches may need it.
// Thread-safe. Errors: those of plan_image; out_of_memory.
DevicePlan device_plan(const cuda::Table& table, int device, const Problem& problem, bool transposed, int rows);
// Frees those of every device. No launch that uses one may be running.
void release_device_plans(const cuda::Table& table);

// Throws if a table's function did not return 0. what: of which call, for the message.
void check(const cuda::Table& table, int code, const char* what);

}  // namespace nearfield::core
