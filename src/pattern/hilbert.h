// The generalised Hilbert curve: a walk through every cell of a box of any size, not only powers of two.
//
// A box is split into two, three (2-D) or five (3-D) boxes along its longest side, or along all sides where these are
// about equal, such that each part is entered where the one before it was left; halves are rounded so that the parts'
// sides are even, where they can be. Adjacent positions are adjacent cells, but
//   2-D  for one diagonal step exactly when the longer side is odd and the shorter one even and above 2;
//   3-D  where a side is odd, for a few steps of at most 3 cells on an axis and 4 in all.
// Source: the construction known as "gilbert" (generalised Hilbert), as used by "Hilbert-Guided Block-Sparse Local
// Attention" (2025); in 2-D on squares of 2^n it is Hilbert's curve ("Ueber die stetige Abbildung einer Linie auf ein
// Flaechenstueck", 1891).
#pragma once

#include <cstdint>
#include <vector>

namespace nearfield::core {

// The cells of a grid of `rank` (1 to 3) axes in the curve's order, as row-major token numbers; below 2^31 of them.
// Begins at token 0 and ends at the far end of the longest axis, of equal ones the last. Axes of one cell do not count.
std::vector<int32_t> hilbert_tokens(int rank, const int64_t* grid);

}  // namespace nearfield::core
