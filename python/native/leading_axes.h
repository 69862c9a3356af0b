// The axes that jax.vmap puts before those nearfield knows, turned into one call where the tensors allow it and into
// as few as possible where they do not.
//
// An operand that vmap maps has the axis's size there, one that it does not map has 1 and is shared; results always
// have the full size. So an axis is a step through each tensor's memory, 0 where the tensor is shared.
#pragma once

#include <nearfield/nearfield.h>

#include <cstdint>
#include <vector>

namespace nearfield::jax {

// One tensor of a call.
struct Operand {
  nf_tensor tensor{};          // that of the first attention: the leading axes are not in it
  bool has_batch = true;       // whether sizes[0] is the batch; a bias has none
  std::vector<int64_t> steps;  // for each leading axis: elements from one attention's tensor to the next one's
};

// Makes innermost leading axes, of the given sizes, part of the batch for as long as every tensor allows it: it lies
// there as one strided axis, or it has no batch and is shared. Returns the sizes of the axes that are left, outermost
// first; `steps` of all operands become those of these axes.
std::vector<int64_t> fold_into_batch(std::vector<int64_t> sizes, const std::vector<Operand*>& operands);

// The address of operand's data in attention number `index`, row-major over the axes that fold_into_batch left.
void* address_of(const Operand& operand, const std::vector<int64_t>& sizes, int64_t index);

// How many attentions these axes hold: 1 where there are none.
int64_t count_of(const std::vector<int64_t>& sizes);

// Bytes of an element; 0 for an unknown dtype.
int64_t element_size(int32_t dtype);

}  // namespace nearfield::jax
