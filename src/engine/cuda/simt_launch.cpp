#include "engine/cuda/simt_launch.h"

namespace nearfield::core {
namespace {

constexpr int64_t kSmallThreads = 128;    // of a block of a small kernel
constexpr int64_t kMostBlocks = 1 << 16;  // of a launch whose blocks go on to further work

int64_t keys_of(const Problem& problem) { return problem.key_tokens(); }

int64_t small_blocks(int64_t elements) { return std::min(kMostBlocks, (elements + kSmallThreads - 1) / kSmallThreads); }

}  // namespace

SimtWorkspace::SimtWorkspace(const Problem& problem, const GradientsWanted& wanted) {
  const Modifiers& m = problem.modifiers;
  const Shape& shape = problem.shape;
  const int64_t number = is_double(problem) ? 8 : 4;
  size_t taken = 0;
  const auto take = [&](bool needed, int64_t elements, int64_t copies) {
    const size_t offset = taken;
    if (!needed) return offset;
    const int64_t bytes =
        checked_product(checked_product(elements, copies, "workspace"), number, "workspace") + kCudaAlignment - 1;
    taken = static_cast<size_t>(checked_sum(static_cast<int64_t>(taken), bytes, "workspace")) / kCudaAlignment *
            kCudaAlignment;
    return offset;
  };
  has_weights = is_present(m.key_mask) || is_present(m.key_weights) || problem.pattern.sphere != nullptr;
  shared_weights = !is_present(m.key_mask) && (!is_present(m.key_weights) || m.key_weights.strides[0] == 0);
  const int64_t images = shared_weights ? 1 : shape.batch, keys = keys_of(problem);
  log_weights = take(has_weights, keys, images);
  log_densities = take(wanted.key_weights, keys, images);
  bias = take(is_present(m.bias), is_present(m.bias) ? BiasTable(m.bias).entries : 0, shape.heads);
  delta = take(wanted.scores(), checked_product(shape.batch, shape.heads, "workspace"), shape.tokens());
  weights = take(wanted.key_weights, keys, shape.batch);
  chunks = (shape.tokens() + kAdditionalChunk - 1) / kAdditionalChunk;
  const int64_t rows =
      checked_product(checked_product(shape.batch, shape.additional, "workspace"), shape.heads_kv, "workspace");
  const int64_t channels =
      std::max(wanted.additional_keys ? shape.head_dim : 0, wanted.additional_values ? shape.head_dim_v : 0);
  additional = take(channels > 0, checked_product(rows, channels, "workspace"), chunks);
  end = taken;
}

simt::Tensor grid_tensor(const TensorView& view, int grid_rank) {
  simt::Tensor tensor = {};
  tensor.data = reinterpret_cast<char*>(view.data);
  tensor.type = static_cast<simt::Element>(view.dtype);
  tensor.batch = view.strides[0];
  for (int a = 0; a < grid_rank; ++a) tensor.axes[a] = view.strides[a + 1];
  if (view.rank > grid_rank + 1) tensor.head = view.strides[grid_rank + 1];
  return tensor;
}

simt::Tensor additional_tensor(const TensorView& view) {
  simt::Tensor tensor = {};
  tensor.data = reinterpret_cast<char*>(view.data);
  tensor.type = static_cast<simt::Element>(view.dtype);
  tensor.batch = view.strides[0];
  tensor.axes[0] = view.strides[1];
  tensor.head = view.strides[2];
  return tensor;
}

simt::Tensor bias_tensor(const TensorView& view) {
  simt::Tensor tensor = {};
  tensor.data = reinterpret_cast<char*>(view.data);
  tensor.type = static_cast<simt::Element>(view.dtype);
  tensor.head = view.strides[0];
  for (int a = 0; a + 1 < view.rank; ++a) tensor.axes[a] = view.strides[a + 1];
  return tensor;
}

simt::Tensor own_tensor(void* data, bool is_double, const int64_t* grid, int64_t heads, int64_t channels) {
  simt::Tensor tensor = {};
  tensor.data = static_cast<char*>(data);
  tensor.type = is_double ? simt::Element::float64 : simt::Element::float32;
  tensor.head = channels;
  int64_t stride = heads * channels;
  for (int a = kMaxGridRank - 1; a >= 0; --a) {
    tensor.axes[a] = stride;
    stride *= grid[a];
  }
  tensor.batch = stride;
  return tensor;
}

BiasTable::BiasTable(const TensorView& bias) {
  for (int a = bias.rank - 2; a >= 0; --a) {
    strides[a] = static_cast<int>(entries);
    sizes[a] = static_cast<int>(bias.sizes[a + 1]);
    middle += sizes[a] / 2 * strides[a];
    entries = checked_product(entries, bias.sizes[a + 1], "bias");
    if (entries >= int64_t{1} << 31)
      unsupported("bias: has ", entries, " entries for a head: must be below 2^31 on a GPU");
  }
}

SimtLaunches::SimtLaunches(const Problem& problem_, const GradientsWanted& wanted, const CudaTarget& target)
    : problem(problem_), workspace(problem_, wanted), target_(target) {
  for (const bool transposed : {false, true})
    if (needs_plan(wanted, transposed))
      plans_[transposed ? 1 : 0] =
          device_plan(*target.table, target.device, problem, transposed, cuda::near_rows(is_double(problem)));
}

void SimtLaunches::launch(cuda::KernelKind kind, simt::Use use, int64_t blocks, const void* arguments) const {
  if (blocks == 0) return;
  const cuda::Launch launch{kind, use, is_double(problem) ? 1 : 0, blocks};
  check(*target_.table, target_.table->launch(target_.device, target_.stream, &launch, arguments),
        "launching a kernel");
}

void SimtLaunches::prepare(bool wants_densities) const {
  const Modifiers& m = problem.modifiers;
  simt::PrepareArguments arguments = {};
  if (workspace.has_weights) {
    for (int a = 0; a < kMaxGridRank; ++a) arguments.grid[a] = plan(false).plan.far_grid[a];
    arguments.batch = workspace.shared_weights ? 1 : problem.shape.batch;
    if (m.key_mask) arguments.mask = grid_tensor(m.key_mask, problem.shape.rank);
    if (m.key_weights) arguments.weights = grid_tensor(m.key_weights, problem.shape.rank);
    arguments.densities = plan(false).densities;
    arguments.log_weights = at(workspace.log_weights);
    arguments.log_densities = wants_densities ? at(workspace.log_densities) : nullptr;
    launch(cuda::KernelKind::prepare_weights, {}, small_blocks(arguments.batch * keys_of(problem)), &arguments);
  }
  if (!m.bias) return;
  const BiasTable table(m.bias);
  arguments.bias = bias_tensor(m.bias);
  arguments.heads = problem.shape.heads;
  arguments.bias_head = table.entries;
  std::copy_n(table.sizes, 3, arguments.bias_sizes);
  arguments.bias_out = at(workspace.bias);
  launch(cuda::KernelKind::prepare_bias, {}, small_blocks(arguments.heads * table.entries), &arguments);
}

simt::Arguments SimtLaunches::arguments(bool transposed) const {
  const Shape& shape = problem.shape;
  const Modifiers& m = problem.modifiers;
  simt::Arguments arguments = {};
  arguments.plan = plan(transposed).plan;
  arguments.batch = shape.batch;
  arguments.heads = shape.heads;
  arguments.heads_kv = shape.heads_kv;
  arguments.channels_a = static_cast<int>(shape.head_dim);
  arguments.channels_b = static_cast<int>(shape.head_dim_v);
  arguments.scale = problem.scale;
  arguments.softcap = m.softcap;
  if (workspace.has_weights) {
    arguments.log_weights = at(workspace.log_weights);
    arguments.log_weights_batch = workspace.shared_weights ? 0 : keys_of(problem);
  }
  if (m.bias) {
    const BiasTable table(m.bias);
    arguments.bias = at(workspace.bias);
    arguments.bias_head = table.entries;
    std::copy_n(table.strides, 3, arguments.bias_strides);
    arguments.bias_middle = table.middle;
  }
  const simt::Tensor query = grid_tensor(problem.query, shape.rank), key = grid_tensor(problem.key, shape.rank),
                     value = grid_tensor(problem.value, shape.rank);
  arguments.near_a = transposed ? key : query;
  arguments.far_a = transposed ? query : key;
  if (transposed) {
    arguments.near_b = value;
  } else {
    arguments.far_b = value;
    if (m.additional_keys) {
      arguments.additional = shape.additional;
      arguments.additional_a = additional_tensor(m.additional_keys);
      arguments.additional_b = additional_tensor(m.additional_values);
    }
  }
  return arguments;
}

void SimtLaunches::attend(simt::Use use, simt::Arguments& arguments, int64_t channels) const {
  arguments.channels_out = static_cast<int>(channels);
  arguments.channel_chunks =
      std::max(1, static_cast<int>((channels + cuda::kOutputChannels - 1) / cuda::kOutputChannels));
  const int rows = cuda::near_rows(is_double(problem));
  const bool near_are_queries = use == simt::Use::forward || use == simt::Use::delta || use == simt::Use::dquery;
  int64_t blocks = arguments.near_additional == 0 ? arguments.plan.tiles
                                                  : (arguments.near_additional + rows - 1) / rows * arguments.chunks;
  constexpr const char* kWhat = "blocks of a launch";
  blocks = checked_product(blocks, arguments.channel_chunks, kWhat);
  blocks = checked_product(blocks,
                           near_are_queries             ? arguments.heads
                           : use == simt::Use::dweights ? 1
                                                        : arguments.heads_kv,
                           kWhat);
  arguments.blocks = checked_product(blocks, arguments.batch, kWhat);
  launch(cuda::KernelKind::attention, use, arguments.blocks, &arguments);
}

void SimtLaunches::finish(simt::FinishArguments& arguments) const {
  const int64_t elements = arguments.batch * arguments.grid[0] * arguments.grid[1] * arguments.grid[2] *
                           arguments.heads * arguments.channels;
  launch(cuda::KernelKind::finish, {}, small_blocks(elements), &arguments);
}

}  // namespace nearfield::core
