"""Which keys a pattern's queries see, and what a plan visits, written out as numpy arrays.

For attention weights of one's own, for pictures (`nearfield.plot`) and for looking things up: attention itself never
stores anything of this size. Tokens of a grid are numbered row-major: token (y, x) of a (height, width) grid is
y*width + x.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfield._errors import ArgumentError
from nearfield._grid import grid_of
from nearfield._library import fail, lib
from nearfield.patterns import Ints, Pattern

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
    words, lengths = _on_grid(pattern, grid)
    slots = np.zeros(len(lengths), np.int64)
    _call("nf_window_slots", _address(words), _address(lengths), _address(slots))
    return tuple(int(each) for each in slots)


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
    first = operator.index(first)
    tokens = math.prod(int(each) for each in lengths)
    count = max(tokens - first, 0) if count is None else operator.index(count)
    slots = math.prod(window_slots(pattern, grid))
    exist = first >= 0 and count >= 0 and first + count <= tokens  # else the call refuses them, and needs no memory
    shape = (count if exist else 0, slots)
    found = Windows(np.empty(shape, np.int64), np.empty(shape, np.int64))
    keys, bias_index = (_address(each) for each in found)
    _call("nf_windows", _address(words), _address(lengths), first, count, keys, bias_index)
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
    rank = len(lengths)
    tiles, most = _lengths("tile", tile, rank), _lengths("step", step, rank)
    count = np.zeros(1, np.int64)
    fixed = (_address(words), _address(lengths), _address(tiles), _address(most))
    _call("nf_plan_steps", *fixed, 0, None, _address(count))
    steps = np.zeros(int(count[0]), PLAN_STEP)
    _call("nf_plan_steps", *fixed, len(steps), _address(steps), _address(count))
    return steps


def _on_grid(pattern: Pattern, grid: Ints) -> tuple[Indices, Indices]:
    if not isinstance(pattern, Pattern):
        raise TypeError(f"pattern: is a {type(pattern).__name__}: must be a nearfield pattern, e.g. Neighborhood(7)")
    axes = grid_of(grid)
    if not 1 <= len(axes) <= 3:
        raise ArgumentError(f"grid={grid!r}: has {len(axes)} axes: must have 1, 2 or 3")
    return np.array(pattern.words(len(axes)), np.int64), np.array(axes, np.int64)


def _lengths(name: str, value: Ints, rank: int) -> Indices:
    lengths = grid_of(value) if isinstance(value, Sequence) else (operator.index(value),) * rank
    if len(lengths) != rank:
        raise ArgumentError(f"{name}={value!r}: has {len(lengths)} values, but the grid has {rank} axes")
    return np.array(lengths, np.int64)


def _address(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)


def _call(function: str, *arguments: int | None) -> None:
    status = getattr(lib, function)(*arguments)
    if status:
        fail(status)
