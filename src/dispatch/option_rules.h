// Rules for the options argument. Errors as in validate.h.
#pragma once

#include "engine/problem.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

// Sets the problem's scale, whose default comes from shape.head_dim, and its threading. given may be null: the
// defaults.
void take_options(Problem& problem, const nf_options* given);

}  // namespace nearfield::core
