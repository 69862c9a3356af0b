"""Which keys a pattern's queries see, and what a plan visits, written out as numpy arrays.

For attention weights of one's own, for pictures (`nearfield.plot`) and for looking things up: attention itself never
stores anything of this size. Tokens of a grid are numbered row-major: token (y, x) of a (height, width) grid is
y*width + x.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfield import _abi
from nearfield._errors import ArgumentError
from nearfield._values import integer, integers, is_sequence, shown
from nearfield.patterns import Ints, Pattern, check_pattern

__all__ = ["PLAN_STEP", "Windows", "plan_steps", "window_slots", "windows"]

Indices = NDArray[np.int64]

# nf_plan_step, field for field.
PLAN_STEP = np.dtype(
    [
        ("tile", np.int64),
        ("query_first", np.int64, 3),
        ("query_size", np.int64, 3),
        ("key_first", np.int64, 3),
        ("key_size", np.int64, 3),
        ("residue", np.int64, 3),
        ("pairs", np.int64),
        ("full", np.int64),
    ]
)


class Windows(NamedTuple):
    """Windows of queries, one row each; -1 fills up the windows that are shorter than the longest.

    Attributes
    ----------
    keys
        (queries, slots) int64: the tokens that the query sees, slots row-major over the axes.
    bias_index
        (queries, slots) int64: their places in one head's flattened table of relative position bias.
    """

    keys: Indices
    bias_index: Indices


def window_slots(pattern: Pattern, grid: Ints) -> tuple[int, ...]:
    """The length of the longest window on each axis of the grid.

    Parameters
    ----------
    pattern, grid
        As in `windows`.

    Returns
    -------
    tuple of int
        At most the pattern's kernel_size.

    Raises
    ------
    ArgumentError, TypeError
        As `windows` does.

    Examples
    --------
    >>> import nearfield
    >>> nearfield.geometry.window_slots(nearfield.Neighborhood(7), (56, 4))
    (7, 4)
    """
    return _abi.window_slots(*_on_grid(pattern, grid))


def windows(pattern: Pattern, grid: Ints, first: int = 0, count: int | None = None) -> Windows:
    """The keys that queries see.

    Parameters
    ----------
    pattern
        Which keys a query sees, e.g. ``Neighborhood(7)``.
    grid
        Lengths of the grid's 1 to 3 axes.
    first, count
        Which queries: tokens first to first + count - 1. All from `first` on unless `count` is given.

    Returns
    -------
    Windows
        keys and bias_index, (queries, slots) each; slots is the product of `window_slots`. A window that covers a
        periodic axis's whole residue class has the class's keys in their order, others begin at their first key.

    Raises
    ------
    ArgumentError
        The grid does not fit the pattern, or has no such queries.
    TypeError
        An argument is of the wrong type.

    Examples
    --------
    >>> import nearfield
    >>> keys, bias_index = nearfield.geometry.windows(nearfield.Neighborhood(3), 5)
    >>> keys.tolist()
    [[0, 1, 2], [0, 1, 2], [1, 2, 3], [2, 3, 4], [2, 3, 4]]
    >>> bias_index[0].tolist()  # key - query + kernel_size - 1
    [2, 3, 4]
    """
    words, lengths = _on_grid(pattern, grid)
    first = integer("first", first)
    tokens = math.prod(lengths)
    count = max(tokens - first, 0) if count is None else integer("count", count)
    slots = math.prod(_abi.window_slots(words, lengths))
    exist = first >= 0 and count >= 0 and first + count <= tokens  # else the call refuses them, and needs no memory
    shape = (count if exist else 0, slots)
    found = Windows(np.empty(shape, np.int64), np.empty(shape, np.int64))
    _abi.windows(words, lengths, first, count, *(each.ctypes.data for each in found))
    return found


def plan_steps(pattern: Pattern, grid: Ints, tile: Ints, step: Ints) -> NDArray[Any]:
    """What an engine visits that takes queries in tiles and keys in steps.

    Parameters
    ----------
    pattern, grid
        As in `windows`.
    tile, step
        Queries of a tile and keys of a step at most: one number for all axes, or one for each. `explain` tells those
        of a call.

    Returns
    -------
    numpy.ndarray
        One record for each step, tile after tile, of dtype `PLAN_STEP`: ``tile``, its number; ``query_first``,
        ``query_size``, ``key_first`` and ``key_size``, three each: boxes in coordinates of a residue class (coordinate
        x is token x*dilation + ``residue``); ``pairs``, the (query, key) pairs of the box that the pattern asks for;
        ``full``, 1 if these are all.

    Raises
    ------
    ArgumentError, TypeError
        As `windows` does; or a tile or step has no tokens.

    Examples
    --------
    >>> import nearfield
    >>> steps = nearfield.geometry.plan_steps(nearfield.Neighborhood(3), 8, tile=4, step=8)
    >>> steps["key_first"][:, 0].tolist(), steps["key_size"][:, 0].tolist()
    ([0, 3], [5, 5])
    >>> int(steps["pairs"].sum())
    24
    """
    words, lengths = _on_grid(pattern, grid)
    fixed = (words, lengths, _box("tile", tile, len(lengths)), _box("step", step, len(lengths)))
    steps = np.zeros(_abi.plan_steps(*fixed, 0, 0), PLAN_STEP)
    _abi.plan_steps(*fixed, len(steps), steps.ctypes.data)
    return steps


def _on_grid(pattern: Pattern, grid: Ints) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The pattern's words and the lengths of the grid's axes."""
    check_pattern(pattern)
    axes = integers("grid", grid)
    if not 1 <= len(axes) <= 3:
        raise ArgumentError(f"grid={shown(grid)}: has {len(axes)} axes: must have 1, 2 or 3")
    return pattern.words(len(axes)), axes


def _box(name: str, value: Ints, rank: int) -> tuple[int, ...]:
    """The lengths of a box: one number is that of every axis."""
    lengths = integers(name, value)
    if not is_sequence(value):
        lengths *= rank
    if len(lengths) != rank:
        raise ArgumentError(f"{name}={shown(value)}: has {len(lengths)} values, but the grid has {rank} axes")
    return lengths
