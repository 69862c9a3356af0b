"""A grid as callers name it."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from nearfield.patterns import Ints


def grid_of(grid: Ints) -> tuple[int, ...]:
    """The lengths of a grid's axes; one number is a grid of one axis."""
    if isinstance(grid, Sequence):
        return tuple(operator.index(each) for each in grid)
    return (operator.index(grid),)
