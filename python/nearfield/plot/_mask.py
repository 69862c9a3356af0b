"""Which blocks of a block-sparse mask have anything to do, in one order of the tokens or another."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nearfield._errors import ArgumentError
from nearfield._values import integer
from nearfield.geometry import block_pairs
from nearfield.grids import on_grid
from nearfield.patterns import Ints, Pattern
from nearfield.patterns._words import order_of
from nearfield.plot import _canvas
from nearfield.plot._window import refuse_key_grid

_MOST_TOKENS = 1 << 22
_MOST_BLOCKS = 512
_MOST_LINES = 96  # blocks; lines between more would hide them


def block_mask(
    pattern: Pattern,
    grid: Ints,
    block: int = 128,
    order: str | None = None,
    *,
    axes: Axes | None = None,
    title: str | None = None,
) -> Figure:
    """Draws which blocks of queries and keys a block-sparse kernel computes: full, masked and empty ones.

    Queries downwards and keys to the right, both in the same order of the tokens, are cut into blocks. A block is full
    where every query sees every key, masked where some do, and empty, so that it is skipped, where none does. Source:
    [1]_.

    Parameters
    ----------
    pattern, grid
        As in `window`; at most 2^22 tokens.
    block
        Tokens of a block; at most 512 blocks.
    order
        Of the tokens: "row_major", "hilbert", "morton" or "serpentine". None is the pattern's own, if it is one along
        a curve, else "row_major".
    axes
        Where to draw; None makes a figure.
    title
        None names the pattern, the order, and how many of all blocks are empty.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        The pattern does not fit the grid, there is no such order, or there are too many blocks to be drawn.

    References
    ----------
    .. [1] "Hilbert-Guided Block-Sparse Local Attention", 2025.

    Examples
    --------
    >>> import nearfield, nearfield.plot
    >>> figure = nearfield.plot.block_mask(nearfield.HilbertWindow(8), (64, 64))
    >>> figure.axes[0].get_title()
    'HilbertWindow(size=8) on 64 x 64 tokens\\n96.9% of the blocks of 128 x 128 are empty'
    """
    words, lengths = on_grid(pattern, grid)
    refuse_key_grid(pattern, None)
    _canvas.middle(lengths)
    tokens = math.prod(lengths)
    if tokens > _MOST_TOKENS:
        raise ArgumentError(f"grid={grid!r}: has {tokens} tokens: must have at most {_MOST_TOKENS} to be drawn")
    if integer("block", block) >= 1 and -(-tokens // block) > _MOST_BLOCKS:
        raise ArgumentError(
            f"block={block}: must be larger: of {tokens} tokens at most {_MOST_BLOCKS} blocks are drawn"
        )
    pairs = block_pairs(pattern, lengths, block, order)
    if axes is None:
        axes = Figure(figsize=(5.6, 6.4), layout="constrained").add_subplot()
    _canvas.check_axes("axes", axes)
    own = order_of(words)
    kind = (own or "row_major") if order is None else order
    count = _draw(axes, pairs, block, tokens)
    axes.set_xlabel(f"keys, {_ALONG[kind]}")
    axes.set_ylabel(f"queries, {_ALONG[kind]}")
    if title is None:
        empty = f"{(pairs == 0).mean():.1%} of the blocks of {block} x {block} are empty"
        title = f"{pattern!r} on {' x '.join(map(str, lengths))} tokens\n{empty}"
    axes.set_title(title, fontsize="medium")
    entries = [
        (_canvas.FULL, f"full: {count.full}"),
        (_canvas.MASKED, f"masked: {count.masked}"),
        (_canvas.OTHER, f"empty: {count.empty}"),
    ]
    _canvas.legend(axes, entries)
    return _canvas.figure_of(axes)


_ALONG = {
    "row_major": "in row-major order",
    "hilbert": "along the Hilbert curve",
    "morton": "in Morton order",
    "serpentine": "in serpentine order",
}


class _Count(NamedTuple):
    full: int
    masked: int
    empty: int


def _draw(axes: Axes, pairs: NDArray[np.int64], block: int, tokens: int) -> _Count:
    """The blocks, in units of tokens, and how many of each kind there are."""
    sizes = np.minimum(block, tokens - block * np.arange(len(pairs)))  # the last is ragged
    full = pairs == np.outer(sizes, sizes)
    masked = (pairs > 0) & ~full
    _canvas.fill(axes, [(0, 0, tokens, tokens)], _canvas.OTHER)
    for cells, colour in ((masked, _canvas.MASKED), (full, _canvas.FULL)):
        boxes = []
        for left, top, width, _ in _canvas.runs(cells):
            right, bottom = min((left + width) * block, tokens), min((top + 1) * block, tokens)
            boxes.append((left * block, top * block, right - left * block, bottom - top * block))
        _canvas.fill(axes, boxes, colour)
    if len(pairs) <= _MOST_LINES:
        edges = block * np.arange(1, len(pairs))
        axes.hlines(edges, 0, tokens, color="white", linewidth=0.4)
        axes.vlines(edges, 0, tokens, color="white", linewidth=0.4)
    axes.set_xlim(0, tokens)
    axes.set_ylim(tokens, 0)
    axes.set_aspect("equal")
    return _Count(int(full.sum()), int(masked.sum()), int((pairs == 0).sum()))
