// Merging random parts of any dtype, layout and alignment, some of them without keys, against float64 sums.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "cases.h"
#include "check/guarded_buffer.h"
#include "views.h"

namespace nearfield::property {
namespace {

using core::concat;
using core::DType;
using core::GuardedBuffer;
using core::TensorView;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Part {
  TensorView out, logsumexp;
};

// A random call of nf_merge and one of nf_merge_backward on the same parts.
class MergeCase {
 public:
  explicit MergeCase(uint64_t seed) : seed_(seed), random_(seed) {
    const DType dtypes[] = {DType::float64, DType::float32, DType::bfloat16, DType::float16};
    dtype_ = dtypes[random_.below(4)];
    rank_ = static_cast<int>(random_.between(1, 3));
    rows_ = {random_.chance(0.05) ? 0 : random_.between(1, 3)};
    for (int a = 0; a < rank_; ++a) rows_.push_back(random_.chance(0.05) ? 0 : random_.between(1, 3));
    rows_.push_back(random_.between(1, 4));
    channels_ = random_.skewed(100);
    const int64_t count = random_.chance(0.1) ? 16 : random_.between(1, 4);
    largest_ = random_.chance(0.2) ? 300 : 6;
    for (int64_t i = 0; i < count; ++i) parts.push_back(draw_part());
    dout = normal(source(dtype_, out_sizes(), true));
    if (random_.chance(0.6)) dlogsumexp = normal(source(core::accumulator_of(dtype_), rows_, false));
    out = target(dtype_, out_sizes(), true);
    if (random_.chance(0.8)) logsumexp = target(core::accumulator_of(dtype_), rows_, false);
    for (int64_t i = 0; i < count; ++i) {
      Part gradient;
      if (random_.chance(0.8)) gradient.out = target(dtype_, out_sizes(), true);
      if (random_.chance(0.8)) gradient.logsumexp = target(core::accumulator_of(dtype_), rows_, false);
      gradients.push_back(gradient);
    }
  }

  std::vector<Part> parts, gradients;
  TensorView dout, dlogsumexp, out, logsumexp;

  int64_t channels() const { return channels_; }
  std::string describe() const {
    std::string text = concat("seed=", seed_, " dtype=", name_of(dtype_), " parts=", parts.size(),
                              " channels=", channels_, " largest logsumexp=", largest_, " rows=");
    for (int64_t size : rows_) text += concat(size, ",");
    return text + " out=[" + core::describe_layout(out) + "]";
  }

  // Both passes on poisoned outputs; "" or what went wrong, element values aside.
  std::string run(int32_t threads) {
    for (auto& buffer : targets_) buffer->poison();
    for (auto& buffer : sources_) buffer->remember();
    std::vector<nf_tensor> tensors;  // of parts, then of gradients
    for (const auto* list : {&parts, &gradients})
      for (const Part& part : *list)
        for (const TensorView* view : {&part.out, &part.logsumexp}) tensors.push_back(cli::public_tensor(*view));
    std::vector<nf_merge_part> given, wanted;
    for (size_t i = 0; i < parts.size(); ++i) {
      const nf_tensor* const g = &tensors[2 * (parts.size() + i)];
      given.push_back({&tensors[2 * i], &tensors[2 * i + 1]});
      wanted.push_back({gradients[i].out.rank > 0 ? g : nullptr, gradients[i].logsumexp.rank > 0 ? g + 1 : nullptr});
    }
    nf_options options = nf_default_options();
    options.num_threads = threads;
    const nf_tensor o = cli::public_tensor(out), l = cli::public_tensor(logsumexp), d = cli::public_tensor(dout),
                    dl = cli::public_tensor(dlogsumexp);
    const auto count = static_cast<int32_t>(parts.size());
    if (nf_merge(count, given.data(), &options, &o, logsumexp.rank > 0 ? &l : nullptr) != NF_OK) return nf_last_error();
    if (nf_merge_backward(count, given.data(), &options, &d, dlogsumexp.rank > 0 ? &dl : nullptr, wanted.data()) !=
        NF_OK)
      return nf_last_error();
    for (const auto& buffer : targets_)
      if (const std::string text = buffer->damage(); !text.empty()) return "outside of the outputs: " + text;
    for (const auto& buffer : sources_)
      if (const std::string text = buffer->damage(); !text.empty()) return "in an input: " + text;
    return "";
  }

