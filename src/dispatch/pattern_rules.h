// Rules for the pattern argument. Errors as in validate.h.
#pragma once

#include "engine/problem.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

// What must hold before anything else is looked at: kind, rank and size of the struct.
const nf_pattern& check_pattern_head(const nf_pattern* pattern);

// The values of a pattern whose head is checked, on shape.grid.
Pattern validate_pattern(const nf_pattern& given, const Shape& shape);

// The grid of keys, for queries of shape.grid: the same, or what a pattern on the sphere says.
void key_grid_of(const nf_pattern& given, const Shape& shape, int64_t (&grid)[kMaxGridRank]);

// An order by its number, else an error.
OrderKind validate_order(const char* name, int32_t order);

// One side's grid on the sphere, whose name is `side`; what check_sphere_grid asks is not checked yet.
SphereGrid validate_sphere_grid(const char* side, const nf_sphere_grid& given);

// An order's grid may have 2^31 - 1 tokens.
void check_order_grid(const Shape& shape);

}  // namespace nearfield::core
