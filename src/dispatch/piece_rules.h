// Rules for how a ragged call's tokens are divided. Errors as in validate.h.
#pragma once

#include "dispatch/ragged.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

// `ragged` has its pattern and the packed tensors' shape; this adds the pieces. Each is a grid that fills the
// tokens between its offsets, and one that the pattern allows.
void take_pieces(Ragged& ragged, const nf_ragged& given, int64_t tokens);

}  // namespace nearfield::core