 private:
  std::vector<int64_t> out_sizes() const {
    std::vector<int64_t> sizes = rows_;
    sizes.push_back(channels_);
    return sizes;
  }
  TensorView place(std::vector<std::unique_ptr<GuardedBuffer>>& buffers, const core::Layout& layout) {
    buffers.push_back(std::make_unique<GuardedBuffer>(layout.bytes));
    return buffers.back()->view(layout);
  }
  TensorView source(DType dtype, const std::vector<int64_t>& sizes, bool has_channels) {
    return place(sources_, core::random_layout(random_, dtype, sizes, {.keep_last = has_channels, .broadcast = true}));
  }
  TensorView target(DType dtype, const std::vector<int64_t>& sizes, bool has_channels) {
    const TensorView view =
        place(targets_, core::random_layout(random_, dtype, sizes, {.keep_last = has_channels, .broadcast = false}));
    targets_.back()->claim(view);
    return view;
  }
  TensorView normal(const TensorView& view) {
    core::for_each_element(view, [&](const core::ElementIndex&, int64_t element) {
      core::store_double(view.at(element), view.dtype, random_.normal());
    });
    return view;
  }

  // In some parts some queries saw no key, and what lies in their out is nobody's business.
  Part draw_part() {
    Part part = {normal(source(dtype_, out_sizes(), true)), source(core::accumulator_of(dtype_), rows_, false)};
    const double without_keys = random_.chance(0.5) ? 0 : random_.chance(0.1) ? 1 : 0.3;
    core::for_each_element(part.logsumexp, [&](const core::ElementIndex&, int64_t element) {
      const double lse = random_.chance(without_keys) ? -kInfinity : largest_ * (2 * random_.uniform() - 1);
      core::store_double(part.logsumexp.at(element), part.logsumexp.dtype, lse);
    });
    if (part.out.sizes[0] > 1 && part.out.strides[0] == 0) return part;  // one out for several logsumexps
    core::for_each_element(part.out, [&](const core::ElementIndex& index, int64_t element) {
      int64_t row = 0;
      for (int a = 0; a < part.logsumexp.rank; ++a) row += index[static_cast<size_t>(a)] * part.logsumexp.strides[a];
      if (core::load_double(part.logsumexp.at(row), part.logsumexp.dtype) == -kInfinity)
        core::store_double(part.out.at(element), dtype_, std::nan(""));
    });
    return part;
  }

  uint64_t seed_;
  core::Random random_;
  DType dtype_ = DType::float32;
  int rank_ = 1;
  std::vector<int64_t> rows_;  // batch, *grid, heads
  int64_t channels_ = 1;
  double largest_ = 6;  // |logsumexp|
  std::vector<std::unique_ptr<GuardedBuffer>> sources_, targets_;
};

double value_at(const TensorView& view, const core::ElementIndex& index, int dims, int64_t channel = 0) {
  int64_t element = channel;
  for (int a = 0; a < dims; ++a) element += index[static_cast<size_t>(a)] * view.strides[a];
  return core::load_double(view.at(element), view.dtype);
}

// Compares one row of every output with the formulas in float64; "" or the first difference. An error may be a few
// roundings of each term, where a logsumexp's own rounding counts with its size, and one of the stored type.
class RowOracle {
 public:
  RowOracle(const MergeCase& c, const core::ElementIndex& index) : case_(c), index_(index), dims_(c.out.rank - 1) {
    const double unit = c.out.dtype == DType::float64 ? 0x1p-52 : 0x1p-23;
    double largest = -kInfinity, sum = 0, size = 0;
    for (const Part& part : c.parts) {
      lses_.push_back(value_at(part.logsumexp, index, dims_));
      largest = std::max(largest, lses_.back());
      if (lses_.back() != -kInfinity) size = std::max(size, std::fabs(lses_.back()));
    }
    for (double lse : lses_) sum += lse == -kInfinity ? 0 : std::exp(lse - largest);
    logsumexp_ = sum == 0 ? -kInfinity : largest + std::log(sum);
    for (double lse : lses_) weights_.push_back(lse == -kInfinity ? 0 : std::exp(lse - logsumexp_));
    relative_ = unit * (8 + 4 * size + static_cast<double>(c.parts.size() + static_cast<size_t>(c.channels())));
  }

  std::string compare() {
    std::string text = compare_forward();
    return text.empty() ? compare_backward() : text;
  }

 private:
  bool lives(size_t i) const { return lses_[i] != -kInfinity; }

  std::string compare_forward() const {
    for (int64_t c = 0; c < case_.channels(); ++c) {
      double expected = 0, magnitude = 0;
      for (size_t i = 0; i < lses_.size(); ++i) {
        if (!lives(i)) continue;
        const double term = weights_[i] * value_at(case_.parts[i].out, index_, dims_, c);
        expected += term;
        magnitude += std::fabs(term);
      }
      if (const auto text = check("out", case_.out, c, expected, magnitude); !text.empty()) return text;
    }
    return check("logsumexp", case_.logsumexp, 0, logsumexp_, 1);
  }

