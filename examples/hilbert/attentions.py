"""Four attentions: windows and neighborhoods, each along the Hilbert curve and on the grid's own rows and columns.

A pattern along the curve takes and gives row-major tensors, as every pattern does: the order is a part of the pattern.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import nearfield
from nearfield import Pattern

# pattern(size, grid, block): for windows of size*size tokens, on a stage's grid, in the stage's block of that number.
MakePattern = Callable[[int, tuple[int, int], int], Pattern]


class Attention(NamedTuple):
    """What the four models differ in."""

    model: str  # its name in print
    words: str
    pattern: MakePattern


def hilbert_windows(size: int, grid: tuple[int, int], block: int) -> Pattern:
    """Runs of the curve; in every second block they begin half a run earlier, unless one run is the whole grid."""
    if block % 2 == 0 or size * size >= grid[0] * grid[1]:
        return nearfield.HilbertWindow(size)
    return nearfield.HilbertShiftedWindow(size)


def hilbert_neighborhoods(size: int, grid: tuple[int, int], block: int) -> Pattern:
    """The tokens around the query along the curve, as many as a neighborhood on the grid has."""
    return nearfield.HilbertNeighborhood(size * size)


def windows(size: int, grid: tuple[int, int], block: int) -> Pattern:
    """Squares; in every second block moved by half a square, as in Swin, unless one square is the whole grid."""
    if block % 2 == 0 or size >= max(grid):
        return nearfield.Window(size)
    return nearfield.Window(size, shift=size - size // 2)


def neighborhoods(size: int, grid: tuple[int, int], block: int) -> Pattern:
    """The square around the query, as in NAT."""
    return nearfield.Neighborhood(size)


ATTENTIONS = {
    "hwt": Attention("HWT", "Hilbert windows, shifted in turns", hilbert_windows),
    "hnt": Attention("HNT", "Hilbert neighborhoods", hilbert_neighborhoods),
    "swin": Attention("Swin-like", "windows, shifted in turns", windows),
    "nat": Attention("NAT-like", "neighborhoods", neighborhoods),
}
