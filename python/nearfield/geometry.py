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

from nearfield import _abi, _abi_unfused, grids
from nearfield._errors import ArgumentError
from nearfield._values import choice, integer
from nearfield.grids import box, on_grid
from nearfield.patterns import ORDERS, Ints, Pattern, SphereNeighborhood
from nearfield.patterns._words import dilations_of, is_on_sphere, key_grid_of, order_of

__all__ = [
    "PLAN_STEP",
    "Windows",
    "block_pairs",
    "plan_steps",
    "weight_keys",
    "weight_slots",
    "window_slots",
    "windows",
]

Indices = NDArray[np.int64]

_AT_ONCE = 1 << 22  # pairs that are in memory while blocks are counted

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
        (queries, slots) int64: the tokens that the query sees, slots row-major over the axes, or in the order of the
        curve. On the sphere they are tokens of the key grid.
    bias_index
        (queries, slots) int64: their places in one head's flattened table of relative position bias; -1 on the sphere,
        which has none.
    """

    keys: Indices
    bias_index: Indices


def window_slots(pattern: Pattern, grid: Ints) -> tuple[int, ...]:
    """The length of the longest window on each axis of the grid: the slots that `windows` has for a query.

    Parameters
    ----------
    pattern, grid
        As in `windows`.

    Returns
    -------
    tuple of int
        At most the pattern's kernel_size or size. Along a curve the first is of the positions and the others are 1; in
        a neighborhood on the sphere, too, where the first is enough for every query's keys.

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
    return _abi.window_slots(*on_grid(pattern, grid))


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
    words, lengths = on_grid(pattern, grid)
    has_bias = not is_on_sphere(words)
    first = integer("first", first)
    tokens = math.prod(lengths)
    count = max(tokens - first, 0) if count is None else integer("count", count)
    slots = math.prod(_abi.window_slots(words, lengths))
    exist = first >= 0 and count >= 0 and first + count <= tokens  # else the call refuses them, and needs no memory
    shape = (count if exist else 0, slots)
    found = Windows(np.full(shape, -1, np.int64), np.full(shape, -1, np.int64))
    _abi.windows(words, lengths, first, count, found.keys.ctypes.data, found.bias_index.ctypes.data if has_bias else 0)
    return found


def weight_slots(pattern: Pattern, grid: Ints) -> tuple[int, ...]:
    """A query's slots in explicit weights (`nearfield.qk`) on each axis: their product is what weights have for a query.

    Parameters
    ----------
    pattern, grid
        As in `windows`.

    Returns
    -------
    tuple of int
        The pattern's kernel_size or size, whatever the grid. Along a curve the first is of the positions and the others
        are 1.

    Raises
    ------
    ArgumentError, TypeError, UnsupportedError
        As `windows` does; or the pattern is on the sphere.

    Examples
    --------
    >>> import nearfield
    >>> nearfield.geometry.weight_slots(nearfield.Neighborhood(7), (56, 4))
    (7, 7)
    """
    return _abi_unfused.weight_slots(*on_grid(pattern, grid))


def weight_keys(pattern: Pattern, grid: Ints) -> Indices:
    """Which key each column of explicit weights (`nearfield.qk`) belongs to.

    Parameters
    ----------
    pattern, grid
        As in `windows`.

    Returns
    -------
    numpy.ndarray
        (queries, slots) int64: the tokens of the keys, -1 for hidden slots. Additional keys' columns come after these.

    Raises
    ------
    ArgumentError, TypeError, UnsupportedError
        As `windows` does; or the pattern is on the sphere.

    Examples
    --------
    >>> import nearfield
    >>> nearfield.geometry.weight_keys(nearfield.Neighborhood(3, is_causal=True), 4).tolist()
    [[0, -1, -1], [0, 1, -1], [0, 1, 2], [1, 2, 3]]
    """
    slots, longest = weight_slots(pattern, grid), window_slots(pattern, grid)
    keys = windows(pattern, grid).keys.reshape(-1, *longest)
    missing = [(0, 0), *((0, slot - found) for slot, found in zip(slots, longest, strict=True))]
    return np.pad(keys, missing, constant_values=-1).reshape(len(keys), math.prod(slots))