  std::string compare_backward() const {
    double mean = 0, mean_magnitude = 0;
    std::vector<double> products(lses_.size(), 0.0), magnitudes(lses_.size(), 0.0);
    for (size_t i = 0; i < lses_.size(); ++i) {
      if (!lives(i)) continue;
      for (int64_t c = 0; c < case_.channels(); ++c) {
        const double term = value_at(case_.dout, index_, dims_, c) * value_at(case_.parts[i].out, index_, dims_, c);
        products[i] += term;
        magnitudes[i] += std::fabs(term);
      }
      mean += weights_[i] * products[i];
      mean_magnitude += weights_[i] * magnitudes[i];
    }
    const double dlse = case_.dlogsumexp.rank > 0 ? value_at(case_.dlogsumexp, index_, dims_) : 0;
    for (size_t i = 0; i < lses_.size(); ++i) {
      const Part& gradient = case_.gradients[i];
      for (int64_t c = 0; c < case_.channels() && gradient.out.rank > 0; ++c) {
        const double expected = weights_[i] * value_at(case_.dout, index_, dims_, c);
        const auto text = check(concat("gradients[", i, "].out"), gradient.out, c, expected, std::fabs(expected));
        if (!text.empty()) return text;
      }
      const double expected = weights_[i] * (products[i] - mean + dlse);
      const double magnitude = weights_[i] * (magnitudes[i] + mean_magnitude + std::fabs(dlse));
      const auto text = check(concat("gradients[", i, "].logsumexp"), gradient.logsumexp, 0, expected, magnitude);
      if (!text.empty()) return text;
    }
    return "";
  }

  // A view that the case leaves out has rank 0.
  std::string check(const std::string& name, const TensorView& view, int64_t channel, double expected,
                    double magnitude) const {
    if (view.rank == 0) return "";
    const double actual = value_at(view, index_, dims_, channel);
    // Half a unit in the last place; subnormals of float16, and of float32 where exp underflows, are coarser.
    double stored = 0, coarse = 0x1p-1000;
    if (view.dtype != DType::float64) coarse = 0x1p-126;
    if (view.dtype == DType::bfloat16) stored = 0x1p-8;
    if (view.dtype == DType::float16) stored = 0x1p-11, coarse = 0x1p-25;
    if (std::isinf(expected) && actual == expected) return "";
    const double error = std::fabs(actual - expected);
    if (error <= relative_ * magnitude + stored * std::fabs(expected) + coarse) return "";
    std::string text = name + "[";
    for (int a = 0; a < dims_; ++a) text += concat(index_[static_cast<size_t>(a)], ", ");
    return concat(text, channel, "] is ", actual, ", must be ", expected);
  }

  const MergeCase& case_;
  const core::ElementIndex index_;
  const int dims_;
  std::vector<double> lses_, weights_;
  double logsumexp_ = 0, relative_ = 0;
};

TEST(Property, MergingAgreesWithFloat64Sums) {
  for_cases(0.1, 1.0, [](uint64_t seed) {
    MergeCase random(seed);
    std::string failure = random.run(1);
    TensorView rows = random.out;
    --rows.rank;
    core::for_each_element(rows, [&](const core::ElementIndex& index, int64_t) {
      if (failure.empty()) failure = RowOracle(random, index).compare();
    });
    return Outcome{true, failure.empty() ? "" : failure + "\n  " + random.describe()};
  });
}

TEST(Property, MergingGivesTheSameBitsOnAnyNumberOfThreads) {
  for_cases(0.05, 1.0, [](uint64_t seed) {
    MergeCase random(seed);
    const auto bits = [&](int32_t threads, std::string& failure) {
      failure = random.run(threads);
      std::vector<std::vector<std::byte>> all;
      const auto keep = [&](const TensorView& view) {
        if (view.rank > 0) all.push_back(bits_of(view));
      };
      for (const TensorView* view : {&random.out, &random.logsumexp}) keep(*view);
      for (const Part& gradient : random.gradients)
        for (const TensorView* view : {&gradient.out, &gradient.logsumexp}) keep(*view);
      return all;
    };
    std::string failure;
    const auto alone = bits(1, failure);
    for (int32_t threads : {2, 3}) {
      if (!failure.empty()) break;
      const auto together = bits(threads, failure);
      if (failure.empty() && together != alone) failure = concat("threads=", threads, " gives other bits");
    }
    return Outcome{true, failure.empty() ? "" : failure + "\n  " + random.describe()};
  });
}

}  // namespace
}  // namespace nearfield::property
