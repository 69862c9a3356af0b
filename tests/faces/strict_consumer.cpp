// Uses all of nearfield.hpp, compiled with every warning that a careful project turns on. Never run.
#include <array>
#include <cstddef>
#include <iostream>
#include <nearfield/nearfield.hpp>
#include <span>
#include <vector>

namespace nf = nearfield;

void use_everything(std::vector<float>& memory, const std::vector<float>& constant,
                    const std::vector<unsigned char>& mask) {
  const std::vector<int64_t> shape = {1, 56, 56, 2, 32};
  const int64_t sizes[3] = {1, 2, 3};
  const int heads = 2;
  const auto q = nf::Tensor::of(memory, shape), k = nf::Tensor::of(constant, {1, 56, 56, heads, 32});
  const auto v = nf::Tensor::of(memory.data(), shape), out = nf::Tensor::of(std::span(memory), shape);
  const auto lse = nf::Tensor(nullptr, NF_FLOAT32, {1, 56, 56, 2}, {6272, 112, 2, 1});
  const auto bias = nf::Tensor(nullptr, NF_BFLOAT16, sizes).permuted({0, 2, 1});
  nf::forward(nf::neighborhood({7, 7}), q, k, v, out);

  auto pattern = nf::neighborhood({7, 7}).stride({2, 1}).dilation({2, 2}).boundary({NF_CLAMP, NF_WRAP});
  pattern.causal(std::array<bool, 2>{true, false});
  auto run = [](int64_t count, auto body) {
    for (int64_t i = 0; i < count; ++i) body(i);
  };
  auto options = nf::Options().with_scale(0.5).with_threads(4).with_engine(NF_ENGINE_CPU).with_parallel_for(run);
  options.with_isa(NF_ISA_AVX2).with_kernel(NF_KERNEL_BAND);
  std::vector<std::byte> workspace(nf::forward_workspace(pattern, q, k, v, options));
  options.with_workspace(workspace);
  nf::forward(pattern, q, k, v, out, lse, options,
              {.key_mask = nf::Tensor::of(mask, {1, 56, 56}), .bias = bias, .softcap = 2});
  nf::backward(pattern, q, k, v, out, lse, out, {.query = q, .bias = bias});

  const nf::Ragged ragged(2, {56, 50, 6, 56});
  nf::forward_ragged(pattern, ragged, q, k, v, out, lse, options, {.softcap = 2});
  nf::backward_ragged(pattern, ragged, q, k, v, out, lse, out, {.query = q}, lse);
  nf::merge({{out, lse}, {v, lse}}, q, lse, options);
  nf::merge_backward({{out, lse}, {v, lse}}, q, {{.out = out}, {.logsumexp = lse}}, lse);

  const nf::Windows seen = nf::windows(pattern, {56, heads}, 0, 10, true);
  const nf::BlockMap blocks = nf::block_map(pattern, {56, heads});
  const std::vector<nf_plan_step> steps = nf::plan_steps(pattern, {56, heads}, {4, 4}, std::array<int64_t, 2>{8, 8});
  std::cout << seen.keys.size() << seen.bias_index.size() << seen.slots << steps.size() << blocks.empty_ratio()
            << nf::window_slots(pattern, {56, 56}).front();

  std::cout << ragged.tokens() << nf::to_string(nf::explain(pattern, q, k, v, options)) << '\n'
            << nf::version() << nf::cpu_model() << nf::default_num_threads() << nf::name(nf::selected_isa())
            << nf::name(NF_OK) << nf::measure_peak() << nf::available(NF_ENGINE_CPU);
  const nf_options c_options = nf_default_options();
  const nf_neighborhood c_pattern = nf_make_neighborhood(3, sizes);
  std::cout << c_options.engine << c_pattern.pattern.rank;
}
