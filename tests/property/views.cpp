#include "views.h"

#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "check/guarded_buffer.h"

namespace nearfield::property {
namespace {

using core::TensorView;

std::string first_difference(const char* name, const TensorView& view, int rank, const std::vector<std::byte>& before,
                             const RowPredicate& may_change) {
  std::string difference;
  const size_t size = static_cast<size_t>(core::size_of(view.dtype));
  size_t place = 0;
  core::for_each_element(view, [&](const core::ElementIndex& index, int64_t element) {
    const std::byte* saved = before.data() + place;
    place += size;
    if (!difference.empty() || std::memcmp(view.at(element), saved, size) == 0) return;
    if (may_change && may_change(index[0], index.data() + 1, index[static_cast<size_t>(rank) + 1])) return;
    difference = core::concat(name, "[");
    for (int a = 0; a < view.rank; ++a) difference += core::concat(a == 0 ? "" : ", ", index[static_cast<size_t>(a)]);
    difference += core::concat("] is ", core::load_double(view.at(element), view.dtype), ", was ",
                               core::load_double(saved, view.dtype));
  });
  return difference;
}

TensorView image_of(TensorView view, int64_t batch) {
  if (!view) return view;
  view.data = view.at(batch * view.strides[0]);
  view.sizes[0] = 1;
  return view;
}

}  // namespace

std::vector<std::byte> bits_of(const TensorView& view) {
  std::vector<std::byte> bits;
  const size_t size = static_cast<size_t>(core::size_of(view.dtype));
  core::for_each_element(view, [&](const core::ElementIndex&, int64_t element) {
    bits.insert(bits.end(), view.at(element), view.at(element) + size);
  });
  return bits;
}

std::string first_difference(const core::ForwardOutputs& outputs, int rank, const OutputBits& before,
                             const RowPredicate& may_change) {
  std::string difference = first_difference("out", outputs.out, rank, before.out, may_change);
  if (difference.empty() && outputs.logsumexp)
    difference = first_difference("logsumexp", outputs.logsumexp, rank, before.logsumexp, may_change);
  return difference;
}

core::Problem image_of(const core::Problem& problem, int64_t batch) {
  core::Problem image = problem;
  image.shape.batch = 1;
  core::Modifiers& m = image.modifiers;
  for (TensorView* view :
       {&image.query, &image.key, &image.value, &m.additional_keys, &m.additional_values, &m.key_mask, &m.key_weights})
    *view = image_of(*view, batch);
  return image;
}

core::ForwardOutputs image_of(const core::ForwardOutputs& outputs, int64_t batch) {
  return {image_of(outputs.out, batch), image_of(outputs.logsumexp, batch)};
}

core::BackwardInputs image_of(const core::BackwardInputs& inputs, int64_t batch) {
  return {image_of(inputs.out, batch), image_of(inputs.logsumexp, batch), image_of(inputs.dout, batch),
          image_of(inputs.dlogsumexp, batch)};
}

core::Gradients image_of(const core::Gradients& g, int64_t batch) {
  return {image_of(g.query, batch),
          image_of(g.key, batch),
          image_of(g.value, batch),
          image_of(g.additional_keys, batch),
          image_of(g.additional_values, batch),
          image_of(g.key_weights, batch),
          g.bias};
}

Copy::Copy(const TensorView& from) : view_(from) {
  if (!from) return;
  int64_t elements = 1;
  for (int a = from.rank - 1; a >= 0; --a) {
    view_.strides[a] = elements;
    elements *= from.sizes[a];
  }
  constexpr size_t kAlignment = 64;
  const size_t size = static_cast<size_t>(core::size_of(from.dtype));
  memory_.resize(static_cast<size_t>(elements) * size + kAlignment);
  const size_t beyond = reinterpret_cast<uintptr_t>(memory_.data()) % kAlignment;
  view_.data = memory_.data() + (kAlignment - beyond) % kAlignment;
  size_t place = 0;
  core::for_each_element(from, [&](const core::ElementIndex&, int64_t element) {
    std::memcpy(view_.data + place, from.at(element), size);
    place += size;
  });
}

}  // namespace nearfield::property