def plan_steps(pattern: Pattern, grid: Ints, tile: Ints, step: Ints) -> NDArray[Any]:
    """What an engine visits that takes queries in tiles and keys in steps.

    Parameters
    ----------
    pattern, grid
        As in `windows`.
    tile, step
        Queries of a tile and keys of a step at most: one number for all axes, or one for each. `explain` tells those
        of a call. Of a pattern along a curve they have one axis, the positions.

    Returns
    -------
    numpy.ndarray
        One record for each step, tile after tile, of dtype `PLAN_STEP`: ``tile``, its number; ``query_first``,
        ``query_size``, ``key_first`` and ``key_size``, three each: boxes in coordinates of a residue class (coordinate
        x is token, or position along the curve, x*dilation + ``residue``); ``pairs``, the (query, key) pairs of the box
        that the pattern asks for; ``full``, 1 if these are all.

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
    words, lengths = on_grid(pattern, grid)
    rank = len(dilations_of(words))
    boxes = box("tile", tile, rank), box("step", step, rank)
    if isinstance(pattern, SphereNeighborhood) and boxes[0][0] != 1:
        raise ArgumentError(f"tile[0]={boxes[0][0]}: must be 1 on the sphere: tiles are of queries of one latitude")
    fixed = (words, lengths, *boxes)
    steps = np.zeros(_abi.plan_steps(*fixed, 0, 0), PLAN_STEP)
    _abi.plan_steps(*fixed, len(steps), steps.ctypes.data)
    return steps


def block_pairs(pattern: Pattern, grid: Ints, block: int = 128, order: str | None = None) -> Indices:
    """How many pairs a pattern asks for in each block of a block-sparse mask.

    Queries and keys are taken in one order and cut into blocks of as many tokens; the last may be ragged. A block-sparse
    kernel computes every block that has a pair, and skips the empty ones.

    Parameters
    ----------
    pattern, grid
        As in `windows`.
    block
        Tokens of a block, at least 1.
    order
        "row_major", "hilbert", "morton" or "serpentine". None: the pattern's own, if it is one along a curve, else
        "row_major".

    Returns
    -------
    numpy.ndarray
        (blocks, blocks) int64: pairs of the queries of one block and the keys of another. On the sphere keys may have
        a grid and so a number of blocks of their own.

    Raises
    ------
    ArgumentError, TypeError
        As `windows` does; or there is no such order, or a block has no tokens.

    References
    ----------
    .. [1] "Hilbert-Guided Block-Sparse Local Attention", 2025, which counts the empty blocks.

    Examples
    --------
    >>> import nearfield
    >>> for pattern in (nearfield.Window(8), nearfield.HilbertWindow(8)):
    ...     print(f"{(nearfield.geometry.block_pairs(pattern, (64, 64)) == 0).mean():.1%} empty")
    87.5% empty
    96.9% empty
    """
    words, lengths = on_grid(pattern, grid)
    if integer("block", block) < 1:
        raise ArgumentError(f"block={block}: must be at least 1")
    slots = math.prod(_abi.window_slots(words, lengths))  # refuses what is no grid
    kind = order_of(words) or "row_major" if order is None else ORDERS[choice("order", order, ORDERS)]
    positions = grids.order(kind, lengths).positions
    key_lengths = key_grid_of(words, lengths)
    key_positions = positions if key_lengths == lengths else grids.order(kind, key_lengths).positions
    tokens = len(positions)
    blocks, key_blocks = -(-tokens // block), -(-len(key_positions) // block)
    found = np.zeros(blocks * key_blocks, np.int64)
    some = max(1, _AT_ONCE // max(slots, 1))  # queries
    for first in range(0, tokens, some):
        keys = windows(pattern, lengths, first, min(some, tokens - first)).keys
        queries = np.broadcast_to(positions[first : first + len(keys), None], keys.shape)[keys >= 0]
        places = queries // block * key_blocks + key_positions[keys[keys >= 0]] // block
        places, pairs = np.unique(places, return_counts=True)
        found[places] += pairs
    return found.reshape(blocks, key_blocks)
