#include "engine/cuda/simt.h"

#include "engine/cuda/simt_launch.h"

namespace nearfield::core {
namespace {

// A problem without queries: gradients of what all queries share are 0.
class SimtBackward {
 public:
  SimtBackward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
               const CudaTarget& target)
      : launches_(problem, wanted_of(gradients), target), problem_(problem), inputs_(inputs), gradients_(gradients) {}

  void run() const {
    const GradientsWanted wanted = wanted_of(gradients_);
    launches_.prepare(static_cast<bool>(gradients_.key_weights));
    if (wanted.scores()) delta();
    if (gradients_.query) query();
    if (gradients_.key) key();
    if (gradients_.value) value();
    if (gradients_.key_weights) key_weights();
    if (gradients_.additional_keys) additional(gradients_.additional_keys, true);
    if (gradients_.additional_values) additional(gradients_.additional_values, false);
    if (gradients_.bias) bias();
  }

 private:
  simt::Arguments arguments(bool transposed) const {
    simt::Arguments arguments = launches_.arguments(transposed);
    const int rank = problem_.shape.rank;
    arguments.logsumexp = grid_tensor(inputs_.logsumexp, rank);
    arguments.delta = launches_.at(launches_.workspace.delta);
    (transposed ? arguments.far_b : arguments.near_b) = grid_tensor(inputs_.dout, rank);
    return arguments;
  }

  // D from the pairs, not from out: that is rounded to the query's type, and dS is a small difference.
  void delta() const {
    simt::Arguments arguments = this->arguments(false);
    if (inputs_.dlogsumexp) arguments.dlogsumexp = grid_tensor(inputs_.dlogsumexp, problem_.shape.rank);
    launches_.attend(simt::Use::delta, arguments, 0);
  }

  void query() const {
    simt::Arguments arguments = this->arguments(false);
    arguments.far_c = arguments.far_a;
    arguments.additional_c = arguments.additional_a;
    arguments.output = grid_tensor(gradients_.query, problem_.shape.rank);
    launches_.attend(simt::Use::dquery, arguments, problem_.shape.head_dim);
  }

  void key() const {
    simt::Arguments arguments = this->arguments(true);
    arguments.far_c = arguments.far_a;
    arguments.output = grid_tensor(gradients_.key, problem_.shape.rank);
    launches_.attend(simt::Use::dkey, arguments, problem_.shape.head_dim);
  }

  void value() const {
    simt::Arguments arguments = this->arguments(true);
    arguments.far_c = arguments.far_b;
    arguments.output = grid_tensor(gradients_.value, problem_.shape.rank);
    launches_.attend(simt::Use::dvalue, arguments, problem_.shape.head_dim_v);
  }

  void key_weights() const {
    simt::Arguments arguments = this->arguments(true);
    arguments.log_weights = launches_.at(launches_.workspace.log_densities);
    const simt::Plan& plan = launches_.plan(true).plan;
    const int64_t grid[] = {plan.near_grid[0], plan.near_grid[1], plan.near_grid[2]};
    const bool is_double = core::is_double(problem_), shared = gradients_.key_weights.strides[0] == 0;
    std::byte* const partial = launches_.at(launches_.workspace.weights);
    arguments.output = own_tensor(partial, is_double, grid, 1, 1);
    launches_.attend(simt::Use::dweights, arguments, 0);
    simt::FinishArguments finish = {};
    finish.partial = partial;
    finish.parts = shared ? problem_.shape.batch : 1;
    finish.part_stride = arguments.output.batch;
    finish.batch = shared ? 1 : problem_.shape.batch;
    finish.heads = finish.channels = 1;
    std::copy_n(plan.near_grid, 3, finish.grid);
    finish.result = grid_tensor(gradients_.key_weights, problem_.shape.rank);
    launches_.finish(finish);
  }

  void additional(const TensorView& gradient, bool of_keys) const {
    const Shape& shape = problem_.shape;
    const bool is_double = core::is_double(problem_);
    simt::Arguments arguments = this->arguments(false);
    const simt::Plan plan = arguments.plan;
    arguments.plan = {};
    std::copy_n(plan.near_grid, 3, arguments.plan.far_grid);
    // Their sides exchanged: near are the additional keys.
    arguments.far_a = arguments.near_a;
    arguments.far_b = arguments.near_b;
    arguments.near_a = arguments.additional_a;
    arguments.near_b = arguments.additional_b;
    arguments.additional = 0;
    arguments.log_weights = arguments.bias = nullptr;
    arguments.far_c = of_keys ? arguments.far_a : arguments.far_b;
    const int64_t channels = of_keys ? shape.head_dim : shape.head_dim_v;
    const int64_t grid[] = {shape.additional, 1, 1};
    std::byte* const partial = launches_.at(launches_.workspace.additional);
    arguments.output = own_tensor(partial, is_double, grid, shape.heads_kv, channels);
    arguments.near_additional = shape.additional;
    arguments.chunk = kAdditionalChunk;
    arguments.chunks = launches_.workspace.chunks;
    arguments.chunk_stride = arguments.output.batch * shape.batch;
    launches_.attend(of_keys ? simt::Use::dkey : simt::Use::dvalue, arguments, channels);
    simt::FinishArguments finish = {};
    finish.partial = partial;
    finish.parts = arguments.chunks;
    finish.part_stride = arguments.chunk_stride;
    finish.batch = shape.batch;
    finish.heads = shape.heads_kv;
    finish.grid[0] = static_cast<int>(shape.additional);
    finish.grid[1] = finish.grid[2] = 1;
    finish.channels = static_cast<int>(channels);
    finish.result = additional_tensor(gradient);
    launches_.finish(finish);
  }

  void bias() const {
    simt::BiasGradientArguments arguments = {};
    arguments.attention = this->arguments(false);
    const BiasTable table(problem_.modifiers.bias);
    std::copy_n(table.sizes, 3, arguments.bias_sizes);
    arguments.result = bias_tensor(gradients_.bias);
    constexpr int64_t kMostBlocks = 1 << 16;
    launches_.launch(cuda::KernelKind::bias_gradient, {}, std::min(kMostBlocks, problem_.shape.heads * table.entries),
                     &arguments);
  }

  const SimtLaunches launches_;
  const Problem& problem_;
  const BackwardInputs& inputs_;
  const Gradients& gradients_;
};

}  // namespace

size_t simt_workspace(const Problem& problem, const GradientsWanted& wanted) {
  return SimtWorkspace(problem, wanted).end;
}

void simt_prepare(const Problem& problem, const GradientsWanted& wanted, const CudaTarget& target) {
  SimtLaunches(problem, wanted, target);
}

void simt_forward(const Problem& problem, const ForwardOutputs& outputs, const CudaTarget& target) {
  const SimtLaunches launches(problem, {}, target);
  launches.prepare(false);
  simt::Arguments arguments = launches.arguments(false);
  arguments.far_c = arguments.far_b;
  arguments.additional_c = arguments.additional_b;
  arguments.output = grid_tensor(outputs.out, problem.shape.rank);
  if (outputs.logsumexp) arguments.logsumexp = grid_tensor(outputs.logsumexp, problem.shape.rank);
  launches.attend(simt::Use::forward, arguments, problem.shape.head_dim_v);
}

void simt_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                   const CudaTarget& target) {
  SimtBackward(problem, inputs, gradients, target).run();
}

}  // namespace nearfield::core
