"""What depends on the sizes of a grid: the order of its tokens, and how large a table of bias has to be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from nearfield import _abi
from nearfield._errors import ArgumentError
from nearfield._values import choice, integers, is_sequence, shown
from nearfield.patterns import ORDERS, Ints, Pattern, check_pattern
from nearfield.patterns._words import is_on_sphere

if TYPE_CHECKING:  # numpy is loaded when an order is asked for
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Order", "bias_extents", "order"]


class Order(NamedTuple):
    """A walk through all tokens of a grid: a permutation and its inverse.

    Attributes
    ----------
    tokens
        int64: the token, numbered row-major, at each position of the walk.
    positions
        int64: the position of each token.
    """

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]


def order(kind: str, grid: Ints) -> Order:
    """The order in which patterns along a curve take the tokens of a grid.

    For looking at it, and for tensors that are to be reordered: attention itself never needs that.

    Parameters
    ----------
    kind
        "hilbert": the generalised Hilbert curve, for any sizes; adjacent positions are adjacent tokens, but for few
        steps on grids of odd sizes [1]_. "morton": by the interleaved bits of the coordinates. "serpentine": lines to
        and fro, and planes, too. "row_major": as they lie.
    grid
        Lengths of the grid's 1 to 3 axes, fewer than 2^31 tokens in all.

    Returns
    -------
    Order
        tokens, numpy int64: the row-major token at each position; and positions, its inverse.

    Raises
    ------
    ArgumentError
        The kind is unknown, an axis is negative, or there are too many tokens.
    TypeError
        The grid is no number and no sequence of numbers.

    References
    ----------
    .. [1] "Hilbert-Guided Block-Sparse Local Attention", 2025.

    Examples
    --------
    >>> tokens, positions = order("hilbert", (2, 2))
    >>> tokens.tolist(), positions.tolist()
    ([0, 2, 3, 1], [0, 3, 1, 2])
    >>> import numpy
    >>> image = numpy.arange(12).reshape(1, 3, 4)
    >>> image.reshape(1, -1)[:, order("serpentine", (3, 4)).tokens].tolist()
    [[0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11]]
    """
    import numpy as np

    number = 1 + choice("kind", kind, ORDERS)
    lengths = grid_lengths(grid)
    count = math.prod(lengths)
    if min(lengths) < 0 or count >= 1 << 31:
        count = 0  # the call refuses these, and needs no memory
    found = Order(np.empty(count, np.int64), np.empty(count, np.int64))
    _abi.order_tokens(number, lengths, *(each.ctypes.data for each in found))
    return found


def bias_extents(pattern: Pattern, grid: Ints) -> tuple[int, ...]:
    """How far a pattern reaches on each axis of a grid: a relative position bias has ``2*e - 1`` entries there.

    For an axis's extent e the entry of a pair is ``key - query + e - 1``, in tokens of the residue class where the grid's
    axis is dilated.

    Parameters
    ----------
    pattern
        Any pattern.
    grid
        Lengths of the grid's 1 to 3 axes.

    Returns
    -------
    tuple of int
        The kernel_size or size of the pattern on each axis, whatever the grid. Along a curve: 1 + the largest distance
        on that axis between a query and a key that it sees.

    Raises
    ------
    ArgumentError, TypeError
        The pattern does not fit the grid or is one on the sphere, or there is no such grid.

    Examples
    --------
    >>> import nearfield
    >>> bias_extents(nearfield.Neighborhood(7), (56, 56))
    (7, 7)
    >>> extents = bias_extents(nearfield.HilbertNeighborhood(49), (56, 56))
    >>> [2 * e - 1 for e in extents]  # after the heads, the shape of the table
    [19, 19]
    """
    words, lengths = on_grid(pattern, grid)
    if is_on_sphere(words):
        raise ArgumentError(
            f"pattern: is a {type(pattern).__name__}: must be another: no bias is possible on the sphere, key_weights serve"
        )
    return _abi.bias_extents(words, lengths)


def grid_lengths(grid: Ints) -> tuple[int, ...]:
    """The lengths of the grid's axes."""
    axes = integers("grid", grid)
    if not 1 <= len(axes) <= 3:
        raise ArgumentError(f"grid={shown(grid)}: has {len(axes)} axes: must have 1, 2 or 3")
    return axes


def on_grid(pattern: Pattern, grid: Ints) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The pattern's words and the lengths of the grid's axes."""
    check_pattern(pattern)
    axes = grid_lengths(grid)
    return pattern.words(len(axes)), axes


def box(name: str, value: Ints, rank: int) -> tuple[int, ...]:
    """The lengths of a box of a plan of `rank` axes: one number is that of every axis."""
    lengths = integers(name, value)
    if not is_sequence(value):
        lengths *= rank
    if len(lengths) != rank:
        axes = f"the grid has {rank} axes" if rank > 1 else "a sequence or curve has 1 axis"
        raise ArgumentError(f"{name}={shown(value)}: has {len(lengths)} values, but {axes}")
    return lengths
