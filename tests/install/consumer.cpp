// What a user's first program does: attention over a row of five tokens, each seeing three, checked against the
// formula written out.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nearfield/nearfield.hpp>
#include <vector>

namespace {

constexpr int kTokens = 5, kChannels = 4, kWindow = 3;

double expected(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v, int i, int c) {
  int start = i - kWindow / 2;
  if (start < 0) start = 0;
  if (start > kTokens - kWindow) start = kTokens - kWindow;
  double sum = 0, weighted = 0;
  for (int j = start; j < start + kWindow; ++j) {
    double dot = 0;
    for (int e = 0; e < kChannels; ++e) dot += static_cast<double>(q[i * kChannels + e]) * k[j * kChannels + e];
    const double weight = std::exp(dot / std::sqrt(static_cast<double>(kChannels)));
    sum += weight;
    weighted += weight * v[j * kChannels + c];
  }
  return weighted / sum;
}

}  // namespace

int main() {
  using namespace nearfield;
  std::vector<float> q(kTokens * kChannels), k(q.size()), v(q.size()), out(q.size(), NAN);
  for (size_t i = 0; i < q.size(); ++i) {
    q[i] = std::sin(1.0f + 3.0f * static_cast<float>(i));
    k[i] = std::cos(2.0f * static_cast<float>(i));
    v[i] = static_cast<float>(i % 7) - 3.0f;
  }
  const auto view = [](std::vector<float>& memory) { return Tensor::of(memory.data(), {1, kTokens, 1, kChannels}); };
  forward(neighborhood({kWindow}), view(q), view(k), view(v), view(out));
  for (int i = 0; i < kTokens; ++i)
    for (int c = 0; c < kChannels; ++c) {
      const double error = std::abs(out[i * kChannels + c] - expected(q, k, v, i, c));
      if (!(error <= 1e-5)) {
        std::printf("token %d, channel %d: off by %g\n", i, c, error);
        return 1;
      }
    }
  try {
    forward(neighborhood({0}), view(q), view(k), view(v), view(out));
    std::puts("kernel_size 0 was accepted");
    return 1;
  } catch (const Error& error) {
    if (error.status() != NF_INVALID_ARGUMENT || !std::strstr(error.what(), "kernel_size[0]=0")) {
      std::printf("an unexpected message: %s\n", error.what());
      return 1;
    }
  }
  std::printf("nearfield %s: right\n", nf_version());
}
